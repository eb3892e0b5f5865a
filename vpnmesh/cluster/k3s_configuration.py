"""What K3s reads on a node: its own configuration file, rendered from the cluster's one set of values.

The flags are the paper's (repository of the paper, README), as keys of the file that `k3s --config` reads
(docs.k3s.io/installation/configuration). Where this project differs, the line says why.
"""

import re

import yaml

from vpnmesh.cluster.images import PAUSE
from vpnmesh.cluster.networking import CNI_CONFIGURATION
from vpnmesh.cluster.places import CGROUP, CNI_PLUGINS
from vpnmesh.cluster.protocol import API_PORT, Cluster
from vpnmesh.model import Node, NodeKind
from vpnmesh.plan import WriteFile
from vpnmesh.solutions.protocol import STATE_DIRECTORY

STATE = f"{STATE_DIRECTORY}/k3s"
DATA = f"{STATE}/data"
"""All that K3s keeps, `--data-dir`: not /var/lib/rancher/k3s, where another K3s of the same machine has its own."""
TLS = f"{DATA}/server/tls"
CONFIG = f"{STATE}/config.yaml"
"""Not /etc/rancher/k3s/config.yaml: a foreign one is neither read nor written over."""
KUBECONFIG = f"{STATE}/admin.yaml"
TOKEN = f"{STATE}/token"
IMAGES = f"{DATA}/agent/images"
"""K3s imports every archive in here when it starts (docs.k3s.io/installation/airgap)."""
RUN = "/run/k3s"
SOCKET = f"{RUN}/containerd/containerd.sock"
TEMPLATE = f"{DATA}/agent/etc/containerd/config.toml.tmpl"
"""From which K3s writes its containerd's configuration; text without any of its placeholders is taken as it is."""
TAINT = "CriticalAddonsOnly=true:NoExecute"
"""Of the master (paper, section 3.2.1): nothing runs there but what tolerates it."""
DISABLED = ("traefik", "servicelb", "coredns", "local-storage", "metrics-server")
"""The paper disabled the first two. The others' images come from a registry, and the taint puts them on the workers,
whose load is measured."""

_GATES_END = 25
"""The minor version since which kubelet has a flag for what was a feature gate."""
_NFTABLES = 31
"""The minor version since which kube-proxy's nftables mode is there without a feature gate."""


def minor(version: str) -> int:
    """The 34 of `k3s version v1.34.4+k3s1 (...)`; 0 where it says none."""
    found = re.search(r"\bv1\.(\d+)\.", version)
    return int(found[1]) if found else 0


def server(cluster: Cluster, version: str) -> WriteFile:
    """The master's configuration: control plane and kubelet in one."""
    address = str(cluster.address(cluster.master))
    return _file(
        {
            **_common(cluster, cluster.master, version),
            "advertise-address": address,
            "bind-address": address,
            "https-listen-port": API_PORT,
            "cluster-cidr": str(cluster.pods),
            "service-cidr": str(cluster.services),
            # the first network's tenth address, as K3s chooses it for its own service network
            "cluster-dns": str(cluster.services[10]),
            "node-taint": [TAINT],
            "disable": list(DISABLED),
            "flannel-backend": "none",
            "disable-network-policy": True,
            "write-kubeconfig": KUBECONFIG,
            # the paper's 664 lets every user of the master administrate the cluster
            "write-kubeconfig-mode": "0600",
        }
    )


def agent(cluster: Cluster, node: Node, version: str) -> WriteFile:
    """A worker's configuration."""
    return _file({**_common(cluster, node, version), "server": cluster.server})


def containerd(node: Node) -> WriteFile:
    """What K3s' containerd is told beside places: whose plugins make pods' networks, and what a lab's node cannot do.

    The schema of version 2 is read by containerd 1.4, which came with the paper's K3s, and by later ones.
    """
    in_lab = (
        "  restrict_oom_score_adj = true\n  disable_apparmor = true\n" if node.kind is NodeKind.NETNS else ""
    )
    text = f"""version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "{DATA}/agent/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
{in_lab}  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{RUN}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{CNI_CONFIGURATION}"
"""
    return WriteFile(TEMPLATE, text)


def _common(cluster: Cluster, node: Node, version: str) -> dict[str, object]:
    """Of server and agents: who the node is, and how its kubelet and kube-proxy run."""
    address = str(cluster.address(node))
    lab = node.kind is NodeKind.NETNS
    return {
        "node-name": node.name,
        "node-ip": address,
        "node-external-ip": address,
        "token-file": TOKEN,
        "data-dir": DATA,
        "pause-image": PAUSE,
        **({"protect-kernel-defaults": True} if lab else {}),
        "kubelet-arg": [*_kubelet(), *(_in_lab(minor(version)) if lab else ())],
        "kube-proxy-arg": list(_proxy(minor(version))),
    }


def _kubelet() -> tuple[str, ...]:
    """Pods in a control group of ours, no image ever collected: none could be fetched again."""
    return (
        f"cgroup-root={CGROUP}",
        "cgroup-driver=cgroupfs",
        "make-iptables-util-chains=false",
        "image-gc-high-threshold=100",
        "eviction-hard=memory.available<64Mi",
        "eviction-minimum-reclaim=",
    )


def _in_lab(version: int) -> tuple[str, ...]:
    """Where storage cannot be told apart."""
    if version < _GATES_END:
        return ("feature-gates=LocalStorageCapacityIsolation=false",)
    return ("local-storage-capacity-isolation=false",)


def _proxy(version: int) -> tuple[str, ...]:
    """The kernel's connection tracking stays as it is; its other settings K3s leaves alone by itself."""
    mode = ("proxy-mode=nftables",) if version >= _NFTABLES else ()
    return (*mode, "conntrack-min=0")


def _file(content: dict[str, object]) -> WriteFile:
    return WriteFile(CONFIG, yaml.safe_dump(content, sort_keys=False))
