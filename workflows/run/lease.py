"""A run's hold on its testbed: no second run begins beside it, and what it made goes by itself when it falls silent."""

import contextlib
import threading
from collections.abc import Iterator, Mapping

import tasks
from vpnmesh.errors import CheckError, InputError, VpnmeshError
from vpnmesh.host.lease import SECONDS, LeaseHolder
from workflows.run.held_lease import WAY_OUT, HeldLease, ended_here, lease_of
from workflows.run.hosts import ask_each
from workflows.run.interrupts import InterruptedRunError
from workflows.run.site import Site

LOOK_EVERY_S = 1.0
MEASURING = 1 / 2
"""Which part of a lease may pass before it is renewed also while something is measured."""


@contextlib.contextmanager
def leased(site: Site, run: str, *, again: bool = False, seconds: int = SECONDS) -> Iterator[HeldLease]:
    """Hold every node for that run, and give all of them back at the end; `again` takes back the same run's own.

    Raises TestbedHeldError, and changes nothing, where another run holds a node.
    """
    held = HeldLease(site.nr, tuple(site.all_nodes), lease_of(run, seconds))
    held.claim(again=again)
    site.lease = held
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(held, ended), daemon=True)
    keeper.start()
    try:
        yield held
    finally:
        ended.set()
        keeper.join()
        site.lease = None
        try:
            held.release()
        except InterruptedRunError:
            # only the first signal cuts, so this one ends
            held.release()
            raise


def keep_lease(site: Site) -> None:
    """Between two things of a run: renew where it is time; CheckError where the nodes have undone the run."""
    if site.lease is not None:
        site.lease.keep()


def lease_over(site: Site) -> CheckError | None:
    """Why what has just been done, or has just failed, cannot count: a node undid the run meanwhile."""
    try:
        if site.lease is not None:
            site.lease.prove()
    except CheckError as error:
        return error
    return None


def _keep(held: HeldLease, ended: threading.Event) -> None:
    """Renew where the run itself is too long at one thing; it hears itself of what was lost meanwhile."""
    while not ended.wait(min(LOOK_EVERY_S, held.lease.seconds / 10)):
        with contextlib.suppress(VpnmeshError):
            held.keep(MEASURING)


def lease_holders(site: Site) -> dict[str, LeaseHolder]:
    """Who holds which node now; a node that does not answer, or that nobody holds, is left out."""
    _, answers = ask_each(site.nr, site.all_nodes, tasks.read_lease)
    return {name: one.result.holder for name, one in answers.items() if one.result.holder is not None}


def runs_going_on(site: Site) -> dict[str, LeaseHolder]:
    """The holders of `lease_holders` that may be alive: those of this machine whose process is gone are left out.

    How long one has been silent tells less: a run at work renews after minutes only.
    """
    return {name: holder for name, holder in lease_holders(site).items() if not ended_here(holder)}


def forget_leases(site: Site, run: str = "") -> dict[str, VpnmeshError]:
    """Take all leases away, or those of that run; returns the nodes that did not answer.

    The nodes undo what they were told to: it knows of what no other step here looks for.
    """
    failed, _ = ask_each(site.nr, site.all_nodes, tasks.forget_lease, run=run)
    return failed


def refuse_beside_run(site: Site) -> None:
    """InputError names a node that a run holds: nothing is changed there by hand meanwhile.

    A run holds all nodes, so those that answer tell; where none does, what is to be changed may be elsewhere.
    """
    refuse_held(lease_holders(site), WAY_OUT)


def refuse_held(holders: Mapping[str, LeaseHolder], way_out: str) -> None:
    """InputError names the first of these nodes, and who holds it."""
    for name, holder in holders.items():
        raise InputError(name, f"is held by {holder}", way_out)
