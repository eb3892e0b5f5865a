"""An installer that a test plugs in: daemons that only sleep, an API that a file answers for, and namespaces as pods.

What the cluster command does around an installer (order, record, interruption, removal) needs no Kubernetes.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests import pages
from vpnmesh.cluster.protocol import (
    POD_PREFIX,
    Cluster,
    ClusterProgram,
    ClusterRole,
    ClusterState,
    Installer,
    NodeState,
    PodState,
    Stage,
)
from vpnmesh.host import pods
from vpnmesh.host.service import Service, removed, running
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, both

NAME = "stand-in"
FOLDER = "/var/lib/vpnmesh/stand-in"
STATE = "/run/vpnmesh/stand-in-said.json"
"""What a test may write on the master, and what `state` then says: node name to reason, "" = ready."""
TOML = """
[project]
name = "standin"
version = "1.0"

[project.entry-points."vpnmesh.cluster.installers"]
stand-in = "standin:INSTALLER"
"""


class StandIn(Installer):
    """A daemon on every member, started with the node's address in the cluster."""

    name = NAME
    programs = (ClusterProgram("sleep", "coreutils"), ClusterProgram("sh", "dash", at=(ClusterRole.MASTER,)))
    ready_s = 5.0

    def stages(self, cluster: Cluster) -> tuple[Stage, ...]:
        """The master first, then the workers; slow enough to be interrupted."""
        workers = tuple(node.name for node in cluster.nodes_in(ClusterRole.WORKER))
        return (
            Stage("control plane", (cluster.master.name,), _daemon),
            Stage("nodes", workers, _daemon),
        )

    def state(self, cluster: Cluster) -> Fact[ClusterState]:
        """All ready but what the file says."""

        def parse(completed: Sequence[Completed]) -> ClusterState:
            said = json.loads(completed[0].stdout or "{}")
            nodes = tuple(
                NodeState(
                    node.name,
                    not said.get(node.name),
                    str(cluster.address(node)),
                    "v0",
                    said.get(node.name, ""),
                )
                for node in cluster.members
            )
            ours = [
                PodState(
                    "vpnmesh",
                    f"{POD_PREFIX}{node.name}",
                    node.name,
                    "Running",
                    ready=True,
                    address=_pod(cluster, node),
                )
                for node in cluster.members
            ]
            foreign = [
                PodState("default", name, node, "Running", ready=True)
                for name, node in said.get("pods", {}).items()
            ]
            return ClusterState(nodes, (*ours, *foreign))

        return Fact((Command(("sh", "-c", 'cat "$1" 2> /dev/null || true', "sh", STATE)),), parse)

    def kubectl(self, cluster: Cluster) -> tuple[str, ...]:
        """Answers as kubectl's log does."""
        return ("sh", "-c", "echo 'GET https://x/readyz 200 OK in 7 milliseconds' >&2")

    def kubeconfig(self, cluster: Cluster) -> Fact[Text]:
        """One with a secret in it."""
        user = [{"name": "admin", "user": {"token": "sesame-of-the-stand-in"}}]
        clusters = [{"name": "c", "cluster": {"server": cluster.server}}]
        text = json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": user})
        return Fact((), lambda _: Secret(text))

    def enter_pods(self, cluster: Cluster, node: Node) -> Fact[Plan]:
        """The pod is a namespace, as without a cluster."""
        return pods.attached(replace(cluster.network, own_pods=True), node)

    def leave(self, testbed: Testbed, node: Node) -> Fact[Plan]:
        """Service, files and pod."""
        return both(removed((NAME,), (FOLDER, STATE)), pods.detached()).map(lambda plans: plans[0] + plans[1])


def _pod(cluster: Cluster, node: Node) -> str:
    return str(cluster.network.site(node.name).pod)


def _daemon(cluster: Cluster, node: Node) -> Fact[Plan]:
    file = WriteFile(f"{FOLDER}/node-ip", str(cluster.address(node)))
    service = Service(NAME, ("sleep", "100000"), (file,), ready=Command(("sleep", "2")))
    return running(service)


INSTALLER = StandIn()


def install(folder: Path) -> Path:
    """Put it into a folder as an installer of packages would."""
    return pages.install(folder, "standin", {"standin.py": Path(__file__).read_text(encoding="utf-8")}, TOML)
