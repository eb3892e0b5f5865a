"""containerd on a node, with folders and sockets of its own beside any other one, and the CNI plugins it finds."""

from collections.abc import Sequence

from vpnmesh.cluster.images import PAUSE
from vpnmesh.cluster.networking import CNI_CONFIGURATION
from vpnmesh.cluster.places import (
    CNI_PLUGINS,
    CONTAINERD,
    CONTAINERD_RUN,
    PLUGIN_PLACES,
    RUNC_RUN,
    SOCKET,
    STATE,
)
from vpnmesh.host.service import Service, listens_at
from vpnmesh.plan import Command, Completed, Fact, Plan, WriteFile, unified_diff

SERVICE = "cluster-containerd"
CONFIG = f"{STATE}/containerd.toml"
# what snapshots need a device or a file system of their own for, and what would write below /opt
_WITHOUT = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
)
# constant script: the folder, then where distributions and vendors have plugins
_LINK = """
folder="$1"; shift; mkdir -p "$folder"
for place in "$@"; do
  for plugin in "$place"/*; do [ -x "$plugin" ] && ln -sf "$plugin" "$folder/"; done
done
true
"""


def config() -> str:
    """Containerd's own file: the schema of 1.6, which later ones read too."""
    without = ", ".join(f'"{name}"' for name in _WITHOUT)
    return f"""version = 2
root = "{CONTAINERD}"
state = "{CONTAINERD_RUN}"
disabled_plugins = [{without}]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{RUNC_RUN}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{CNI_CONFIGURATION}"
"""


def service() -> Service:
    """The daemon."""
    return Service(
        SERVICE,
        ("containerd", "--config", CONFIG),
        (WriteFile(CONFIG, config()),),
        ready=listens_at(SOCKET),
    )


def plugins_there() -> Fact[Plan]:
    """Ensure that containerd finds the node's plugins, wherever they were installed."""

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[0].exit_code == 0:
            return Plan()
        link = Command(("sh", "-c", _LINK, "sh", CNI_PLUGINS, *PLUGIN_PLACES))
        return Plan((link,), unified_diff("CNI plugins", "", f"links in {CNI_PLUGINS}"))

    return Fact((Command(("test", "-d", CNI_PLUGINS), ok=(0, 1)),), plan)


def configured(files: Sequence[WriteFile]) -> Fact[Plan]:
    """Ensure that these files are there as they are given; used for what daemons read whenever it changes."""

    def plan(completed: Sequence[Completed]) -> Plan:
        lacking = [
            (file, held.stdout if held.exit_code == 0 else "")
            for file, held in zip(files, completed, strict=True)
            if held.exit_code or held.stdout != file.content
        ]
        diffs = [unified_diff(file.path, held, file.content) for file, held in lacking]
        return Plan(tuple(file for file, _ in lacking), "\n".join(diffs))

    return Fact(tuple(Command(("cat", file.path), ok=(0, 1)) for file in files), plan)
