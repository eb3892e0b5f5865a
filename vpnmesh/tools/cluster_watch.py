"""How the watcher of a cluster is called, what it needs in the cluster, and how its lines are read.

The program itself is `cluster_watcher.py` beside this; only its text is used here, since it runs on nodes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from vpnmesh.errors import NO_JSON, ToolError

PROGRAM = resources.files(__package__).joinpath("cluster_watcher.py").read_text(encoding="utf-8")
ACCOUNT = "vpnmesh-health"
"""The service account that watches, its role and binding, and the service whose endpoints are watched."""
LABEL = "vpnmesh-health"
"""Put on the pods of that service for as long as they are watched."""
TOKEN_REQUEST = json.dumps(
    {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
)
_OF_ACCOUNT = {"kind": "ServiceAccount", "name": ACCOUNT}
_MAY_SEE = {
    "": ["nodes", "pods"],
    "coordination.k8s.io": ["leases"],
    "discovery.k8s.io": ["endpointslices"],
}


@dataclass(frozen=True, slots=True)
class Orders:
    """What one watcher does: where the API server is, how often it asks, and what else it watches.

    `resources` are paths of the API by kind (`node`, `lease`, `pod`, `slice`); for them it needs a token.
    """

    server: str
    authority: str
    every_s: float
    patience_s: float
    interface: str = ""
    token_file: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> tuple[str, ...]:
        """How it is called on a node."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return ("python3", "-u", "-c", PROGRAM, json.dumps(told))


@dataclass(frozen=True, slots=True)
class Seen:
    """One line of a watcher: when, by its node's clock, of what kind, and what it says."""

    at_s: float
    kind: str
    facts: Mapping[str, Any]


def lines_of(text: str, name: str) -> tuple[Seen, ...]:
    """The lines of a watcher; the last may be cut off, since it was ended. ToolError for any other that is none."""
    lines = text.splitlines()
    whole = lines if text.endswith("\n") else lines[:-1]
    return tuple(_line(line, name) for line in whole)


def _line(line: str, name: str) -> Seen:
    stamp, _, rest = line.partition(" ")
    kind, _, facts = rest.partition(" ")
    try:
        told = json.loads(facts)
        return Seen(float(stamp), kind, dict(told))
    except (*NO_JSON, TypeError) as error:
        raise ToolError("raw", f"{name} holds '{line[:80]}'") from error


def leases() -> dict[str, str]:
    """What kubelets renew every ten seconds, and so what a watch always has something to hear of."""
    return {"lease": "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"}


def objects(namespace: str) -> dict[str, str]:
    """Nodes, their leases, the namespace's pods, and the endpoints of the watched service."""
    named = f"labelSelector=kubernetes.io%2Fservice-name%3D{ACCOUNT}"
    return {
        "node": "/api/v1/nodes",
        **leases(),
        "pod": f"/api/v1/namespaces/{namespace}/pods",
        "slice": f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{named}",
    }


def manifest(namespace: str) -> str:
    """What is made in the cluster for as long as it is watched, as JSON for kubectl."""
    group, name = "rbac.authorization.k8s.io", {"name": ACCOUNT}
    here = {**name, "namespace": namespace}
    items: Sequence[Mapping[str, object]] = (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": name,
            "rules": [
                {"apiGroups": [group], "resources": kinds, "verbs": ["get", "list", "watch"]}
                for group, kinds in _MAY_SEE.items()
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": ACCOUNT},
            "subjects": [{**_OF_ACCOUNT, "namespace": namespace}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": here,
            "spec": {"clusterIP": "None", "selector": {LABEL: "watched"}, "ports": [{"port": 80}]},
        },
    )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
