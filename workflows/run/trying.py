"""Tries what a diagnosis says: applies the fixes, looks again, and takes them back."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import tasks
from vpnmesh.errors import VpnmeshError
from vpnmesh.firewall.policy import POLICIES, policy_named
from vpnmesh.plan import Plan, chain
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.study.changes import Change as Listed
from vpnmesh.study.changes import ChangeKind
from vpnmesh.why.finding import Change, Finding
from workflows.run.agreement import Intent
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.interrupts import to_its_end
from workflows.run.provision import firewall_policy, join
from workflows.run.site import Site
from workflows.run.undoing import promise


def fixes_intent(findings: Sequence[Finding]) -> Intent:
    """What a person agrees to: every line of the plan."""
    changes = [Listed(ChangeKind.OWN, one.node, one.diff) for one in node_changes(findings)]
    policies = {one.fix.policy for one in findings if one.fix and one.fix.policy}
    changes += [Listed(ChangeKind.FIREWALL, "firewall", f"policy {name}") for name in sorted(policies)]
    lines = "; ".join(f"{one.host}: {one.what}" for one in changes)
    return Intent(f"trying fixes: {lines}", lambda: changes)


def node_changes(findings: Iterable[Finding]) -> list[Change]:
    """Every change of a node once."""
    return list(dict.fromkeys(change for one in findings if one.fix for change in one.fix.changes))


@contextlib.contextmanager
def tried(
    site: Site, solution: Solution, mesh: Mesh, findings: Sequence[Finding], *, set_up: bool = False
) -> Iterator[None]:
    """Apply every fix of the findings, and take back what can be taken back when this ends, whatever happens.

    Members that were joined once more, and daemons that were started by that, stay so. `set_up` says that the mesh
    is of this run: nodes that hear nothing any more undo it beside the fixes.
    """
    changes = node_changes(findings)
    undo = _plans(changes, back=True)
    held = policy_that_holds(site) if any(one.fix and one.fix.policy for one in findings) else ""
    if set_up:
        promise(site, solution, mesh, undo)
    elif site.lease is not None:
        site.lease.promise({name: undo.get(name, Plan()) for name in site.all_nodes})
    try:
        _apply(site, _plans(changes, back=False))
        if held:
            firewall_policy(site, "allow-all")
        if any(one.fix and one.fix.join for one in findings):
            join(site, solution, mesh)
        yield
    finally:
        to_its_end(lambda: _take_back(site, changes, held))
        if set_up:
            _carried_out(site, lambda: promise(site, solution, mesh))


def _plans(changes: Sequence[Change], *, back: bool) -> dict[str, Plan]:
    """A plan for every node; the way back is in the opposite order."""
    found: dict[str, Plan] = {}
    for one in reversed(changes) if back else changes:
        part = Plan(one.undo if back else one.steps, one.diff)
        found[one.node] = chain([found.get(one.node, Plan()), part])
    return found


def _apply(site: Site, plans: Mapping[str, Plan]) -> None:
    if plans:
        run_on(site.nr, list(plans), tasks.make_changes, plans=dict(plans))


def _take_back(site: Site, changes: Sequence[Change], held: str) -> None:
    """Every step by itself, in the opposite order: one that fails keeps none of the others from being made."""
    for change in reversed(changes):
        for step in change.undo:
            _carried_out(site, partial(_apply, site, {change.node: Plan((step,), change.diff)}))
    if held:
        _carried_out(site, lambda: firewall_policy(site, held))


def _carried_out(site: Site, step: Callable[[], object]) -> None:
    """Make one step of the way back; where it fails, its node is to undo by itself, and is not given back."""
    try:
        step()
    except VpnmeshError as error:
        site.complaints.append(f"a fix that was tried could not be taken back: {error}")
        if site.lease is not None and isinstance(error, HostsFailedError):
            site.lease.unclean |= set(error.errors)


def policy_that_holds(site: Site) -> str:
    """The policy that the firewall holds now, told by which one would change nothing; "" for none of ours."""
    firewall = site.testbed.firewall.name
    for policy in POLICIES:
        parameters = {"policy": policy_named(policy.name), "testbed": site.testbed, "dry_run": True}
        done = run_on(site.nr, [firewall], tasks.set_firewall_policy, **parameters)[firewall]
        if not done.diff or ": renewed for " in str(done.diff):
            return policy.name
    return ""
