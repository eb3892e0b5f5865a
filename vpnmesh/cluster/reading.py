"""What an API server says of nodes and pods, as a ClusterState: its own JSON in, reasons in its own words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vpnmesh.cluster.protocol import NAMESPACE, ClusterState, NodeState, PodState
from vpnmesh.errors import NO_JSON
from vpnmesh.plan import Command, Completed, Fact

PATHS = (
    "/api/v1/nodes",
    "/api/v1/pods",
    f"/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=type%3DWarning",
)
ASK_S = 10
_SHOWN = 300


def asked(argv: Sequence[str], server: str) -> Fact[ClusterState]:
    """The question, put with a client such as curl that takes the address at its end."""
    asks = tuple(Command((*argv, f"{server}{path}"), ok=tuple(range(256)), timeout_s=ASK_S) for path in PATHS)
    return Fact(asks, parse)


def parse(completed: Sequence[Completed]) -> ClusterState:
    """Nodes, pods and, of pods that are not ready, why."""
    for one in completed[:2]:
        if one.exit_code:
            return ClusterState(unreachable=_short(one.stderr or one.stdout) or f"exit code {one.exit_code}")
    try:
        nodes, pods, events = (json.loads(one.stdout or "{}").get("items") or [] for one in completed)
        warnings = _warnings(events)
        return ClusterState(
            tuple(node_state(node) for node in nodes), tuple(pod_state(pod, warnings) for pod in pods)
        )
    except (*NO_JSON, AttributeError, LookupError, TypeError):
        return ClusterState(unreachable="what it answers is not Kubernetes' JSON")


def node_state(item: Mapping[str, Any]) -> NodeState:
    """A node of the API's list."""
    status = item.get("status", {})
    ready = _condition(status, "Ready")
    addresses = [one["address"] for one in status.get("addresses", ()) if one.get("type") == "InternalIP"]
    return NodeState(
        name=str(item["metadata"]["name"]),
        ready=ready.get("status") == "True",
        address=str(addresses[0]) if addresses else "",
        version=str(status.get("nodeInfo", {}).get("kubeletVersion", "")),
        reason="" if ready.get("status") == "True" else _short(_words(ready)) or "it has not said yet",
    )


def pod_state(item: Mapping[str, Any], warnings: Mapping[str, str]) -> PodState:
    """A pod of the API's list; where a container waits, or its sandbox cannot be made, that is the reason."""
    metadata, status = item["metadata"], item.get("status", {})
    ready = _condition(status, "Ready").get("status") == "True"
    return PodState(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata["name"]),
        node=str(item.get("spec", {}).get("nodeName", "")),
        phase=str(status.get("phase", "")),
        ready=ready,
        address=str(status.get("podIP", "")),
        reason="" if ready else _short(_why(status, warnings.get(metadata["name"], ""))),
    )


def _why(status: Mapping[str, Any], warning: str) -> str:
    waiting = [
        _words(one["state"]["waiting"])
        for one in status.get("containerStatuses", ())
        if "waiting" in one.get("state", {})
    ]
    said = "; ".join(dict.fromkeys(word for word in waiting if word != "ContainerCreating"))
    return (
        said or warning or _words(_condition(status, "PodScheduled")) or "; ".join(waiting) or _words(status)
    )


def _warnings(events: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The latest warning of each of our pods."""
    ordered = sorted(events, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
    return {str(one.get("involvedObject", {}).get("name", "")): _words(one) for one in ordered}


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    return next((one for one in found if one.get("type") == kind), {})


def _words(said: Mapping[str, Any]) -> str:
    return ": ".join(str(said[key]) for key in ("reason", "message") if said.get(key))


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
