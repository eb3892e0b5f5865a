"""What an API server says, as the project reads it: reasons in its own words, and no crash whatever it says."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.laid_out import cluster_over
from vpnmesh.cluster.protocol import ClusterState, NodeState, PodState
from vpnmesh.cluster.reading import parse
from vpnmesh.host.pods import pod_address
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed
from workflows.run.cluster import unready

NOT_READY = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "cni plugin not initialized",
}


def answered(*documents: object, exit_code: int = 0, stderr: str = "") -> ClusterState:
    """The state that these answers to the three questions are."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in documents]
    return parse([Completed(("curl",), exit_code, text, stderr) for text in texts])


def items(*found: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """A list as the API writes it."""
    return {"items": list(found)}


def pod(waiting: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod of ours that is not ready; `waiting` is what its container waits for."""
    containers = [{"state": {"waiting": waiting}}] if waiting else []
    return {
        "metadata": {"name": "measured-worker1", "namespace": "vpnmesh"},
        "spec": {"nodeName": "worker1"},
        "status": {"phase": "Pending", "containerStatuses": containers},
    }


def event(message: str, at: str) -> dict[str, Any]:
    """A warning about the pod."""
    return {
        "involvedObject": {"name": "measured-worker1"},
        "reason": "FailedCreatePodSandBox",
        "message": message,
        "lastTimestamp": at,
    }


def test_a_node_says_why_it_is_not_ready() -> None:
    """Its condition's reason and message."""
    node = {
        "metadata": {"name": "worker1"},
        "status": {
            "conditions": [NOT_READY],
            "addresses": [{"type": "InternalIP", "address": "192.88.99.10"}],
            "nodeInfo": {"kubeletVersion": "v1.34.4"},
        },
    }
    state = answered(items(node), items(), items())
    assert state.nodes == (
        NodeState("worker1", False, "192.88.99.10", "v1.34.4", "KubeletNotReady: cni plugin not initialized"),  # noqa: FBT003
    )


def test_an_image_that_is_missing_is_the_containers_reason() -> None:
    """Before any warning."""
    waiting = {"reason": "ErrImageNeverPull", "message": "image is not present with pull policy of Never"}
    state = answered(items(), items(pod(waiting)), items(event("else", "2026-01-01T00:00:00Z")))
    assert state.pods[0].reason.startswith("ErrImageNeverPull: image is not present")


def test_a_plugin_that_fails_is_the_latest_warning() -> None:
    """A container that is being made says nothing of it itself."""
    warnings = items(event("new", "2026-01-01T00:00:09Z"), event("old", "2026-01-01T00:00:01Z"))
    state = answered(items(), items(pod({"reason": "ContainerCreating"})), warnings)
    assert state.pods[0].reason == "FailedCreatePodSandBox: new"


def test_no_answer_is_the_clients_words() -> None:
    """The exit code where it says none."""
    assert answered("", "", "", exit_code=7, stderr="curl: (7) Failed to connect\n").unreachable == (
        "curl: (7) Failed to connect"
    )
    assert answered("", "", "", exit_code=28).unreachable == "exit code 28"
    assert "not Kubernetes' JSON" in answered("<html>", "", "").unreachable


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["items", "metadata", "name", "status", "conditions"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.lists(ANYTHING | st.text(), min_size=3, max_size=3))
def test_whatever_it_says_is_a_state(documents: list[object]) -> None:
    """Never a crash."""
    assert isinstance(answered(*documents), ClusterState)


def test_everything_that_is_not_ready_is_a_sentence(bed: Testbed) -> None:
    """Nodes and measured pods by name; a pod at another address than the measured one's is told, too."""
    cluster = cluster_over(bed)
    first, second, third = bed.k8s
    state = ClusterState(
        (NodeState(first.name, True, ""), NodeState(second.name, False, "", reason="it has not said yet")),  # noqa: FBT003
        (
            PodState("vpnmesh", f"measured-{first.name}", first.name, "Running", True, "10.9.9.9"),  # noqa: FBT003
            PodState(
                "vpnmesh",
                f"measured-{second.name}",
                second.name,
                "Pending",
                ready=False,
                reason="ErrImageNeverPull",
            ),
        ),
    )
    assert unready(cluster, state) == [
        f"pod measured-{first.name} has the address 10.9.9.9, not {pod_address(bed, first)}",
        f"node {second.name} is not ready (it has not said yet)",
        f"pod measured-{second.name} is not ready (ErrImageNeverPull)",
        f"node {third.name} is not ready (never registered)",
        f"pod measured-{third.name} is not ready (missing)",
    ]
    assert unready(cluster, ClusterState(unreachable="curl: (7)")) == [
        f"no answer of {cluster.server}: curl: (7)"
    ]
