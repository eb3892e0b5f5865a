"""Kubernetes on a node: what a cluster says of itself, entering its pods, and removing it; `join_stage` installs it."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge, remove
from tasks.connection import shell
from vpnmesh.cluster import foreign
from vpnmesh.cluster.protocol import Cluster, Installer
from vpnmesh.host.pods import in_pod
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, together
from vpnmesh.tools import ping

SETTLE_S = 20.0
"""How long what is left of a cluster may take to go: kubelet's and containerd's children end one after the other."""


PINGS = 3
"""To a pod that must answer: one answer is enough."""


@repeatable
def cluster_state(task: Task, installer: Installer, cluster: Cluster) -> Result:
    """What the API server says of nodes and pods, asked on this node, the master; `result` is a ClusterState."""
    return Result(host=task.host, result=shell(task).gather(installer.state(cluster)))


@repeatable
def enter_pods(task: Task, installer: Installer, cluster: Cluster, dry_run: bool | None = None) -> Result:
    """Make the measured pod of this node the one that all tasks mean by its pod."""
    return converge(task, installer.enter_pods(cluster, cluster.testbed.node(task.host.name)), dry_run)


@repeatable
def read_kubeconfig(task: Task, installer: Installer, cluster: Cluster) -> Result:
    """An administrator's kubeconfig, asked on this node, the master; `result` is a secret text."""
    return Result(host=task.host, result=shell(task).gather(installer.kubeconfig(cluster)))


@repeatable
def read_other_clusters(task: Task) -> Result:
    """What of somebody else's Kubernetes is on this node; `result` is a tuple of words, empty where nothing is."""
    return Result(host=task.host, result=shell(task).gather(foreign.other_clusters()))


@repeatable
def time_api(task: Task, installer: Installer, cluster: Cluster) -> Result:
    """How long the API server takes to answer, asked on this node, the master; `result` in ms, None without answer."""
    return Result(host=task.host, result=shell(task).gather(foreign.answer_ms(installer.kubectl(cluster))))


@repeatable
def reach_pods(task: Task, pods: Mapping[str, IPv4Address]) -> Result:
    """Ping the measured pods of other nodes from this node's; `result` are the nodes whose pods did not answer."""
    others = {name: address for name, address in pods.items() if name != task.host.name}
    answers = shell(task).gather(together({name: _ping(address) for name, address in others.items()}))
    return Result(host=task.host, result=tuple(name for name, one in answers.items() if one.exit_code))


def _ping(address: IPv4Address) -> Fact[Completed]:
    argv = in_pod(*ping.argv(str(address), PINGS, interval_s=0.2, wait_s=1.0))
    return Fact((Command(argv, timeout_s=10),), lambda completed: completed[0])


@repeatable
def leave_cluster(task: Task, installer: Installer, testbed: Testbed, dry_run: bool | None = None) -> Result:
    """Remove everything of the installer from this node."""
    return remove(task, installer.leave(testbed, testbed.node(task.host.name)), dry_run, settle_s=SETTLE_S)
