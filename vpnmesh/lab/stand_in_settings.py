"""Settings of the whole machine that Kubernetes writes: a node gets files of its own in their place.

kubelet and kube-proxy set them when they start (k8s.io/kubernetes v1.34.4, `setupKernelTunables` in pkg/kubelet/cm and
`cmd/kube-proxy/app/conntrack.go`). They belong to no namespace, so that a node would change the machine. In the node a
file is bound over each: it holds what kubelet wants, and takes what anybody writes. Settings of the network namespace
(`net.ipv4...`, conntrack timeouts) are a node's own anyway.
"""

from collections.abc import Mapping
from pathlib import Path

from vpnmesh.cluster.settings import KUBELET
from vpnmesh.lab import kernel

WANTED: Mapping[str, str] = {f"/proc/sys/{key.replace('.', '/')}": value for key, value in KUBELET.items()}
"""What kubelet wants: with these it has nothing to change, also with `protectKernelDefaults: true`."""
KEPT = ("/sys/module/nf_conntrack/parameters/hashsize",)
"""What keeps the machine's value, and may be written in a node without an effect."""
_STAGE = "/mnt"


def bind_stand_ins() -> None:
    """Bind them over the machine's, in this mount namespace; the files are in memory, and stay without a name."""
    kernel.mount("tmpfs", _STAGE, "tmpfs", options="mode=0755")
    values = {**WANTED, **{path: Path(path).read_text().strip() for path in KEPT if Path(path).is_file()}}
    for number, (path, value) in enumerate(values.items()):
        if Path(path).exists():
            file = Path(_STAGE, str(number))
            file.write_text(f"{value}\n")
            kernel.mount(str(file), path, flags=kernel.MS_BIND)
    kernel.detach(_STAGE)
