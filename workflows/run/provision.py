"""Deploys a scenario on a testbed and removes it again: firewall, mesh, pods, proof of the path."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from nornir.core import Nornir
from nornir.core.task import Result

import tasks
from tasks.firewall.registry import driver_of
from vpnmesh.errors import CheckError, UnavailableError, VpnmeshError
from vpnmesh.host.binaries import way_to
from vpnmesh.host.pods import pod_network
from vpnmesh.host.sysctls import PAPER_SYSCTLS
from vpnmesh.lab.binaries import pinned
from vpnmesh.lab.waiting import wait_until
from vpnmesh.masks import masked
from vpnmesh.model import Scenario, Testbed
from vpnmesh.plan import Fact, Plan, Secret, Text
from vpnmesh.solutions import SOLUTIONS, solution_named
from vpnmesh.solutions.protocol import Binary, Mesh, MeshRole, Solution, Stage, Status
from vpnmesh.study.checks import check_mesh, check_share
from vpnmesh.study.journal import ScenarioUp
from vpnmesh.study.programs import is_version, program_of, solution_from, told_version
from workflows.run import firewall
from workflows.run.firewall import FirewallRun
from workflows.run.hosts import run_on

_NO_STAGE = Stage("nothing", (), lambda _mesh, _node: Fact((), lambda _: Plan()))
_KNOCK_PAUSE_S = 0.2


@dataclass(slots=True)
class Site:
    """A testbed with its connections.

    `complaints` and `logs` gather what goes wrong while scenarios are removed, until a run keeps it; `secrets` are
    those that nodes made, to be masked in all that is kept; `firewall` is the run that firewall changes are made for.
    """

    nr: Nornir
    testbed: Testbed
    complaints: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    secrets: set[Secret] = field(default_factory=set)
    firewall: FirewallRun = field(default_factory=FirewallRun)

    @property
    def all_nodes(self) -> list[str]:
        """Every node that our commands run on: not a firewall whose driver says that it is an appliance."""
        hosts = self.nr.inventory.hosts.items()
        appliances = {name for name, host in hosts if driver_of(host).is_appliance}
        return [node.name for node in self.testbed.nodes if node.name not in appliances]

    @property
    def k8s(self) -> list[str]:
        """The nodes that carry pods."""
        return [node.name for node in self.testbed.k8s]

    def take_complaints(self) -> list[str]:
        """What teardowns could not clean since the last time this was asked."""
        said, self.complaints = self.complaints, []
        return said

    def take_logs(self) -> dict[str, str]:
        """What daemons logged in scenarios that failed, by file name, since the last time this was asked."""
        said, self.logs = self.logs, {}
        return said


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A scenario that is up, and proven to be: its mesh, and what the nodes said of it.

    `join_s` is how long the members took from their last step until all pairs had the scenario's path.
    """

    scenario: Scenario
    solution: Solution
    mesh: Mesh
    statuses: Mapping[str, Status]
    relay_share: float
    set_up: "SetUp"

    @property
    def join_s(self) -> float:
        """Seconds from the members' start until every pair had the scenario's path."""
        return round(self.set_up.seconds["members"] + self.set_up.seconds["ready"], 3)

    @property
    def data_plane(self) -> str:
        """Who encrypts, as the nodes have it (one word if they agree)."""
        planes = sorted({str(status.data_plane) for status in self.statuses.values()})
        return "+".join(planes)

    def event(self) -> ScenarioUp:
        """What the journal keeps of it: data plane, the paths that the nodes named, and what setting it up took."""
        peers = {
            name: {peer.name: f"{peer.path} {peer.endpoint} {peer.via}".strip() for peer in status.peers}
            for name, status in self.statuses.items()
        }
        return ScenarioUp(
            scenario=self.scenario.name,
            data_plane=self.data_plane,
            peers=peers,
            relay_share=self.relay_share,
            join_s=self.join_s,
            setup_steps=self.set_up.steps,
            setup_s=round(self.set_up.seconds["infrastructure"] + self.join_s, 3),
            setup_seconds=self.set_up.seconds,
        )


