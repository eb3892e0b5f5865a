"""Taking away everything of ours on every node, whatever a run left: step by step, each said, none stops the others."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nornir.core.task import Result

import tasks
from vpnmesh.cluster import INSTALLERS
from vpnmesh.errors import NodeUnreachableError, UnavailableError, VpnmeshError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.impairment.engine import Engine, everywhere
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Path as Way
from vpnmesh.model import Scenario
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from workflows.run import firewall
from workflows.run.firewall import FirewallRun
from workflows.run.hosts import HostsFailedError, ask_each, run_on
from workflows.run.impair import find_engine
from workflows.run.lab import emulated
from workflows.run.site import Site


@dataclass(frozen=True, slots=True)
class Removal:
    """What was looked for on a host, and whether it was (or would be) removed; `error` says why it could not be."""

    what: str
    host: str = ""
    removed: bool = False
    diff: str = ""
    error: str = ""
    word: str = "removed"

    def told(self, *, dry_run: bool) -> str:
        """As a person reads it; empty where nothing was there."""
        if self.error:
            return ": ".join(part for part in (self.host, self.what, self.error) if part)
        done = f"would be {self.word}" if dry_run else self.word
        return f"{self.host}: {self.what}: {done}\n{self.diff}".rstrip() if self.removed else ""


@dataclass(frozen=True, slots=True)
class Left:
    """What is known of a run that left something: whose firewall changes, by which engine, the nodes' own settings."""

    mark: FirewallRun | None = None
    engine: Engine | None = None
    sysctls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


NOTHING_KNOWN = Left()
Parameters = dict[str, Any]
"""What a task is called with."""


def sweep(site: Site, left: Left = NOTHING_KNOWN, *, dry_run: bool) -> Iterator[Removal]:
    """Clean everything on every node that can be reached; those that cannot are named, each once."""
    gone = _gone(site)
    yield from (Removal("cannot be reached", host, error=str(why)) for host, why in gone.items())
    there = _There(site, frozenset(gone), dry_run=dry_run)
    yield from _impairments(there, left.engine)
    for installer in INSTALLERS.values():
        parameters: Parameters = {"installer": installer, "testbed": site.testbed}
        yield from there.removed(f"cluster ({installer.name})", site.k8s, tasks.leave_cluster, **parameters)
    yield from there.removed("pod network", site.k8s, tasks.detach_pods)
    for solution in SOLUTIONS.values():
        found: Parameters = {"solution": solution, "mesh": Mesh(site.testbed, _any_scenario(solution.name))}
        yield from there.removed(solution.name, site.all_nodes, tasks.leave_mesh, **found)
    yield from there.removed("IPv6 in the underlay", site.all_nodes, tasks.restore_families)
    yield from there.removed("API test", site.k8s, tasks.clear_api_test)
    yield from there.removed(
        "kernel settings", list(left.sysctls), tasks.put_sysctls_back, word="set back", former=left.sysctls
    )
    if site.testbed.firewall.name in gone:
        return
    if site.testbed.firewall.name in site.all_nodes:
        yield from there.removed("NAT routers", [site.testbed.firewall.name], tasks.clear_nat_kinds)
    if left.mark is not None and not dry_run:
        yield _rolled_back(site, left.mark)
    else:
        yield from _policy(there, left.mark or FirewallRun())


def at_home(site: Site, *, dry_run: bool) -> Iterator[Removal]:
    """Set underlay addresses back that an event had changed; only a command of its own changes any."""
    there = _There(site, frozenset(_gone(site)), dry_run=dry_run)
    yield from there.removed("changed address", site.k8s, tasks.restore_address, word="set back")


def _gone(site: Site) -> dict[str, VpnmeshError]:
    """The nodes that nobody can log in to, with the reasons; an appliance is asked by its driver later."""
    failed, _ = ask_each(site.nr, site.all_nodes, tasks.read_lease)
    return {host: error for host, error in failed.items() if isinstance(error, NodeUnreachableError)}


@dataclass(frozen=True, slots=True)
class _There:
    """The nodes that can be reached, and whether anything is to be changed on them."""

    site: Site
    gone: frozenset[str]
    dry_run: bool

    def removed(
        self, what: str, names: Iterable[str], task: Any, word: str = "removed", **parameters: object
    ) -> Iterator[Removal]:
        """What the task took away on each of these nodes, and where it failed."""
        there = [name for name in names if name not in self.gone]
        done: dict[str, Result] = {}
        try:
            done = run_on(self.site.nr, there, task, dry_run=self.dry_run, **parameters)
        except HostsFailedError as error:
            done = error.done
            yield Removal(what, error=str(error))
        except VpnmeshError as error:
            yield Removal(what, error=str(error))
        for host, result in done.items():
            yield Removal(what, host, removed=bool(result.changed), diff=str(result.diff), word=word)


def _impairments(there: _There, known: Engine | None) -> Iterator[Removal]:
    bed = there.site.testbed
    try:
        engine = known or _engine_of(there)
    except UnavailableError:
        # where none can be set, none can be left
        return
    except VpnmeshError as error:
        # a node that does not answer must not keep the others, and the firewall, as they are
        yield Removal("impairments", error=str(error))
        return
    targets = everywhere(engine, bed)
    nodes = dict.fromkeys(target.node for target in targets)
    yield from there.removed("impairments", nodes, tasks.clear_impairment, engine=engine, targets=targets)


def _engine_of(there: _There) -> Engine:
    """The engine that impairments can be of; where a node is gone nobody can ask it, and netem is what nodes have."""
    if there.gone and not emulated(there.site.testbed):
        return NetemEngine()
    return find_engine(there.site)


def _rolled_back(site: Site, mark: FirewallRun) -> Removal:
    try:
        anything = firewall.roll_back(site.nr, site.testbed, mark)
    except VpnmeshError as error:
        return Removal("firewall", error=str(error))
    return Removal(f"changes of run {mark.run}", site.testbed.firewall.name, removed=anything)


def _policy(there: _There, mark: FirewallRun) -> Iterator[Removal]:
    bed = there.site.testbed
    parameters: Parameters = {
        "policy": policy_named("allow-all"),
        "testbed": bed,
        "run": mark.run,
        "journal": mark.journal,
    }
    yield from there.removed("firewall policy", [bed.firewall.name], tasks.set_firewall_policy, **parameters)


def _any_scenario(solution: str) -> Scenario:
    """A scenario of the solution: what is left behind depends on none, but a mesh has one."""
    return Scenario(solution, solution, Way.DIRECT, pod_mtu=1230, tunnel_mtu=1280, policy="allow-all")
