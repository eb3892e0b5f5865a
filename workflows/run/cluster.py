"""Puts Kubernetes over a scenario's addresses and takes it away again: stages, readiness, measured pods."""

from dataclasses import dataclass

import tasks
from vpnmesh.cluster import PODS, installer_named
from vpnmesh.cluster.foreign import check_pods
from vpnmesh.cluster.protocol import POD_PREFIX, Cluster, ClusterState, Installer
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.pods import PodNetwork, pod_address
from vpnmesh.lab.waiting import wait_until
from vpnmesh.stages import side_by_side, stages_of
from vpnmesh.study.journal import ClusterUp
from vpnmesh.study.profile import Profile, check_cluster
from workflows.run.artifacts import bring_artifacts
from workflows.run.deploying import SetUp, run_stages
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.site import Site

STAGE = "cluster"
"""The stage of failures here."""
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class RaisedCluster:
    """A cluster that is up: all its nodes and measured pods are ready."""

    installer: Installer
    cluster: Cluster
    state: ClusterState
    set_up: SetUp

    def event(self, scenario: str) -> ClusterUp:
        """What the journal keeps of it."""
        return ClusterUp(
            scenario=scenario,
            installer=self.installer.name,
            versions={node.name: node.version for node in self.state.nodes},
            seconds=self.set_up.seconds,
        )


def installer_of(profile: Profile) -> Installer | None:
    """What a run puts over every scenario; None where its pods are namespaces. UnknownNameError for any other name."""
    check_cluster(profile.cluster)
    return None if profile.cluster == PODS else installer_named(profile.cluster)


def refuse_other_clusters(site: Site) -> None:
    """CheckError where another Kubernetes, or another engine of containers, is on a master or worker: by name."""
    found = run_on(site.nr, site.k8s, tasks.read_other_clusters)
    said = "; ".join(f"{name} has {', '.join(one.result)}" for name, one in found.items() if one.result)
    if said:
        raise CheckError(
            STAGE,
            f"{said}: a cluster is there already, and nothing was touched; take other nodes, or remove it first (what "
            "vpnmesh itself left: vpnmesh teardown)",
        )


def raise_cluster(site: Site, installer: Installer, network: PodNetwork) -> RaisedCluster:
    """Install the cluster over the network's addresses and wait until all is ready; CheckError says what is not.

    Unless the installer brings `vxlan.calico` itself, that is there already.
    """
    cluster = Cluster(site.testbed, network)
    set_up = SetUp(tell=lambda phase, seconds: site.tell(f"cluster {phase}", seconds))
    if reason := installer.unbuildable_reason(cluster):
        raise CheckError(STAGE, reason)
    if installer.artifacts:
        with set_up.phase("artifacts"):
            bring_artifacts(site, installer, cluster)
    for stage in side_by_side(stages_of(installer, cluster)):
        with set_up.phase(stage.name):
            cluster = run_stages(site, [stage], cluster, set_up)
    with set_up.phase("ready"):
        state = await_ready(site, installer, cluster)
    check_pods(cluster, state)
    with set_up.phase("entering pods"):
        run_on(site.nr, site.k8s, tasks.enter_pods, installer=installer, cluster=cluster)
    return RaisedCluster(installer, cluster, state, set_up)


def await_ready(
    site: Site, installer: Installer, cluster: Cluster, ready_s: float | None = None
) -> ClusterState:
    """Wait until all nodes and measured pods are ready; CheckError names each that is not, and why."""
    state = wait_until(
        lambda: read_state(site, installer, cluster),
        installer.ready_s if ready_s is None else ready_s,
        _LOOK_EVERY_S,
        good=lambda seen: not unready(cluster, seen),
    )
    if lacking := unready(cluster, state):
        raise CheckError(STAGE, "; ".join(lacking))
    return state


def check_cluster_now(site: Site, raised: RaisedCluster) -> None:
    """CheckError unless all is ready, at once or soon after a test that disturbed it, and no foreign pod is there."""
    check_pods(raised.cluster, await_ready(site, raised.installer, raised.cluster))


def read_state(site: Site, installer: Installer, cluster: Cluster) -> ClusterState:
    """What the API says now."""
    master = cluster.master.name
    results = run_on(site.nr, [master], tasks.cluster_state, installer=installer, cluster=cluster)
    state: ClusterState = results[master].result
    return state


def unready(cluster: Cluster, state: ClusterState) -> list[str]:
    """What is not as it must be, a sentence each; none when the cluster is ready."""
    if state.unreachable:
        return [f"no answer of {cluster.server}: {state.unreachable}"]
    found = []
    for member in cluster.members:
        node, pod = state.node(member.name), state.pod(f"{POD_PREFIX}{member.name}")
        if node is None or not node.ready:
            found.append(f"node {member.name} is not ready ({node.reason if node else 'never registered'})")
        wanted = str(pod_address(cluster.testbed, member))
        if pod is None or not pod.ready:
            found.append(
                f"pod {POD_PREFIX}{member.name} is not ready ({pod.reason or pod.phase if pod else 'missing'})"
            )
        elif pod.address != wanted:
            found.append(f"pod {POD_PREFIX}{member.name} has the address {pod.address}, not {wanted}")
    return found


def remove_cluster(site: Site, installer: Installer) -> None:
    """Remove the installer's things from every node, the workers first; what cannot be cleaned becomes a complaint."""
    master = site.testbed.master.name
    for names in ([name for name in site.k8s if name != master], [master]):
        try:
            run_on(site.nr, names, tasks.leave_cluster, installer=installer, testbed=site.testbed)
        except VpnmeshError as error:
            site.complaints.append(str(error))
            if site.lease is not None and isinstance(error, HostsFailedError):
                site.lease.unclean |= set(error.errors)