@dataclass(slots=True)
class SetUp:
    """What deploying a scenario took: changes of nodes while joining, and seconds by phase."""

    steps: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)


def require(site: Site, scenario: Scenario) -> Solution:
    """The scenario's solution, with all its programs where they are needed; UnavailableError says what is missing.

    That is a program, its version or its folder; nothing was touched by then.
    """
    if scenario.solution not in SOLUTIONS:
        raise UnavailableError(f"no module for {scenario.solution} yet")
    solution = solution_from(solution_named(scenario.solution), scenario)
    mesh = Mesh(site.testbed, scenario)
    if reason := solution.unbuildable_reason(mesh):
        raise UnavailableError(reason)
    if lacking := [one for role in MeshRole for one in _lacking(site, solution, mesh, role)]:
        raise UnavailableError(lacking_words(lacking))
    if program := program_of(solution):
        _require_folder(site, mesh, program)
        _require_version(site, solution, mesh, program)
    # a solution whose deployment is not built says so here, before anything is touched
    solution.stages(mesh)
    return solution


Lacking = tuple[str, tuple[str, ...], str]
"""A program that is missing, the nodes that lack it, and the way to it in words."""


def lacking_words(lacking: Iterable[Lacking]) -> str:
    """What is missing, a program once with all nodes that lack it; the one thing to do is written out once."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for name, hosts, way in lacking:
        nodes.setdefault((name, way), []).extend(hosts)
    programs: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (name, way), where in nodes.items():
        programs.setdefault((tuple(dict.fromkeys(where)), way), []).append(name)
    said, parts = set[str](), list[str]()
    for (on_nodes, way), names in programs.items():
        on = f" on {', '.join(on_nodes)}" if on_nodes else ""
        parts.append(f"no binary {', '.join(names)}{on} ({'the same way' if way in said else way})")
        said.add(way)
    return "; ".join(parts)


def _lacking(site: Site, solution: Solution, mesh: Mesh, role: MeshRole) -> Iterator[Lacking]:
    """Each program that the nodes of a role lack, with the nodes and the way to it."""
    wanted = {binary.name: binary for binary in solution.needed(mesh.scenario) if binary.at is role}
    nodes = [node.name for node in mesh.nodes_in(role)] if wanted else []
    found = _found(site, mesh, nodes, tuple(wanted))
    for name, binary in wanted.items():
        if without := tuple(host for host, result in found.items() if not result.result[name]):
            yield name, without, _way(site, mesh, without[0], binary)


def _found(site: Site, mesh: Mesh, nodes: Sequence[str], programs: tuple[str, ...]) -> Mapping[str, Result]:
    """Where these nodes have the programs, by node; the scenario's folder is looked in first."""
    folder = mesh.scenario.program_folder
    return run_on(site.nr, nodes, tasks.find_binaries, programs=programs, folder=folder)


def _require_folder(site: Site, mesh: Mesh, program: Binary) -> None:
    """Every member has the program in the scenario's folder: from elsewhere it would be another one, unnoticed."""
    if not (folder := mesh.scenario.program_folder.rstrip("/")):
        return
    found = _found(site, mesh, site.k8s, (program.name,))
    elsewhere = [host for host, one in found.items() if not one.result[program.name].startswith(f"{folder}/")]
    if elsewhere:
        known = _pinned_for(folder, program.name)
        way = _way(site, mesh, elsewhere[0], program) if known else "put it there, or change program_folder"
        raise UnavailableError(
            f"no {program.name} in {folder} on {', '.join(elsewhere)}, where {mesh.scenario.name} wants it ({way})"
        )


