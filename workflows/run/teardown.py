"""Taking away everything of ours on every node, whatever a run left: step by step, each said, none stops the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tasks
from vpnmesh.cluster import INSTALLERS
from vpnmesh.errors import UnavailableError, VpnmeshError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.impairment.engine import everywhere
from vpnmesh.model import Path as Way
from vpnmesh.model import Scenario
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from workflows.run import firewall
from workflows.run.firewall import FirewallRun
from workflows.run.hosts import run_on
from workflows.run.impair import find_engine
from workflows.run.site import Site


@dataclass(frozen=True, slots=True)
class Removal:
    """What was looked for on a host, and whether it was (or would be) removed; `error` says why it could not be."""

    what: str
    host: str = ""
    removed: bool = False
    diff: str = ""
    error: str = ""

    def told(self, *, dry_run: bool) -> str:
        """As a person reads it; empty where nothing was there."""
        if self.error:
            return f"{self.what}: {self.error}"
        done = "would be removed" if dry_run else "removed"
        return f"{self.host}: {self.what}: {done}\n{self.diff}".rstrip() if self.removed else ""


def sweep(site: Site, mark: FirewallRun | None = None, *, dry_run: bool) -> Iterator[Removal]:
    """Clean everything on every node; `mark` is the run whose firewall changes are rolled back."""
    yield from _impairments(site, dry_run=dry_run)
    for installer in INSTALLERS.values():
        parameters = {"installer": installer, "testbed": site.testbed}
        yield from _removed(
            site, f"cluster ({installer.name})", site.k8s, tasks.leave_cluster, dry_run=dry_run, **parameters
        )
    yield from _removed(site, "pod network", site.k8s, tasks.detach_pods, dry_run=dry_run)
    for solution in SOLUTIONS.values():
        found = {"solution": solution, "mesh": Mesh(site.testbed, _any_scenario(solution.name))}
        yield from _removed(site, solution.name, site.all_nodes, tasks.leave_mesh, dry_run=dry_run, **found)
    yield from _removed(site, "API test", site.k8s, tasks.clear_api_test, dry_run=dry_run)
    if mark is not None and not dry_run:
        yield _rolled_back(site, mark)
    else:
        yield from _policy(site, mark or FirewallRun(), dry_run=dry_run)


def _removed(
    site: Site, what: str, names: list[str], task: Any, *, dry_run: bool, **parameters: object
) -> Iterator[Removal]:
    """What the task took away on each of these nodes, or why it failed."""
    try:
        results = run_on(site.nr, names, task, dry_run=dry_run, **parameters)
    except VpnmeshError as error:
        yield Removal(what, error=str(error))
        return
    for host, result in results.items():
        yield Removal(what, host, removed=bool(result.changed), diff=str(result.diff))


def _impairments(site: Site, *, dry_run: bool) -> Iterator[Removal]:
    bed = site.testbed
    try:
        engine = find_engine(site)
    except UnavailableError:
        # where none can be set, none can be left
        return
    except VpnmeshError as error:
        # a node that does not answer must not keep the others, and the firewall, as they are
        yield Removal("impairments", error=str(error))
        return
    targets = everywhere(engine, bed)
    nodes = list(dict.fromkeys(target.node for target in targets))
    parameters = {"engine": engine, "targets": targets}
    yield from _removed(site, "impairments", nodes, tasks.clear_impairment, dry_run=dry_run, **parameters)


def _rolled_back(site: Site, mark: FirewallRun) -> Removal:
    try:
        anything = firewall.roll_back(site.nr, site.testbed, mark)
    except VpnmeshError as error:
        return Removal("firewall", error=str(error))
    return Removal(f"changes of run {mark.run}", site.testbed.firewall.name, removed=anything)


def _policy(site: Site, mark: FirewallRun, *, dry_run: bool) -> Iterator[Removal]:
    bed = site.testbed
    parameters = {
        "policy": policy_named("allow-all"),
        "testbed": bed,
        "run": mark.run,
        "journal": mark.journal,
    }
    names, task = [bed.firewall.name], tasks.set_firewall_policy
    yield from _removed(site, "firewall policy", names, task, dry_run=dry_run, **parameters)


def _any_scenario(solution: str) -> Scenario:
    """A scenario of the solution: what is left behind depends on none, but a mesh has one."""
    return Scenario(solution, solution, Way.DIRECT, pod_mtu=1230, tunnel_mtu=1280, policy="allow-all")
