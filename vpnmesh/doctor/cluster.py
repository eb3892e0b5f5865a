"""Whether a node can be one of a Kubernetes cluster: what it is asked, and how its answers are judged."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vpnmesh.cluster.foreign import other_clusters
from vpnmesh.cluster.protocol import API_PORT, ClusterRole
from vpnmesh.doctor.finding import Check, Finding, fatal, good, warning
from vpnmesh.host.pods import PORT as VXLAN_PORT
from vpnmesh.host.pods import VXLAN_BYTES
from vpnmesh.model import Scenario
from vpnmesh.plan import Command, Completed, Fact, both

CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
"""The cgroup controllers without which kubelet does not start."""
PORTS = {
    ClusterRole.MASTER: ((API_PORT, "API server"), (2379, "etcd"), (2380, "etcd"), (10250, "kubelet")),
    ClusterRole.WORKER: ((10250, "kubelet"),),
}
"""TCP ports that a cluster listens on; all members also take UDP for the pods' VXLAN."""
FEW_INOTIFY = 512
"""Instances of inotify that a user needs (paper, section 3.2.1): kubelet and every container's log take one."""
LITTLE_MEMORY_KB = 1_000_000

# constant script; port numbers are arguments. A line a fact: its name, then what was found
_LOOK = """
v2=/sys/fs/cgroup/cgroup.controllers
if [ -f "$v2" ]; then echo "cgroup v2 $(cat "$v2")"; [ -w /sys/fs/cgroup/cgroup.procs ] || echo "cgroup read-only"
else
  echo "cgroup v1 $(sed -n 's/^[^ ]* [^ ]* cgroup \\([^ ]*\\) .*/\\1/p' /proc/mounts | tr ',\\n' '  ')"
  grep -q '^[^ ]* [^ ]* cgroup rw' /proc/mounts || echo "cgroup read-only"
fi
sed 1d /proc/swaps | while read -r name rest; do echo "swap $name"; done
echo "inotify $(cat /proc/sys/fs/inotify/max_user_instances)"
echo "memory $(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)"
grep -qw overlay /proc/filesystems && echo "has overlay"
[ -e /dev/kmsg ] && echo "has kmsg"
echo "ntp $(timedatectl show -p NTPSynchronized --value 2> /dev/null)"
udp="$1"; shift
for p in "$@"; do ss -Hltn "sport = :$p" | grep -q . && echo "taken $p"; done
ss -Hlun "sport = :$udp" | grep -q . && echo "taken $udp"
true
"""


@dataclass(frozen=True, slots=True)
class ClusterAnswers:
    """What a node said: lines of `NAME words`, and what of another cluster is on it."""

    lines: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()

    def words(self, name: str) -> tuple[str, ...]:
        """All that was said under that name, in order."""
        return tuple(word for first, *rest in self.lines if first == name for word in rest)


def answers(role: ClusterRole) -> Fact[ClusterAnswers]:
    """Everything that can be asked in one round trip; nothing is changed."""

    def parse(completed: Sequence[Completed]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(line.split()) for line in completed[0].stdout.splitlines() if line.strip())

    ports = (str(VXLAN_PORT), *(str(port) for port, _ in PORTS[role]))
    look = Fact((Command(("sh", "-c", _LOOK, "sh", *ports)),), parse)
    return both(look, other_clusters()).map(lambda found: ClusterAnswers(*found))


def judge_cluster(
    where: str, role: ClusterRole, said: ClusterAnswers, *, emulated: bool
) -> Iterator[Finding]:
    """All findings of one node; an emulated one shares kernel, clock and swap with this machine."""
    machine = "this machine" if emulated else "the node"
    found = [
        *_cgroups(where, said, emulated=emulated),
        *_kernel(where, said),
        *_ports(where, role, said),
        *_settings(where, said, machine),
        *_others(where, said),
    ]
    yield from found
    if not found:
        version = " ".join(said.words("cgroup")[:1])
        yield good(Check.CLUSTER, where, f"cgroup {version}, ports free, no other cluster, no swap")