def _require_version(site: Site, solution: Solution, mesh: Mesh, program: Binary) -> None:
    """The program is of the scenario's version on every node that has a part in the mesh with it."""
    scenario = mesh.scenario
    if not scenario.version:
        return
    seats = [one.at for one in solution.needed(scenario) if one.name == program.name]
    nodes = tuple(dict.fromkeys(node.name for seat in seats for node in mesh.nodes_in(seat)))
    told = run_on(site.nr, nodes, tasks.read_version, argv=program.version, folder=scenario.program_folder)
    others: dict[str, list[str]] = {}
    for host, one in told.items():
        if not is_version(scenario.version, one.result):
            others.setdefault(told_version(one.result), []).append(host)
    if others:
        said = "; ".join(f"{program.name} is {found} on {', '.join(who)}" for found, who in others.items())
        way = "install it there, or keep it in a folder of its own and write program_folder"
        raise UnavailableError(f"{said}; {scenario.name} wants {scenario.version} ({way})")


def _pinned_for(folder: str, program: str) -> bool:
    """Whether binaries.toml says how a program gets into a scenario's own folder."""
    wanted = folder.rstrip("/")
    return bool(wanted) and any(one.folder == wanted and program in one.programs for one in pinned())


def _way(site: Site, mesh: Mesh, host: str, wanted: Binary) -> str:
    folder = mesh.scenario.program_folder
    if wanted.package and not _pinned_for(folder, wanted.name):
        return f"Debian package {wanted.package}"
    # each node by its own processor: a mesh may mix them
    machine = run_on(site.nr, [host], tasks.run_command, argv=("uname", "-m"))[host].result
    return way_to(pinned(), wanted.name, str(machine).strip(), folder)


@contextlib.contextmanager
def provisioned(site: Site, scenario: Scenario) -> Iterator[Provisioned]:
    """Deploy the scenario, prove its path, and remove everything again whatever happens.

    Raises UnavailableError before anything is touched, CheckError when what is up is not the scenario.
    """
    solution = require(site, scenario)
    mesh, set_up = Mesh(site.testbed, scenario), SetUp()
    try:
        with set_up.phase("firewall"):
            firewall_policy(site, scenario.policy)
        # the last stage starts the members: from then on it is a join, before it is infrastructure
        *infrastructure, members = solution.stages(mesh) or (_NO_STAGE,)
        with set_up.phase("infrastructure"):
            mesh = run_stages(site, infrastructure, mesh, set_up)
        with set_up.phase("members"):
            mesh = run_stages(site, [members], mesh, set_up)
        with set_up.phase("ready"):
            statuses = await_mesh(site, solution, mesh)
        with set_up.phase("pods"):
            attach(site, mesh, statuses)
        with set_up.phase("proof"):
            firewall.prove_policy(site.nr, site.testbed, scenario.policy)
            share = prove_path(site, mesh)
        yield Provisioned(scenario, solution, mesh, statuses, share, set_up)
    except VpnmeshError:
        save_logs(site)
        raise
    finally:
        take_off(site, solution, mesh)


def firewall_policy(site: Site, name: str) -> None:
    """Set the policy of that name on the firewall."""
    firewall.set_policy(site.nr, site.testbed, name, site.firewall)


def join(site: Site, solution: Solution, mesh: Mesh) -> Mesh:
    """Run all of the solution's stages; returns the mesh that knows all keys."""
    return run_stages(site, solution.stages(mesh), mesh)


def run_stages(site: Site, stages: Sequence[Stage], mesh: Mesh, set_up: SetUp | None = None) -> Mesh:
    """Run the stages in order, each on all its nodes at once; returns the mesh with what they published."""
    for stage in stages:
        results = run_on(site.nr, stage.nodes, tasks.join_stage, mesh=mesh, stage=stage)
        found: dict[tuple[str, str], Text] = {
            (host, key): value for host, result in results.items() for key, value in result.result.items()
        }
        mesh = mesh.with_published(found)
        site.secrets |= {value for value in found.values() if isinstance(value, Secret)}
        if set_up is not None:
            set_up.steps += sum(bool(result.changed) for result in results.values())
    return mesh


