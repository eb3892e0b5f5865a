"""What commands are about to do, as intents: names that stay the same, and the changes that a dry run finds."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from vpnmesh.host.dual_stack import UNDERLAY
from vpnmesh.host.lease import FOLDER
from vpnmesh.model import Condition, Placement, Scenario
from vpnmesh.plan import Command, at_most
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.study.changes import Change, ChangeKind, changes_in
from vpnmesh.study.matrix import MatrixPlan, scenarios_of
from workflows.run import dry_run
from workflows.run.agreement import Intent
from workflows.run.dry_run import Diffs
from workflows.run.impair import show_impairment
from workflows.run.site import Site

LEASE = "the lease of a run, and the programs"
SYSCTLS = "kernel settings of every run"


def of_matrix(site: Site, plan: MatrixPlan, missing: Collection[str], seed: int) -> list[Intent]:
    """Everything that a run of that plan does: settings, scenarios, impairments, and what every run needs.

    Scenarios that are `missing` change nothing.
    """
    impairing = [one for one in plan.profile.conditions if one and one.name not in plan.dropped]
    return [
        of_lease(site, plan.profile.tests),
        Intent(SYSCTLS, _found(lambda: dry_run.sysctls(site))),
        *(of_scenario(site, one) for one in scenarios_of(plan) if one.name not in missing),
        *(_impaired(site, plan, one, seed) for one in impairing),
    ]


def of_lease(site: Site, tests: Sequence[str] = ()) -> Intent:
    """What every run has on the nodes beside its scenarios."""
    measured = f" of {', '.join(tests)}" if tests else ""
    return Intent(f"{LEASE}{measured}", lambda: _every_run(site, tests))


def of_scenario(site: Site, scenario: Scenario) -> Intent:
    """A scenario with its firewall policy, its pods, and the cluster over it where there is one."""
    cluster = f" with {site.installer.name}" if site.installer else ""
    digest = hashlib.sha256(repr(scenario).encode()).hexdigest()[:8]
    return Intent(f"scenario {scenario.name}{cluster} ({digest})", lambda: _scenario(site, scenario))


def of_impairing(site: Site, condition: Condition, placement: Placement, seed: int) -> Intent:
    """An impairment that is held by hand."""
    found = _found(lambda: show_impairment(site, condition, placement, seed))
    return Intent(_impairment(condition, placement), found)


def of_policy(name: str, find: Callable[[], Diffs]) -> Intent:
    """A policy on the firewall."""
    return Intent(f"firewall policy {name}", _found(find))


def of_nat_kinds(site: Site, *, ipv6: bool = False) -> Intent:
    """Routers on the firewall that the measured pair is put behind, and the programs that prove them.

    With `ipv6` the underlay has that, too, for as long.
    """
    return Intent(f"kinds of NAT{' and IPv6' if ipv6 else ''}", lambda: _nat_kinds(site, ipv6=ipv6))


def _nat_kinds(site: Site, *, ipv6: bool) -> Iterator[Change]:
    bed = site.testbed
    firewall, ends = bed.firewall.name, f"{bed.client.name} and {bed.server.name}"
    yield Change(ChangeKind.INTERFACES, firewall, f"namespaces and veths between {ends} and the rest")
    yield Change(ChangeKind.FIREWALL, firewall, f"{ends} are reached through these routers alone")
    yield Change(
        ChangeKind.PROCESSES, firewall, "while a pair is tried, a program that lists packets' headers"
    )
    for node in (bed.client, bed.server, bed.relay, bed.control_plane):
        yield Change(ChangeKind.PROCESSES, node.name, "for seconds, a program that probes the NAT")
    for name in site.all_nodes if ipv6 else ():
        yield Change(ChangeKind.INTERFACES, name, f"an address of {UNDERLAY} in its VLAN, and a route there")
        yield Change(ChangeKind.FILES, name, "every node's name with both addresses in /etc/hosts")
    for name in (bed.client.name, bed.server.name) if ipv6 else ():
        yield Change(ChangeKind.INTERFACES, name, "while it has IPv6 alone, no IPv4 address in its VLAN")


def _impaired(site: Site, plan: MatrixPlan, condition: Condition, seed: int) -> Intent:
    found = _found(lambda: dry_run.impairments(site, plan, [condition], seed))
    return Intent(_impairment(condition, plan.profile.placement), found)


def _impairment(condition: Condition, placement: Placement) -> str:
    return f"impairment {condition.name} at {placement}"


def _found(find: Callable[[], Diffs]) -> Callable[[], Iterable[Change]]:
    return lambda: [change for host, diff in find() for change in changes_in(host, diff)]


def _scenario(site: Site, scenario: Scenario) -> Iterator[Change]:
    solution = solution_named(scenario.solution)
    for host, diff in dry_run.scenario_diffs(site, scenario):
        yield from changes_in(host, diff, solution.interfaces)
    for name in site.k8s:
        yield from (Change(ChangeKind.INTERFACES, name, interface) for interface in solution.interfaces[:1])
        if _makes_rules(site, solution, scenario, name):
            what = f"what {', '.join(solution.processes)} makes of its own"
            yield Change(ChangeKind.FIREWALL, name, what)


def _makes_rules(site: Site, solution: Solution, scenario: Scenario, name: str) -> bool:
    """Whether its daemons make rules by themselves: then leaving takes such rules away."""
    leave = at_most(solution.leave(Mesh(site.testbed, scenario), site.testbed.node(name)))
    return any("iptables" in word for step in leave.steps if isinstance(step, Command) for word in step.argv)


def _every_run(site: Site, tests: Sequence[str]) -> Iterator[Change]:
    for name in site.all_nodes:
        yield Change(ChangeKind.FILES, name, FOLDER)
        yield Change(
            ChangeKind.PROCESSES, name, "a watchdog that takes all back where this machine falls silent"
        )
    for name in site.k8s if tests else ():
        yield Change(ChangeKind.PROCESSES, name, f"while it is measured, the programs of {', '.join(tests)}")
