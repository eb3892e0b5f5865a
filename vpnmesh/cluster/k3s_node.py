"""K3s and a node: who else has Kubernetes there, what was not there before us, and taking exactly that off again.

A list on the node says which places outside our own folder did not exist when we came. Only with that list is anything
outside touched at all, so a K3s of somebody else's is never taken for ours.
"""

from collections.abc import Sequence

from vpnmesh.cluster import places, settings
from vpnmesh.cluster.k3s_configuration import RUN, SOCKET, STATE
from vpnmesh.cluster.leaving import left, sweep
from vpnmesh.errors import CheckError
from vpnmesh.host import leftovers
from vpnmesh.host.brought import withdrawn
from vpnmesh.host.files import existing
from vpnmesh.host.pods import POD
from vpnmesh.host.service import RUN_DIRECTORY, removed
from vpnmesh.host.sysctls import PAPER_SYSCTLS
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, both, unified_diff

SERVICE = "cluster-k3s"
OURS = f"{STATE}/made"
"""The list: a path a line that was not there before us."""
SETTINGS = f"{STATE}/sysctls"
"""Kernel settings as they were, `key=value` a line."""
OUTSIDE = (
    "/etc/rancher/node",
    "/etc/rancher",
    RUN,
    "/run/flannel",
    "/run/containerd",
    "/var/lib/rancher",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/opt/cni",
    "/etc/cni/net.d",
    "/etc/cni",
)
"""What K3s, its kubelet and containerd make outside of the data folder."""
RULES = "KUBE-"
"""What chains and marks of kube-proxy and kubelet begin with in the packet filter."""

# constant scripts; paths are arguments
_FOREIGN = """
list="$1"
for name in k3s k3s-agent; do for folder in /etc/systemd/system /lib/systemd/system /etc/init.d; do
  for file in "$folder/$name.service" "$folder/$name"; do
    [ ! -f "$file" ] || case "$file" in /lib/*/"$name") ;; *) echo "has $file";; esac
  done
done; done
[ ! -e "$list" ] || exit 0
pods=$(ls /var/log/pods 2> /dev/null | awk -F_ 'NF > 2 {print "runs the pod " $1 "/" $2}')
for each in /proc/[0-9]*; do
  set -- $(tr '\\0' ' ' < "$each/cmdline" 2> /dev/null)
  case "${1##*/} $2" in
    "k3s server"|"k3s agent"|"k3s-server "*|"k3s-agent "*) echo "runs K3s (process ${each#/proc/})";;
    "containerd-shim"*) case "$*" in *"-namespace k8s.io"*) shims=yes; lone="${each#/proc/}";; esac;;
  esac
done
[ -z "$shims" ] || { [ -z "$pods" ] || echo "$pods"; [ -n "$pods" ] || echo "runs a pod (process $lone)"; }
ss -Hltn 'sport = :6443 or sport = :10250' | awk '{print "something listens on " $4}'
true
"""
_NOTE = """
list="$1"; shift; mkdir -p "$(dirname "$list")"
for path in "$@"; do [ -e "$path" ] || echo "$path"; done > "$list.new"; mv "$list.new" "$list"
"""
# folders of ours alone go with all in them, those that others may use too only when nothing is left in them
_REMOVE = """
list="$1"; [ -e "$list" ] || exit 0
rm -rf /var/log/pods/vpnmesh_*
# pods' networks have names by which they stay after their processes; the results of CNI say which
results='/var/lib/cni/results/vpnmesh-*'
if grep -qx /var/lib/cni "$list"; then results='/var/lib/cni/results/*'; fi
grep -ohs '/run/netns/cni-[0-9a-f-]*' $results | sort -u | while read -r at; do ip netns delete "${at##*/}"; done
rm -f $results
for link in /var/log/containers/*; do [ -e "$link" ] || rm -f "$link"; done
rm -f /var/lib/kubelet/device-plugins/kubelet.sock /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
while read -r path; do
  case "$path" in
    /etc/rancher*|/run/k3s|/run/flannel|/run/containerd|/var/log/pods) rm -rf "$path";;
    /var/lib/rancher|/var/lib/kubelet|/var/lib/cni) rm -rf "$path";;
    *) [ ! -d "$path" ] || find "$path" -depth -type d -exec rmdir {} + 2> /dev/null;;
  esac
done < "$list"
true
"""


def foreign(node: Node) -> Fact[tuple[str, ...]]:
    """What the node has of somebody else's Kubernetes, in words; CheckError names it: nothing is touched then."""

    def parse(completed: Sequence[Completed]) -> tuple[str, ...]:
        if found := tuple(dict.fromkeys(completed[0].stdout.splitlines())):
            way_out = "a cluster of this project would be in its way: remove it, or leave the node out"
            raise CheckError("cluster", f"{node.name} {'; '.join(found)}; {way_out}")
        return found

    return Fact((Command(("sh", "-c", _FOREIGN, "sh", OURS)),), parse)


def noted() -> Fact[Plan]:
    """Ensure that the node's list says what was not there before us; the first thing that is written."""

    def parse(completed: Sequence[Completed]) -> Plan:
        if completed[0].exit_code == 0:
            return Plan()
        note = Command(("sh", "-c", _NOTE, "sh", OURS, *OUTSIDE))
        return Plan((note,), unified_diff(OURS, "", "what was not there before"))

    return Fact((Command(("test", "-e", OURS), ok=(0, 1)),), parse)


def settings_held() -> Fact[Plan]:
    """Ensure the paper's kernel settings and kubelet's; what they were is kept for the end."""
    return settings.held({**PAPER_SYSCTLS, **settings.KUBELET}, SETTINGS)


def taken_off() -> Fact[Plan]:
    """Ensure that nothing of a K3s of ours is on the node, what was brought there included."""
    words = (SOCKET, RUN, STATE, places.CGROUP, POD)
    gone = removed(
        (SERVICE,),
        (STATE, places.STATE),
        find=(left(words),),
        cleanup=(
            sweep(words),
            leftovers.remove(RULES),
            settings.restored(SETTINGS),
            Command(("sh", "-c", _REMOVE, "sh", OURS)),
        ),
    )
    only_ours = both(_ours_is_there(), gone).map(lambda found: found[1] if found[0] else Plan())
    return both(only_ours, withdrawn()).map(lambda plans: plans[0] + plans[1])


def _ours_is_there() -> Fact[bool]:
    return Fact(
        (existing(OURS, f"{RUN_DIRECTORY}/{SERVICE}.pid"),), lambda completed: bool(completed[0].stdout)
    )