def await_mesh(site: Site, solution: Solution, mesh: Mesh, ready_s: float | None = None) -> dict[str, Status]:
    """Wait until every member reaches every other on the scenario's path; CheckError says which pair does not.

    The solution says how long that may take, unless `ready_s` does.
    """

    def look() -> tuple[dict[str, Status], CheckError | None]:
        statuses = mesh_statuses(site, solution, mesh)
        try:
            check_mesh(mesh, statuses)
        except CheckError as error:
            _knock(site, mesh, statuses)
            return statuses, error
        return statuses, None

    limit_s = solution.ready_s if ready_s is None else ready_s
    statuses, error = wait_until(look, limit_s, _KNOCK_PAUSE_S, good=lambda seen: seen[1] is None)
    if error:
        raise error
    return statuses


def mesh_statuses(site: Site, solution: Solution, mesh: Mesh) -> dict[str, Status]:
    """What every member says now."""
    results = run_on(site.nr, site.k8s, tasks.mesh_status, solution=solution, mesh=mesh)
    return {host: result.result for host, result in results.items()}


def attach(site: Site, mesh: Mesh, statuses: Mapping[str, Status]) -> None:
    """Put the pod network over the addresses that the solution gave its members."""
    over: dict[str, tuple[str, IPv4Address]] = {}
    for name, status in statuses.items():
        if status.address is None:
            raise CheckError("provision", f"{name} has no address on {status.interface}")
        over[name] = (status.interface, status.address)
    network = pod_network(site.testbed, mesh.scenario.pod_mtu, over)
    run_on(site.nr, site.k8s, tasks.attach_pods, network=network, testbed=site.testbed)


def prove_path(site: Site, mesh: Mesh) -> float:
    """Prove by the relay node's counters that a probe's bytes took the scenario's path; returns its share."""
    bed = site.testbed
    results = run_on(
        site.nr,
        [bed.client.name],
        tasks.probe_relay_share,
        testbed=bed,
        server=bed.server.name,
        others=site.nr.inventory.hosts,
    )
    share = float(results[bed.client.name].result)
    check_share(mesh.scenario, bed.relay.name, share)
    return share


def take_off(site: Site, solution: Solution, mesh: Mesh) -> None:
    """Remove pods, mesh and firewall rules; every step is tried on every node though others failed.

    What could not be cleaned becomes a complaint of the site: the next scenario's checks would refuse to measure
    beside it.
    """
    steps = (
        lambda: run_on(site.nr, site.k8s, tasks.detach_pods),
        lambda: run_on(site.nr, site.all_nodes, tasks.leave_mesh, solution=solution, mesh=mesh),
        lambda: firewall_policy(site, "allow-all"),
    )
    for step in steps:
        try:
            step()
        except VpnmeshError as error:
            site.complaints.append(str(error))


def save_logs(site: Site) -> None:
    """Read what our daemons logged on every node, before leaving takes it away; a node that is gone has none."""
    for node in site.all_nodes:
        with contextlib.suppress(VpnmeshError):
            found = run_on(site.nr, [node], tasks.read_logs)[node].result
            site.logs |= {
                f"{node}-{service}.log": masked(text, site.secrets) for service, text in found.items()
            }


@contextlib.contextmanager
def sysctls_set(site: Site) -> Iterator[dict[str, dict[str, str]]]:
    """Set the paper's kernel settings where the kernel has them, and set the former ones again at the end."""
    before: dict[str, dict[str, str]] = {}
    try:
        for host, result in run_on(site.nr, site.k8s, tasks.set_sysctls, values=PAPER_SYSCTLS).items():
            before[host] = result.result
        yield before
    finally:
        for host, values in before.items():
            if values:
                run_on(site.nr, [host], tasks.set_sysctls, values=values)


def _knock(site: Site, mesh: Mesh, statuses: Mapping[str, Status]) -> None:
    """Send a packet to every peer, since some solutions connect only when there is something to carry.

    One end of each pair knocks: Nebula 1.6.1 never connects two members that ask the relay for each other at
    once (its log: "Failed to update relay for target: unknown relay").
    """
    addresses = [
        (node.name, str(status.address))
        for node in mesh.members
        if (status := statuses[node.name]).address is not None
    ]
    targets = {
        name: [address for _, address in addresses[place + 1 :]]
        for place, (name, _) in enumerate(addresses[:-1])
    }
    run_on(site.nr, list(targets), tasks.knock, targets=targets)
