"""Where a cluster of ours keeps what on a node, and how its programs are called.

Nothing is where another Kubernetes of the same machine has its own: leaving may remove all of it.
"""

from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.solutions.protocol import STATE_DIRECTORY

STATE = f"{STATE_DIRECTORY}/kubernetes"
AUTHORITY = f"{STATE}/authority"
"""On the master: the certificate authority, and the control plane's keys and certificates."""
PKI = f"{STATE}/pki"
"""On every node: what its kubelet and kube-proxy know themselves by."""
KUBELET = f"{STATE}/kubelet"
SETTINGS = f"{STATE}/sysctls"
"""Kernel settings as they were, `key=value` a line."""
CONTAINERD = f"{STATE}/containerd"
CNI_PLUGINS = f"{STATE}/cni-plugins"
PLUGIN_PLACES = ("/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin")
"""Where CNI plugins are installed; the last one wins where two have one of the same name: users put their own there."""
CNI_STATE = f"{STATE}/cni"
IMAGES = f"{STATE}/images"
CONTAINERD_RUN = f"{RUN_DIRECTORY}/containerd"
RUNC_RUN = f"{RUN_DIRECTORY}/runc"
SOCKET = f"{CONTAINERD_RUN}/containerd.sock"
CGROUP = "/vpnmesh"
"""Below it kubelet has the pods' control groups."""
NAMESPACE = "k8s.io"
"""Of containerd: where kubelet's containers and images are."""

# either the one program that holds all of Kubernetes' own, or the vendor's program of that name; the one comes first:
# a machine may have another version of a single one, such as a distribution's kubectl
_EITHER = 'if command -v kubernetes > /dev/null; then exec kubernetes "$0" "$@"; fi; exec "$0" "$@"'


def component(name: str, *flags: str) -> tuple[str, ...]:
    """How one of Kubernetes' own programs is called, whichever way the node has it."""
    return ("sh", "-c", _EITHER, name, *flags)


def ctr(*words: str) -> tuple[str, ...]:
    """How our containerd is asked."""
    return ("ctr", "-a", SOCKET, "-n", NAMESPACE, *words)
