"""Impair the measured pair by hand: set a condition, prove it by packets, hold it, and lift it.

CONDITION is as in a run: loss-5pct, delay-250ms, delay-50ms+jitter-10ms+loss-1pct, burst-loss-2pct-8packets,
rate-20mbit, each part also as back-... for the other way, or a known network (--networks lists them).

It is held until Ctrl-C, or for --for seconds, and lifted whatever happens; if this process is killed, the nodes lift
it by themselves within 15 minutes. Nothing else is set up: a lab must be up (vpnmesh lab up), and places inside the pod
network need pods.

Exit codes: 0 lifted after --for seconds, 1 not as asked or not lifted, 2 bad input, 130 lifted after Ctrl-C.

\b
examples:
  python -m workflows.impair loss-5pct                                until Ctrl-C
  python -m workflows.impair delay-50ms+loss-1pct --for 60
  python -m workflows.impair delay-250ms --placement underlay:both    both ends: a round trip takes 500 ms longer
  python -m workflows.impair rate-5mbit+back-rate-50mbit              slow from client to server, faster back
  python -m workflows.impair lte                                      a known network: its figures have sources
  python -m workflows.impair --networks
  python -m workflows.impair loss-5pct --inventory my-testbed --dry-run
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys

import click

from inventory.load import load
from vpnmesh.condition import NETWORKS
from vpnmesh.errors import InputError
from vpnmesh.model import Condition, Placement, Testbed
from vpnmesh.study.profiles import parse_placement
from workflows.run.agreement import may_change, yes_option
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.impair import (
    Impaired,
    choose_engine,
    hold,
    impaired,
    lift_everything,
    refuse_where_impaired,
    refuse_without_pods,
    show_impairment,
)
from workflows.run.intents import of_impairing
from workflows.run.interrupts import InterruptedRunError, closing_connections
from workflows.run.lab import emulated, lab_up_for
from workflows.run.lease import refuse_beside_run
from workflows.run.options import bad_input_exits_2
from workflows.run.site import Site
from workflows.run.terminal import say

LIFTED, NOT_LIFTED = 0, 1


@click.command(help=__doc__)
@click.argument("condition")
@click.option(
    "--networks",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _option, asked: _list_networks(context) if asked else None,
    help="list the known networks, with their figures and sources, and end",
)
@click.option("--placement", help="PLACE[:END][:LIMIT], e.g. underlay:both; default: underlay:client")
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="a built-in one, a folder, netbox, or netbox:FILTERS",
)
@click.option("--for", "seconds", type=click.FloatRange(min=0, min_open=True), help="hold it for SECONDS")
@click.option(
    "--seed", type=click.IntRange(0, 10**9), default=1, show_default=True, help="of the random loss"
)
@yes_option
@click.option("--dry-run", is_flag=True, help="show what would change on every node, and change nothing")
@bad_input_exits_2
def main(
    condition: str,
    placement: str | None,
    inventory: str,
    seconds: float | None,
    *,
    seed: int,
    dry_run: bool,
) -> None:
    """Parse, and hold; see the module's docstring."""
    wanted, place = (
        _condition(condition),
        parse_placement(placement, Placement()) if placement else Placement(),
    )
    site = Site(*load(inventory))
    _refuse_without_lab(site.testbed, inventory)
    refuse_beside_cluster(site.testbed, f"--inventory {inventory}")
    code = LIFTED
    try:
        with closing_connections(site.nr) as ended:
            refuse_without_pods(site, place)
            refuse_beside_run(site)
            if dry_run:
                _show(site, wanted, place, seed)
            else:
                may_change(site, inventory, [of_impairing(site, wanted, place, seed)])
                impair(site, wanted, place, seed, seconds)
        code = ended.code or LIFTED
    finally:
        code = NOT_LIFTED if _complain(site) else code
    if code != NOT_LIFTED:
        say("nothing was changed" if dry_run else "lifted")
    sys.exit(code)


def impair(site: Site, condition: Condition, placement: Placement, seed: int, seconds: float | None) -> None:
    """Set the condition, prove and hold it; lifted when this returns or raises.

    Raises InputError where an impairment is set already, CheckError where packets or the kernel contradict this one.
    """
    engine = choose_engine(site)
    refuse_where_impaired(site, engine)
    try:
        with impaired(site, engine, condition, placement, seed) as held:
            pair = site.testbed.pairs[0]
            where = f"{placement.place}:{placement.end}"
            say(f"{pair.client} to {pair.server}: {condition.name} at {where}, by {engine.name}")
            for line in _proof(held):
                say(line)
            say(f"held {'until Ctrl-C' if seconds is None else f'for {seconds:g} s'}")
            hold(held, seconds)
    except InterruptedRunError:
        # the signal may have come while it was being lifted
        lift_everything(site, engine)
        raise


def _proof(held: Impaired) -> list[str]:
    """What the pings before and after said."""
    clean, seen = held.clean, held.burst
    if clean is None or seen is None or clean.rtt is None or seen.rtt is None:
        return []
    share = f"{seen.lost / seen.sent:.1%}"
    return [
        f"before: {clean.lost} of {clean.sent} pings lost, least round trip {clean.rtt.min_ms:g} ms",
        f"proven: {seen.lost} of {seen.sent} pings lost ({share}), least round trip {seen.rtt.min_ms:g} ms",
    ]


def _list_networks(context: click.Context) -> None:
    """Every known network: what each way suffers, and where its figures are from."""
    for name, network in NETWORKS.items():
        back = network.condition.back or Condition()
        say(f"{name}: {network.about}")
        say(f"  forth {network.condition.forth.name}")
        say(f"  back  {back.name}")
        for what, source in network.sources.items():
            say(f"  {what}: {source}")
    context.exit()


def _condition(text: str) -> Condition:
    found = Condition.parse(text)
    if not found:
        raise InputError(
            "CONDITION", f"'{text}' impairs nothing", "e.g. loss-5pct, or delay-50ms+loss-1pct, or lte"
        )
    return found


def _refuse_without_lab(testbed: Testbed, inventory: str) -> None:
    if emulated(testbed) and lab_up_for(testbed) is None:
        raise InputError(f"--inventory {inventory}", "no lab is up", "bring it up first: vpnmesh lab up")


def _show(site: Site, condition: Condition, placement: Placement, seed: int) -> None:
    for host, diff in show_impairment(site, condition, placement, seed):
        say(f"{host}:\n{diff}")


def _complain(site: Site) -> bool:
    """Say what could not be lifted; whether there is anything."""
    complaints = site.take_complaints()
    for complaint in complaints:
        say(f"not lifted: {complaint}; the node lifts it by itself, or: vpnmesh teardown", err=True)
    return bool(complaints)


if __name__ == "__main__":
    main()
