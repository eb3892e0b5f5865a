"""What a run would change on every node, as diffs; nothing is changed.

Asked of the nodes as they are now: a run takes one scenario off before it makes the next.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from nornir.core.task import Result
from rich.console import Console
from rich.syntax import Syntax

import tasks
from vpnmesh.cluster.protocol import Cluster, Installer
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.host.pods import PodNetwork, pod_network
from vpnmesh.host.sysctls import PAPER_SYSCTLS
from vpnmesh.impairment.engine import Engine, impairment_for
from vpnmesh.model import Condition, Place, Scenario
from vpnmesh.plan import unified_diff
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.stages import stages_of
from vpnmesh.study.matrix import MatrixPlan, scenarios_of
from workflows.run.artifacts import lacking_artifacts
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.impair import find_engine, install
from workflows.run.requirements import require
from workflows.run.site import Site

Diffs = list[tuple[str, str]]
"""A host and what would change on it."""
_NOT_YET = (Place.VXLAN, Place.POD)
"""Places on devices that a run itself makes."""


def show_changes(console: Console, site: Site, plan: MatrixPlan, seed: int = 1) -> None:
    """Print the diffs of all kinds: kernel settings, firewall, mesh, pods and cluster by scenario, impairments."""
    _show(console, "kernel settings, for the whole run", lambda: sysctls(site))
    for scenario in scenarios_of(plan):
        _show(console, scenario.name, lambda scenario=scenario: scenario_diffs(site, scenario))  # type: ignore[misc]
    impairing = [one for one in plan.profile.conditions if one and one.name not in plan.dropped]
    if impairing:
        _show(console, "impairments, in every scenario", lambda: impairments(site, plan, impairing, seed))


def show_scenario(console: Console, site: Site, scenario: Scenario) -> None:
    """Print the diffs of one scenario."""
    _show(console, scenario.name, lambda: scenario_diffs(site, scenario))


def _show(console: Console, title: str, find: Callable[[], Diffs]) -> None:
    console.rule(title, align="left")
    try:
        found = find()
        for host, diff in found:
            console.print(host, style="bold")
            console.print(Syntax(diff, "diff", background_color="default"))
        if not found:
            console.print("nothing would change")
    except UnavailableError as error:
        console.print(f"unavailable: {error}", markup=False)


def _diffs(results: Mapping[str, Result]) -> Diffs:
    return [(host, str(result.diff)) for host, result in results.items() if result.diff]


def sysctls(site: Site) -> Diffs:
    """What would become of kernel settings."""
    return _diffs(run_on(site.nr, site.k8s, tasks.set_sysctls, values=PAPER_SYSCTLS, dry_run=True))


def scenario_diffs(site: Site, scenario: Scenario) -> Diffs:
    """What a scenario would change: firewall, mesh, pods, cluster; UnavailableError where it lacks something."""
    solution = require(site, scenario)
    policy = policy_named(scenario.policy)
    firewall = site.testbed.firewall.name
    found = _diffs(
        run_on(
            site.nr, [firewall], tasks.set_firewall_policy, policy=policy, testbed=site.testbed, dry_run=True
        )
    )
    # keys that do not exist yet show as words
    mesh = Mesh(site.testbed, scenario, dry_run=True)
    for stage in stages_of(solution, mesh):
        found += _diffs(run_on(site.nr, stage.nodes, tasks.join_stage, mesh=mesh, stage=stage, dry_run=True))
    return found + _pods(site, mesh)


def _pods(site: Site, mesh: Mesh) -> Diffs:
    """Over the address that the testbed has for each member: a control plane may assign another one on joining."""
    tuning = solution_named(mesh.scenario.solution).tuning(mesh.scenario)
    network = pod_network(site.testbed, mesh.scenario.pod_mtu, _over(site, mesh), tuning)
    if site.installer is None:
        return _attached(site, network)
    network = replace(network, own_pods=False)
    ours = [] if site.installer.brings_pod_network else _attached(site, network)
    return [*ours, *_cluster(site, site.installer, network)]


def _attached(site: Site, network: PodNetwork) -> Diffs:
    return _diffs(
        run_on(site.nr, site.k8s, tasks.attach_pods, network=network, testbed=site.testbed, dry_run=True)
    )


def _cluster(site: Site, installer: Installer, network: PodNetwork) -> Diffs:
    """Every stage of installing the cluster; what nodes would publish for later stages shows as words."""
    cluster = Cluster(site.testbed, network, dry_run=True)
    lacking = lacking_artifacts(site, installer, cluster)
    found: Diffs = [
        (name, unified_diff(artifact.target, "", str(artifact)))
        for artifact, names in lacking
        for name in names
    ]
    for stage in stages_of(installer, cluster):
        found += _diffs(
            run_on(site.nr, stage.nodes, tasks.join_stage, mesh=cluster, stage=stage, dry_run=True)
        )
    return found


def _over(site: Site, mesh: Mesh) -> dict[str, tuple[str, IPv4Address]]:
    own = solution_named(mesh.scenario.solution).interfaces
    return {
        node.name: (own[0], mesh.overlay(node).ip) if own else (node.leg.interface, node.underlay)
        for node in site.testbed.k8s
    }


def impairments(site: Site, plan: MatrixPlan, conditions: list[Condition], seed: int) -> Diffs:
    """What these conditions would change, one after the other."""
    pairs = tuple(dict.fromkeys(one.cell.pair for one in plan.cells))
    engine = find_engine(site, pairs)
    return [
        *_diffs(install(site, engine, pairs, dry_run=True)),
        *(diff for condition in conditions for diff in _impairment(site, plan, engine, condition, seed)),
    ]


def _impairment(site: Site, plan: MatrixPlan, engine: Engine, condition: Condition, seed: int) -> Diffs:
    placement = plan.profile.placement
    wanted = impairment_for(condition, placement, seed)
    found: Diffs = []
    for target in engine.targets(site.testbed, site.testbed.pairs[0], placement):
        parameters = {"engine": engine, "target": target, "impairment": wanted, "dry_run": True}
        try:
            found += _diffs(run_on(site.nr, [target.node], tasks.set_impairment, **parameters))
        except HostsFailedError as error:
            if placement.place not in _NOT_YET or not isinstance(error.first, CheckError):
                raise
            title = f"{target.node}: impairment {target.name}"
            line = f"{condition.name} on {target.device}, which the run makes first"
            found.append((target.node, unified_diff(title, "", line)))
    return found
