"""Deploys a scenario on a testbed and removes it again: firewall, mesh, pods, proof of the path."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import combinations

import tasks
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.pods import PodNetwork, pod_network
from vpnmesh.host.sysctls import PAPER_SYSCTLS
from vpnmesh.lab.waiting import wait_until
from vpnmesh.masks import masked
from vpnmesh.model import Scenario
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh, Solution, Stage, Status
from vpnmesh.stages import stages_of
from vpnmesh.study.checks import check_mesh, check_share
from vpnmesh.study.journal import ScenarioUp
from workflows.run import firewall
from workflows.run.cluster import RaisedCluster, raise_cluster, refuse_other_clusters, remove_cluster
from workflows.run.deploying import SetUp, run_stages
from workflows.run.diagnosing import ask_why_not_up
from workflows.run.held_lease import TestbedHeldError
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.interrupts import InterruptedRunError
from workflows.run.requirements import require
from workflows.run.site import Site
from workflows.run.undoing import promise

_KNOCK_PAUSE_S = 0.1


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
    set_up: SetUp
    stack: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cluster: RaisedCluster | None = None

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
            stack={node: dict(found) for node, found in self.stack.items() if found},
        )


@contextlib.contextmanager
def provisioned(site: Site, scenario: Scenario) -> Iterator[Provisioned]:
    """Deploy the scenario, prove its path, and remove everything again whatever happens.

    Raises UnavailableError before anything is touched, CheckError when what is up is not the scenario.
    """
    solution = require(site, scenario)
    if site.installer is not None:
        refuse_other_clusters(site)
    try:
        yield deploy(site, solution, scenario)
    except VpnmeshError:
        save_logs(site)
        raise
    finally:
        take_off(site, solution, Mesh(site.testbed, scenario))


def deploy(site: Site, solution: Solution, scenario: Scenario) -> Provisioned:
    """Deploy the scenario, the cluster over it where the site has an installer, prove its path, and leave it standing.

    Whoever calls this takes it off again, also where it raises.
    """
    mesh, set_up = Mesh(site.testbed, scenario), SetUp(tell=site.tell)
    promise(site, solution, mesh)
    with set_up.phase("firewall"):
        firewall_policy(site, scenario.policy)
    infrastructure, members = _parts(stages_of(solution, mesh))
    with set_up.phase("infrastructure"):
        mesh = run_stages(site, infrastructure, mesh, set_up)
    with set_up.phase("members"):
        mesh = run_stages(site, members, mesh, set_up)
    try:
        return _proven(site, solution, mesh, set_up)
    except VpnmeshError:
        ask_why_not_up(site, solution, mesh)
        raise


def _proven(site: Site, solution: Solution, mesh: Mesh, set_up: SetUp) -> Provisioned:
    """Wait for the mesh whose members have joined, put pods and cluster over it, and prove its path."""
    scenario = mesh.scenario
    with set_up.phase("ready"):
        statuses = await_mesh(site, solution, mesh)
    with set_up.phase("pods"):
        network = attach(site, mesh, statuses)
    raised = None
    if site.installer is not None:
        with set_up.phase("cluster"):
            raised = raise_cluster(site, site.installer, network)
    with set_up.phase("proof"):
        firewall.prove_policy(site.nr, site.testbed, scenario.policy)
        share = prove_path(site, mesh)
    stack = stacks(site, solution)
    return Provisioned(scenario, solution, mesh, statuses, share, set_up, stack, raised)


def _parts(stages: Sequence[Stage]) -> tuple[Sequence[Stage], Sequence[Stage]]:
    """The stages of infrastructure, and those by which members join: the last one, unless others say so."""
    first = next((place for place, stage in enumerate(stages) if stage.joining), len(stages) - 1)
    return (stages[:first], stages[first:]) if stages else ((), ())


def firewall_policy(site: Site, name: str) -> None:
    """Set the policy of that name on the firewall."""
    firewall.set_policy(site.nr, site.testbed, name, site.firewall)


def join(site: Site, solution: Solution, mesh: Mesh) -> Mesh:
    """Run all of the solution's stages; returns the mesh that knows all keys."""
    return run_stages(site, stages_of(solution, mesh), mesh)


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


def attach(site: Site, mesh: Mesh, statuses: Mapping[str, Status]) -> PodNetwork:
    """Put the pod network over the addresses that the solution gave its members, unless a cluster brings its own."""
    over: dict[str, tuple[str, IPv4Address]] = {}
    for name, status in statuses.items():
        if status.address is None:
            raise CheckError("provision", f"{name} has no address on {status.interface}")
        over[name] = (status.interface, status.address)
    tuning = solution_named(mesh.scenario.solution).tuning(mesh.scenario)
    network = pod_network(site.testbed, mesh.scenario.pod_mtu, over, tuning)
    if site.installer is not None:
        network = replace(network, own_pods=False)
    if site.installer is None or not site.installer.brings_pod_network:
        run_on(site.nr, site.k8s, tasks.attach_pods, network=network, testbed=site.testbed)
    return network


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
    check_share(mesh.scenario, bed.relay.name, share, (bed.client.name, bed.server.name))
    return share


