"""Taking a cluster of ours off a node, by what is found there: also after a kill -9 in the middle of installing it.

What is ours is known by our folders, our containerd's socket and our control group, so another Kubernetes of the same
machine keeps its own.
"""

from vpnmesh.cluster import settings
from vpnmesh.cluster.places import CGROUP, CONTAINERD_RUN, RUNC_RUN, SETTINGS, SOCKET, STATE
from vpnmesh.host.pods import POD
from vpnmesh.host.service import removed
from vpnmesh.plan import Command, Fact, Plan

SERVICES = (
    "cluster-kubelet",
    "cluster-kube-proxy",
    "cluster-kube-scheduler",
    "cluster-kube-controller-manager",
    "cluster-kube-apiserver",
    "cluster-etcd",
    "cluster-containerd",
)
"""In the order in which they are ended: nothing starts a pod anew once kubelet is gone."""

# constant scripts; arguments: containerd's socket, its folder, the state folder, the control group
_WORDS = """
socket="$1"; run="$2"; state="$3"; group="$4"
ours() {  # daemons and shims, by what they were started with; shells that run this have the same words
  for each in $(grep -lsE '^(etcd|kube|containerd|k3s)' /proc/[0-9]*/comm); do
    each=${each%/comm}
    grep -qasF -e "$socket" -e "$state/" "$each/cmdline" && echo "${each#/proc/}"
  done
}
roots() {
  [ -d "/sys/fs/cgroup$group" ] && echo "/sys/fs/cgroup$group"
  [ -e /sys/fs/cgroup/cgroup.controllers ] && return
  for at in /sys/fs/cgroup/*"$group"; do [ -d "$at" ] && echo "$at"; done
}
groups() { for at in $(roots); do find "$at" -depth -type d; done 2> /dev/null; }
members() { for at in $(roots); do find "$at" -name cgroup.procs -exec cat {} +; done 2> /dev/null; }
mounts() { awk '{print $2}' /proc/self/mounts | grep -E "^($run|$state)/" | sort -r; }
"""
_LEFT = (
    _WORDS
    + """
for pid in $(ours); do echo "daemon $pid"; done
members | sort -un | sed 's/^/process /'
mounts | sed 's/^/mount /'
groups | sed 's/^/control group /'
"""
)
_SWEEP = (
    _WORDS
    + """
i=0
while [ $i -lt 100 ]; do
  found="$(ours) $(members)"
  [ -n "$(echo $found)" ] || break
  kill -9 $found 2> /dev/null; sleep 0.05; i=$((i+1))
done
ip netns delete "$5" 2> /dev/null
mounts | while read -r at; do umount -l "$at"; done
# what is mounted below a folder would be deleted with it
[ -z "$(mounts)" ] || { echo "cannot unmount $(mounts | head -n 3 | tr '\\n' ' ')" >&2; exit 1; }
i=0
while [ -n "$(groups)" ] && [ $i -lt 100 ]; do
  groups | while read -r at; do rmdir "$at"; done 2> /dev/null; i=$((i+1))
done
for family in ip ip6; do nft delete table "$family" kube-proxy; done 2> /dev/null
# what kubelet, its runtime and CNI keep at places of their own choice
grep -ls "$run/" /var/lib/cni/results/* | while read -r file; do rm -f "$file"; done 2> /dev/null
for link in /var/log/containers/*; do
  case "$(readlink "$link")" in "$state"/*) rm -f "$link";; esac
done
rm -f /var/lib/kubelet/device-plugins/kubelet.sock /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
[ -S /run/containerd/containerd.sock ] || rm -rf /run/containerd/s
rmdir /var/lib/cni/results /var/lib/cni /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet \
  /run/containerd /etc/cni/net.d /etc/cni 2> /dev/null
true
"""
)
OURS = (SOCKET, CONTAINERD_RUN, STATE, CGROUP, POD)


def left(words: tuple[str, ...] = OURS) -> Command:
    """Print what is there of a cluster beside services and folders, a line each.

    `words` are containerd's socket, its folder, the state folder, the control group and the pods' name.
    """
    return Command(("sh", "-c", _LEFT, "sh", *words))


def sweep(words: tuple[str, ...] = OURS) -> Command:
    """End what `left` prints, with `words` as there, and remove what it leaves on the node."""
    return Command(("sh", "-c", _SWEEP, "sh", *words), timeout_s=60)


def taken_off() -> Fact[Plan]:
    """Ensure that nothing of a cluster of ours is on the node."""
    return removed(
        SERVICES,
        (STATE, CONTAINERD_RUN, RUNC_RUN),
        find=(left(),),
        cleanup=(sweep(), settings.restored(SETTINGS)),
    )
