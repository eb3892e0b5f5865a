"""What Calico's operator says of an installation, and waiting until it is carried out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vpnmesh.cluster.calico_apply import Kubectl, Manifest
from vpnmesh.plan import Command, Completed, Fact, Plan

SYSTEM = "calico-system"
"""The namespace that the operator makes for Calico's pods."""
READY_S = 600.0
"""Nodes that have no images yet fetch some 300 MB."""

# constant script: a look every two seconds until the deadline; what is missing then is told by the look after it
_AWAIT = """
deadline=$(($(date +%s) + $0)); words='jsonpath={.status.conditions[?(@.type=="Available")].status}'
until [ "$("$@" get tigerastatus calico -o "$words" 2> /dev/null)" = True ]; do
  [ "$(date +%s)" -lt "$deadline" ] || exit 0
  sleep 2
done
"""


@dataclass(frozen=True, slots=True)
class OperatorState:
    """What the API says of an installation by the operator."""

    complaints: tuple[str, ...]
    """Of components that are not available, as the operator words them."""
    wanted_nodes: int
    ready_nodes: int
    pods: tuple[str, ...]
    """Those that are not ready, each with its reason."""

    @property
    def unready(self) -> tuple[str, ...]:
        """What is missing, a sentence each; none when all is ready."""
        few = self.ready_nodes < self.wanted_nodes or not self.wanted_nodes
        nodes = (f"Calico is ready on {self.ready_nodes} of {self.wanted_nodes} nodes",) if few else ()
        return (*self.complaints, *nodes, *self.pods)


def carried_out(kubectl: Kubectl, ready_s: float = READY_S) -> Fact[Plan]:
    """Wait until the operator says that Calico is available; what is missing is the diff, and the error after that."""
    wait = Command(("sh", "-c", _AWAIT, f"{ready_s:.0f}", *kubectl), timeout_s=ready_s + 30)

    def plan(state: OperatorState) -> Plan:
        return (
            Plan((wait,), "\n".join(f"-{sentence}" for sentence in state.unready))
            if state.unready
            else Plan()
        )

    return operator_state(kubectl).map(plan)


def operator_state(kubectl: Kubectl) -> Fact[OperatorState]:
    """What the API says now."""
    asks = (
        (*kubectl, "get", "tigerastatus", "-o", "json"),
        (*kubectl, "get", "daemonset", "calico-node", "-n", SYSTEM, "-o", "json"),
        (*kubectl, "get", "pods", "-n", SYSTEM, "-o", "json"),
    )
    return Fact(tuple(Command(argv, ok=(0, 1)) for argv in asks), _state)


def _state(completed: Sequence[Completed]) -> OperatorState:
    components, nodes, pods = (read(one) for one in completed)
    found = components.get("items", [])
    complaints = [sentence for one in found for sentence in _complaints(one)]
    if "calico" not in [one["metadata"]["name"] for one in found]:
        complaints.append(
            f"the operator says nothing of calico: {completed[0].stderr.strip() or 'no status yet'}"
        )
    counts = nodes.get("status", {})
    return OperatorState(
        tuple(complaints),
        counts.get("desiredNumberScheduled", 0),
        counts.get("numberReady", 0),
        tuple(sentence for pod in pods.get("items", []) for sentence in _pod_complaints(pod)),
    )


def _complaints(component: Manifest) -> list[str]:
    conditions = {one["type"]: one for one in component.get("status", {}).get("conditions", [])}
    if conditions.get("Available", {}).get("status") == "True":
        return []
    why = [
        conditions[kind].get("message") or conditions[kind].get("reason", "")
        for kind in ("Degraded", "Progressing")
        if conditions.get(kind, {}).get("status") == "True"
    ]
    return [
        f"{component['metadata']['name']} is not available: {'; '.join(filter(None, why)) or 'no reason given'}"
    ]


def _pod_complaints(pod: Manifest) -> list[str]:
    waiting = [
        one["state"]["waiting"].get("message") or one["state"]["waiting"].get("reason", "")
        for one in pod.get("status", {}).get("containerStatuses", [])
        if not one.get("ready") and "waiting" in one.get("state", {})
    ]
    return [
        f"pod {pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {why}" for why in waiting
    ]


def read(completed: Completed) -> dict[str, Any]:
    """An object as kubectl printed it; empty where it failed."""
    if completed.exit_code or not completed.stdout.strip():
        return {}
    found: dict[str, Any] = json.loads(completed.stdout)
    return found
