"""Kubernetes on a node: what a cluster says of itself, entering its pods, and removing it; `join_stage` installs it."""

from nornir.core.task import Result, Task

from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.cluster.protocol import Cluster, Installer
from vpnmesh.model import Testbed

SETTLE_S = 20.0
"""How long what is left of a cluster may take to go: kubelet's and containerd's children end one after the other."""


def cluster_state(task: Task, installer: Installer, cluster: Cluster) -> Result:
    """What the API server says of nodes and pods, asked on this node, the master; `result` is a ClusterState."""
    return Result(host=task.host, result=shell(task).gather(installer.state(cluster)))


def enter_pods(task: Task, installer: Installer, cluster: Cluster, dry_run: bool | None = None) -> Result:
    """Make the measured pod of this node the one that all tasks mean by its pod."""
    return converge(task, installer.enter_pods(cluster, cluster.testbed.node(task.host.name)), dry_run)


def read_kubeconfig(task: Task, installer: Installer, cluster: Cluster) -> Result:
    """An administrator's kubeconfig, asked on this node, the master; `result` is a secret text."""
    return Result(host=task.host, result=shell(task).gather(installer.kubeconfig(cluster)))


def leave_cluster(task: Task, installer: Installer, testbed: Testbed, dry_run: bool | None = None) -> Result:
    """Remove everything of the installer from this node."""
    return converge(task, installer.leave(testbed, testbed.node(task.host.name)), dry_run, settle_s=SETTLE_S)
