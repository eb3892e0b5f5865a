"""What of somebody else's Kubernetes is on the nodes: pods in our cluster, and clusters beside it."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from vpnmesh.cluster.protocol import NAMESPACE, Cluster, ClusterState, PodState
from vpnmesh.errors import CheckError
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.host.strangers import DESCENDS, KUBERNETES
from vpnmesh.plan import Command, Completed, Fact

SYSTEM_PODS = (
    "calico-apiserver/*",
    "calico-system/*",
    "kube-system/calico-*",
    "kube-system/coredns-*",
    "kube-system/etcd-*",
    "kube-system/kube-apiserver-*",
    "kube-system/kube-controller-manager-*",
    "kube-system/kube-proxy-*",
    "kube-system/kube-scheduler-*",
    "kube-system/local-path-provisioner-*",
    "kube-system/metrics-server-*",
    "tigera-operator/*",
)
"""The pods that a cluster of K3s, kubeadm or Calico's operator runs for itself, as NAMESPACE/NAME."""
ENGINES = ("containerd", "dockerd", "crio")
"""Engines of containers, which may run without any cluster."""
PROGRAMS = (*KUBERNETES, *ENGINES)
"""The processes by which a cluster, or another engine of containers, is known; as `/proc/PID/comm` has them."""
FOLDERS = ("/etc/kubernetes", "/etc/rancher", "/var/lib/rancher", "/var/lib/kubelet", "/var/snap/microk8s")
"""What a cluster leaves on its nodes, also while it does not run."""

# in kubectl's log: `... 200 OK in 5 milliseconds`, since 1.33 `... milliseconds=5`
_ANSWERED = re.compile(r"(?:\bmilliseconds=|\bin )(\d+)")

# constant script; names and folders are arguments. A process counts as ours if it, or one that it descends from, is
# of a pid file below our run directory.
_LOOK = (
    'run="$1"; shift\n'
    + DESCENDS
    + """
names=" "
while [ "$1" != -- ]; do names="$names$1 "; shift; done; shift
for d in /proc/[0-9]*; do
  read -r comm < "$d/comm" 2> /dev/null || continue
  case "$names" in *" $comm "*) descends "${d#/proc/}" || echo "process $comm";; esac
done | sort -u
for f in "$@"; do [ -n "$(find "$f" -type f 2> /dev/null | head -n 1)" ] && echo "folder $f"; done
true
"""
)


def foreign_pods(cluster: Cluster, state: ClusterState) -> list[PodState]:
    """The pods on master and workers that are neither ours nor the cluster's own."""
    members = {node.name for node in cluster.members}
    return [pod for pod in state.pods if pod.node in members and not expected(pod)]


def expected(pod: PodState) -> bool:
    """Whether a measured run wants that pod: it is ours, or on the list of the system's."""
    name = f"{pod.namespace}/{pod.name}"
    return pod.namespace == NAMESPACE or any(fnmatchcase(name, pattern) for pattern in SYSTEM_PODS)


def check_pods(cluster: Cluster, state: ClusterState) -> None:
    """CheckError names every foreign pod with its node: it shares cores, memory and network with what is measured."""
    if found := foreign_pods(cluster, state):
        said = ", ".join(f"pod {pod.namespace}/{pod.name} on {pod.node}" for pod in found)
        raise CheckError(
            "foreign", f"{said}: none of vpnmesh's or the system's; delete what made it, then measure"
        )


def other_clusters() -> Fact[tuple[str, ...]]:
    """What of another Kubernetes, or of another engine of containers, is on a node; none of ours is among it."""

    def parse(completed: Sequence[Completed]) -> tuple[str, ...]:
        return tuple(completed[0].stdout.splitlines())

    argv = ("sh", "-c", _LOOK, "sh", RUN_DIRECTORY, *PROGRAMS, "--", *FOLDERS)
    return Fact((Command(argv, timeout_s=30),), parse)


def answer_ms(kubectl: Sequence[str]) -> Fact[float | None]:
    """How long the API server takes to say that it is ready, as kubectl sees it; None where it does not say so."""

    def parse(completed: Sequence[Completed]) -> float | None:
        answered = _ANSWERED.findall(completed[0].stderr) if completed[0].exit_code == 0 else []
        return float(answered[-1]) if answered else None

    return Fact((Command((*kubectl, "get", "--raw=/readyz", "-v=6"), timeout_s=20),), parse)
