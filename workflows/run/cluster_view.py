"""A cluster as it is now: nodes, pods, the path of every pair, the API's answer, and what is not as it must be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import permutations

import tasks
from vpnmesh.cluster.foreign import foreign_pods
from vpnmesh.cluster.protocol import Cluster, ClusterState, Installer
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import pod_address, pod_network
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh, Status
from vpnmesh.study.checks import check_path
from workflows.run.cluster import unready
from workflows.run.cluster_record import ClusterRecord
from workflows.run.hosts import ask_each
from workflows.run.site import Site


@dataclass(frozen=True, slots=True)
class PathSeen:
    """How one member reaches another, by the VPN's own words; `wrong` says what is not as the scenario has it."""

    node: str
    peer: str
    path: str
    endpoint: str
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A standing cluster as it is now; `troubles` are sentences, none when all is as it must be."""

    state: ClusterState
    paths: tuple[PathSeen, ...]
    api_ms: float | None
    troubles: tuple[str, ...]

    def as_json(self, record: ClusterRecord) -> dict[str, object]:
        """As `status --json` prints it."""
        return {
            "phase": record.phase,
            "ready": not self.troubles,
            "scenario": record.scenario.name,
            "installer": record.installer,
            "inventory": record.inventory,
            "lab": record.lab,
            "since": record.since,
            "kubeconfig": record.kubeconfig,
            "api_ms": self.api_ms,
            "nodes": [asdict(one) for one in self.state.nodes],
            "pods": [asdict(one) for one in self.state.pods],
            "paths": [asdict(one) for one in self.paths],
            "troubles": list(self.troubles),
            "seconds": record.seconds,
        }


def cluster_of(site: Site, record: ClusterRecord) -> Cluster:
    """The cluster that the record tells of, over the addresses that it was put on."""
    network = pod_network(site.testbed, record.scenario.pod_mtu, record.over)
    return Cluster(site.testbed, replace(network, own_pods=False))


def look(site: Site, record: ClusterRecord, installer: Installer) -> ClusterView:
    """Nodes, pods, the path of every pair and the API's answer, all asked now; who does not answer is a trouble."""
    cluster, master = cluster_of(site, record), site.testbed.master.name
    asked = {"installer": installer, "cluster": cluster}
    lost, states = ask_each(site.nr, [master], tasks.cluster_state, **asked)
    state = states[master].result if states else ClusterState(unreachable=str(lost[master]))
    _, times = ask_each(site.nr, [master] if states else [], tasks.time_api, **asked)
    paths, troubles = _paths(site, record)
    foreign = foreign_pods(cluster, state)
    troubles = [
        *unready(cluster, state),
        *(f"foreign pod {pod.namespace}/{pod.name} on {pod.node}" for pod in foreign),
        *troubles,
        *(one.wrong for one in paths if one.wrong),
        *silent_pods(site),
    ]
    return ClusterView(state, paths, times[master].result if times else None, tuple(dict.fromkeys(troubles)))


def _paths(site: Site, record: ClusterRecord) -> tuple[tuple[PathSeen, ...], list[str]]:
    """How every member reaches every other, and who could not be asked."""
    solution = solution_named(record.scenario.solution)
    published = {(node, key): value for node, key, value in record.published}
    mesh = Mesh(site.testbed, record.scenario, published)
    failed, results = ask_each(site.nr, site.k8s, tasks.mesh_status, solution=solution, mesh=mesh)
    statuses: Mapping[str, Status] = {name: one.result for name, one in results.items()}
    troubles = [str(error) for error in failed.values()]
    troubles += [
        f"{name} has the address {statuses[name].address} on {interface}, the cluster wants {address}"
        for name, (interface, address) in record.over.items()
        if name in statuses and statuses[name].address != address
    ]
    seen = [
        _path(record, name, statuses[name], other)
        for name, other in permutations(site.k8s, 2)
        if name in statuses
    ]
    return tuple(seen), troubles


def _path(record: ClusterRecord, name: str, status: Status, other: str) -> PathSeen:
    peer, wrong = status.peer(other), ""
    try:
        check_path(record.scenario, name, status, other)
    except CheckError as error:
        wrong = error.reason
    path, endpoint = (str(peer.path or ""), str(peer.endpoint or "")) if peer else ("", "")
    return PathSeen(name, other, path, endpoint, wrong)


def prove_pods(site: Site) -> None:
    """CheckError unless the measured pod of every member is answered by those of all others."""
    if silent := silent_pods(site):
        raise CheckError("pods", "; ".join(silent))


def silent_pods(site: Site) -> list[str]:
    """What does not answer over the pod network, a sentence each."""
    pods = {node.name: pod_address(site.testbed, node) for node in site.testbed.k8s}
    failed, found = ask_each(site.nr, site.k8s, tasks.reach_pods, pods=pods)
    said = [f"the pod of {name} was not asked ({error})" for name, error in failed.items()]
    return said + [
        f"the pod of {name} hears nothing from the pods of {', '.join(one.result)}"
        for name, one in found.items()
        if one.result
    ]
