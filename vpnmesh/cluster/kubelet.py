"""kubelet and kube-proxy on a node, which is known in the cluster by the address that the scenario gave it."""

from collections.abc import Sequence

import yaml

from vpnmesh.cluster.kubeconfigs import of_files
from vpnmesh.cluster.pki import CA
from vpnmesh.cluster.places import CGROUP, KUBELET, PKI, SOCKET, STATE, component
from vpnmesh.cluster.protocol import Cluster, ClusterRole
from vpnmesh.host.service import Service, listens
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, WriteFile, unified_diff

PORT = 10250
TAINT = {"key": "CriticalAddonsOnly", "value": "true", "effect": "NoExecute"}
"""Of the master (paper, section 3.2.1): nothing runs there but what tolerates it."""
CONFIG = f"{STATE}/kubelet.yaml"

# constant script: the group's name. Version 1 has a tree per controller, and its cpuset begins empty; version 2 hands
# controllers down only where they are switched on
_GROUP = """
name="$1"; cd /sys/fs/cgroup
if [ -e cgroup.controllers ]; then
  for one in $(cat cgroup.controllers); do echo "+$one" > cgroup.subtree_control; done 2> /dev/null
  mkdir -p ".$name"
else
  for tree in */; do
    [ -e "$tree/tasks" ] || continue
    mkdir -p "$tree$name"
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$tree/$file" ] || cat "$tree/$file" > "$tree$name/$file"
    done
  done
fi
"""
_GROUPS = 'find /sys/fs/cgroup -maxdepth 2 -type d -path "*$1" 2> /dev/null'


def group_there() -> Fact[Plan]:
    """Ensure that there is a control group for pods, in every tree."""

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[0].stdout.strip():
            return Plan()
        return Plan((Command(("sh", "-c", _GROUP, "sh", CGROUP)),), unified_diff("control group", "", CGROUP))

    return Fact((Command(("sh", "-c", _GROUPS, "sh", CGROUP), ok=(0, 1)),), plan)


def kubelet(cluster: Cluster, node: Node) -> Service:
    """The daemon that runs the node's pods."""
    conf = f"{STATE}/kubelet.conf"
    return Service(
        "cluster-kubelet",
        component(
            "kubelet",
            f"--config={CONFIG}",
            f"--kubeconfig={conf}",
            f"--root-dir={KUBELET}",
            f"--hostname-override={node.name}",
            f"--node-ip={cluster.address(node)}",
        ),
        (
            WriteFile(CONFIG, yaml.safe_dump(kubelet_settings(cluster, node), sort_keys=False)),
            WriteFile(conf, of_files(cluster, CA, f"{PKI}/kubelet")),
        ),
        ready=listens("-t", f"sport = :{PORT}", deadline_s=60),
    )


def kubelet_settings(cluster: Cluster, node: Node) -> dict[str, object]:
    """What differs from kubelet's defaults, and why.

    A namespace of a lab must not change the machine's kernel settings: there kubelet only compares them. Nodes may
    have swap, and a memory file system where local storage cannot be told apart. No image is ever collected: none
    could be fetched again.
    """
    master = cluster.role(node) is ClusterRole.MASTER
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(cluster.address(node)),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": CA},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "enforceNodeAllocatable": ["pods"],
        "protectKernelDefaults": True,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "64Mi"},
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
        "volumePluginDir": f"{STATE}/volume-plugins",
        "podLogsDir": f"{STATE}/pod-logs",
        "shutdownGracePeriod": "0s",
        **({"registerWithTaints": [TAINT]} if master else {}),
    }


def proxy(cluster: Cluster, node: Node) -> Service:
    """What makes the cluster IPs of services; the kernel's connection tracking stays as it is."""
    conf = f"{STATE}/kube-proxy.conf"
    return Service(
        "cluster-kube-proxy",
        component(
            "kube-proxy",
            "--proxy-mode=nftables",
            f"--kubeconfig={conf}",
            f"--hostname-override={node.name}",
            f"--cluster-cidr={cluster.pods}",
            f"--healthz-bind-address={cluster.address(node)}:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ),
        (WriteFile(conf, of_files(cluster, CA, f"{PKI}/kube-proxy")),),
    )