def _cgroups(where: str, said: ClusterAnswers, *, emulated: bool) -> Iterator[Finding]:
    words = said.words("cgroup")
    if "read-only" in words:
        way = (
            "python -m vpnmesh.lab down, then up --kubernetes" if emulated else "mount cgroups writable there"
        )
        yield fatal(Check.CLUSTER, where, "cgroups cannot be written: no container can be limited", way)
    if lacking := [one for one in CONTROLLERS if one not in words]:
        way = "switch them on at boot (cgroup_enable=memory on small boards), or take another kernel"
        yield fatal(Check.CLUSTER, where, f"no cgroup controller {', '.join(lacking)}", way)


def _kernel(where: str, said: ClusterAnswers) -> Iterator[Finding]:
    if "overlay" not in said.words("has"):
        yield fatal(Check.CLUSTER, where, "no overlay file system for containers", "modprobe overlay")
    if "kmsg" not in said.words("has"):
        yield fatal(
            Check.CLUSTER, where, "no /dev/kmsg, which kubelet reads", "in a container: give it --privileged"
        )


def _ports(where: str, role: ClusterRole, said: ClusterAnswers) -> Iterator[Finding]:
    names = {
        **{str(port): f"TCP {port} ({name})" for port, name in PORTS[role]},
        str(VXLAN_PORT): "UDP 4789 (VXLAN)",
    }
    for port in said.words("taken"):
        way = f"see who listens (ss -lnp sport = :{port}) and stop it"
        yield fatal(Check.CLUSTER, where, f"port {names.get(port, port)} is taken", way)


def _settings(where: str, said: ClusterAnswers, machine: str) -> Iterator[Finding]:
    if swaps := said.words("swap"):
        way = f"swapoff -a on {machine}, or read the figures with it"
        yield warning(
            Check.CLUSTER, where, f"swap is on ({', '.join(swaps)}): pods may be slow without a word", way
        )
    few = [one for one in said.words("inotify") if one.isdecimal() and int(one) < FEW_INOTIFY]
    for one in few:
        way = f"sysctl -w fs.inotify.max_user_instances={FEW_INOTIFY} on {machine}"
        yield warning(
            Check.CLUSTER, where, f"{one} instances of inotify a user, {FEW_INOTIFY} are wanted", way
        )
    for one in said.words("memory"):
        if one.isdecimal() and int(one) < LITTLE_MEMORY_KB:
            way = "give it 1 GB: API server, etcd and kubelet of an idle cluster take about 830 MB in all"
            yield warning(Check.CLUSTER, where, f"{int(one) // 1000} MB of memory", way)
    if "no" in said.words("ntp"):
        way = "let NTP set it (timedatectl set-ntp true): certificates of one node must be valid on another"
        yield warning(Check.CLUSTER, where, "nothing keeps the clock right", way)


def _others(where: str, said: ClusterAnswers) -> Iterator[Finding]:
    way = (
        "take other nodes, or remove it first (k3s-uninstall.sh, kubeadm reset; of vpnmesh: vpnmesh teardown)"
    )
    for one in said.others:
        yield fatal(Check.CLUSTER, where, f"another cluster or container engine: {one}", way)


def judge_pod_mtu(scenarios: Iterable[Scenario]) -> Iterator[Finding]:
    """Whether the pods' packets fit into what the cluster lies over."""
    for one in scenarios:
        need = one.pod_mtu + VXLAN_BYTES
        if one.tunnel_mtu is not None and need > one.tunnel_mtu:
            said = f"pods of {one.pod_mtu} bytes with VXLAN's {VXLAN_BYTES} do not fit a tunnel of {one.tunnel_mtu}"
            way = f"pod_mtu {one.tunnel_mtu - VXLAN_BYTES} in the scenario's file, or a larger tunnel_mtu"
            yield warning(Check.CLUSTER, one.name, said, way)
