"""The pods that are measured: one on each node, pinned to it, of an image that the node has."""

import json
from collections.abc import Mapping, Sequence

from vpnmesh.cluster.images import TOOLS
from vpnmesh.cluster.places import ctr
from vpnmesh.cluster.protocol import NAMESPACE, POD_PREFIX, Cluster
from vpnmesh.host.pods import POD
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

ACCOUNT = "measured"
"""The service account of measured pods: it may do nothing, and its token is not mounted."""

# constant scripts. The process of a pod's sandbox is asked of containerd: it has the pod's network from the first
# moment on, and keeps it when a container is started anew
_FIND = """
name="$1"; space="$2"; shift 2
label() { printf 'labels."%s"==%s' "$1" "$2"; }
wanted="$(label io.kubernetes.pod.name "$name"),$(label io.kubernetes.pod.namespace "$space")"
id=$("$@" containers ls -q "$wanted,$(label io.cri-containerd.kind sandbox)" | tail -n 1)
[ -n "$id" ] || { echo "containerd has no sandbox of the pod $name" >&2; exit 1; }
pid=$("$@" tasks ls | awk -v id="$id" '$1 == id && $3 == "RUNNING" {print $2}')
[ -n "$pid" ] || { echo "the sandbox of the pod $name does not run" >&2; exit 1; }
"""
_LOOK = _FIND + 'echo "$(stat -Lc %i "/proc/$pid/ns/net") $(stat -Lc %i "/run/netns/$0" 2> /dev/null)"'
_ENTER = _FIND + 'ip netns delete "$0" 2> /dev/null; ip netns attach "$0" "$pid"'


def manifest(cluster: Cluster, annotations: Mapping[str, Mapping[str, str]], image: str = TOOLS) -> str:
    """Namespace, service account and the pods, as `kubectl apply` takes them; annotations by node."""
    items: list[object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": NAMESPACE},
            "automountServiceAccountToken": False,
        },
        *(pod(node, annotations.get(node.name, {}), image) for node in cluster.members),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def pod(node: Node, annotations: Mapping[str, str], image: str = TOOLS) -> dict[str, object]:
    """The measured pod of a node: it waits, and bears any taint."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{POD_PREFIX}{node.name}",
            "namespace": NAMESPACE,
            "labels": {"app": "vpnmesh-measured"},
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": {
            "nodeName": node.name,
            "serviceAccountName": ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "dnsPolicy": "Default",
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "tools", "image": image, "imagePullPolicy": "Never"}],
        },
    }


def entered(node: Node) -> Fact[Plan]:
    """Ensure that the name by which tasks enter the node's pod is the measured pod's network."""
    words = (f"{POD_PREFIX}{node.name}", NAMESPACE, *ctr())

    def plan(completed: Sequence[Completed]) -> Plan:
        found = completed[0].stdout.split()
        if len(set(found)) == 1 and len(found) == 2:  # noqa: PLR2004 - the pod's and the name's
            return Plan()
        step = Command(("sh", "-c", _ENTER, POD, *words))
        return Plan((step,), unified_diff("pod", "", f"{POD} is {POD_PREFIX}{node.name}"))

    return Fact((Command(("sh", "-c", _LOOK, POD, *words), ok=(0, 1)),), plan)


def asked_for(
    cluster: Cluster, kubectl: tuple[str, ...], annotations: Mapping[str, Mapping[str, str]]
) -> Fact[Plan]:
    """Ensure, on the master, that the API has the measured pods; it makes them when nodes are there."""
    wanted = sorted(f"{POD_PREFIX}{node.name}" for node in cluster.members)
    look = (*kubectl, "get", "pods", "--namespace", NAMESPACE, "--output", "name", "--request-timeout=10s")

    def plan(completed: Sequence[Completed]) -> Plan:
        found = sorted(line.removeprefix("pod/") for line in completed[0].stdout.split())
        if set(wanted) <= set(found):
            return Plan()
        apply = Command(
            (*kubectl, "apply", "--filename", "-", "--request-timeout=20s"),
            stdin=manifest(cluster, annotations),
            timeout_s=40,
        )
        return Plan((apply,), unified_diff("pods", "\n".join(found), "\n".join(wanted)))

    return Fact((Command(look, ok=(0, 1), timeout_s=20),), plan)