def stacks(site: Site, solution: Solution) -> dict[str, dict[str, str]]:
    """What the VPN uses of the network stack of members and relay, once its path carried something."""
    nodes = [*site.k8s, site.testbed.relay.name] if solution.is_vpn else []
    return {
        name: one.result for name, one in run_on(site.nr, nodes, tasks.read_stack, solution=solution).items()
    }


def take_off(site: Site, solution: Solution, mesh: Mesh) -> None:
    """Remove pods, mesh and firewall rules; every step is tried on every node though others failed.

    What could not be cleaned becomes a complaint of the site: the next scenario's checks would refuse to measure
    beside it. A signal meanwhile ends nothing of this: it is raised again once all is removed. Where another run holds
    the nodes by now they have undone ours by themselves, and what is there is not ours to remove.
    """
    installer = site.installer
    if taken := taken_by_another(site):
        site.complaints.append(f"{taken}: nothing was removed")
        return
    steps = (
        lambda: remove_cluster(site, installer) if installer else None,
        lambda: run_on(site.nr, site.k8s, tasks.detach_pods),
        lambda: run_on(site.nr, site.all_nodes, tasks.leave_mesh, solution=solution, mesh=mesh),
        lambda: firewall_policy(site, "allow-all"),
        # each node that is clean now has nothing more of the scenario to undo
        lambda: promise(site),
    )
    interrupts = [interrupt for step in steps if (interrupt := carried_out(site, step))]
    if interrupts:
        raise interrupts[0]


def hold_again(site: Site) -> None:
    """Before a visit: take back leases that were lost, and set there again what the run sets on its nodes.

    Raises as `HeldLease.regain`.
    """
    if site.lease is None:
        return
    site.lease.regain()
    if names := [name for name in site.k8s if name in site.lease.anew and name in site.lease.settings]:
        promise(site)
        run_on(site.nr, names, tasks.set_sysctls, values=PAPER_SYSCTLS)
    site.lease.anew.clear()


def taken_by_another(site: Site) -> str:
    """Take back leases that were lost; says who holds the nodes where that is another run, else ""."""
    try:
        if site.lease is not None:
            site.lease.regain()
    except TestbedHeldError as error:
        return str(error)
    except VpnmeshError:
        # of a node that does not answer: whatever is to be done there says so
        return ""
    return ""


def carried_out(site: Site, step: Callable[[], object]) -> InterruptedRunError | None:
    """Make a step of cleaning up; what it could not do is a complaint, and its nodes keep what they were to undo.

    One that a signal cut is made once more, for only the first signal cuts, and that is returned: to be raised at the
    end.
    """
    try:
        step()
    except VpnmeshError as error:
        site.complaints.append(str(error))
        if site.lease is not None and isinstance(error, HostsFailedError):
            site.lease.unclean |= set(error.errors)
    except InterruptedRunError as interrupt:
        carried_out(site, step)
        return interrupt
    return None


def save_logs(site: Site) -> None:
    """Read what our daemons logged on every node, before leaving takes it away; a node that is gone has none."""
    for node in site.all_nodes:
        with contextlib.suppress(VpnmeshError):
            found = run_on(site.nr, [node], tasks.read_logs)[node].result
            site.logs |= {
                f"{node}-{service}.log": masked(text, site.secrets) for service, text in found.items()
            }


def _knock(site: Site, mesh: Mesh, statuses: Mapping[str, Status]) -> None:
    """Send a packet to every peer, since some solutions connect only when there is something to carry."""
    targets = knocks([node.name for node in mesh.members], statuses)
    run_on(site.nr, list(targets), tasks.knock, targets=targets)


def knocks(members: Sequence[str], statuses: Mapping[str, Status]) -> dict[str, list[str]]:
    """To which addresses each member knocks: one end of each pair, once both ends know the other.

    One end: Nebula 1.6.1 never connects two members that ask the relay for each other at once (its log: "Failed to
    update relay for target: unknown relay"). A WireGuard handshake that has nowhere to go is not tried again for 5 s
    (REKEY_TIMEOUT), so a knock that comes too early costs more than it brings.
    """
    targets: dict[str, list[str]] = {}
    for name, other in combinations(members, 2):
        address = statuses[other].address
        if address is not None and _know_each_other(statuses, name, other):
            targets.setdefault(name, []).append(str(address))
    return targets


def _know_each_other(statuses: Mapping[str, Status], name: str, other: str) -> bool:
    if statuses[name].address is None:
        return False
    ends = (statuses[name].peer(other), statuses[other].peer(name))
    return all(peer is not None and peer.known for peer in ends)
