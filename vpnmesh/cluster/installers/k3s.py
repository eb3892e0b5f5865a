"""K3s, as the paper installed it: a server on the master, agents on the workers, without its own network for pods.

One program holds all of Kubernetes and its containerd. Nodes that have no K3s on their PATH get the pinned release
from the controller. Its flags are in `k3s_configuration`, what it leaves on a node in `k3s_node`.
"""

from collections.abc import Sequence

from vpnmesh.cluster import (
    images,
    k3s_configuration,
    k3s_node,
    kubelet,
    measured,
    reading,
    runtime,
)
from vpnmesh.cluster.k3s_configuration import CONFIG, DATA, KUBECONFIG, SOCKET, TLS, TOKEN
from vpnmesh.cluster.networked import NetworkedInstaller
from vpnmesh.cluster.places import NAMESPACE
from vpnmesh.cluster.protocol import Cluster, ClusterProgram, ClusterRole, ClusterState, Stage
from vpnmesh.cluster.vxlan import Vxlan
from vpnmesh.host.service import Service, content, made, running, until
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import (
    Command,
    Completed,
    Fact,
    Plan,
    Secret,
    Text,
    WriteFile,
    in_order,
    unified_diff,
)

PROGRAMS = (
    ClusterProgram("curl", "curl", at=(ClusterRole.MASTER,)),
    ClusterProgram("iptables", "iptables"),
    ClusterProgram("iperf3", "iperf3"),
    ClusterProgram("hey", "hey"),
    ClusterProgram("ping", "iputils-ping"),
    ClusterProgram("busybox", "busybox-static"),
    ClusterProgram("tini", "tini"),
)
"""K3s itself is none of them: where it is missing it is brought."""
VERSION = "version"
AGENT_TOKEN = "agent-token"  # noqa: S105 - what it is published as
START_S = 120
"""How long the API server may take until it answers for the first time."""

# constant scripts. A release unpacks itself, and its parts are called as themselves there; a K3s that was not packed
# so has them as commands of its own. A release that is called as `k3s ctr` would unpack itself a second time
_PART = """
own="$1/data/current/bin"; part="$0"; shift
if [ -x "$own/$part" ]; then PATH="$own:$PATH"; exec "$part" "$@"; fi
exec k3s "$part" "$@"
"""
_RANDOM = 'umask 077; mkdir -p "$(dirname "$1")"; od -An -N32 -tx1 /dev/urandom | tr -d " \\n" > "$1"'
_LINK_IMAGES = """
folder="$1"; shift; mkdir -p "$folder"
for file in "$@"; do ln -f "$file" "$folder/" || cp "$file" "$folder/"; done
"""


class K3s(NetworkedInstaller):
    """A cluster of K3s, with the pods' network that it is given."""

    kind = "k3s"
    own_programs = PROGRAMS
    own_artifacts = (("k3s", "program"),)
    admin_files = (f"{TLS}/server-ca.crt", f"{TLS}/client-admin.crt", f"{TLS}/client-admin.key")

    def stages(self, cluster: Cluster, /) -> tuple[Stage, ...]:
        """What every node must have, the server, the agents with its token, then the measured pods."""
        master = (cluster.master.name,)
        workers = tuple(node.name for node in cluster.nodes_in(ClusterRole.WORKER))
        return (
            Stage("nodes' files", (*master, *workers), self._prepared, _version),
            Stage("server", master, lambda cluster, _node: _server(cluster), lambda *_: _agent_token()),
            *self.networking.stages(cluster, self.kubectl(cluster)),
            Stage("agents", workers, _agent, joining=True),
            *self.networking.node_stages(cluster, self.kubectl(cluster)),
            Stage("pods", master, lambda cluster, _node: self._pods(cluster)),
        )

    def state(self, cluster: Cluster, /) -> Fact[ClusterState]:
        """Asked with curl, as K3s' own administrator."""
        return reading.asked(_client(), cluster.server)

    def kubectl(self, _cluster: Cluster, /) -> tuple[str, ...]:
        """K3s' own, with the administrator's file that it wrote."""
        return _part("kubectl", f"--kubeconfig={KUBECONFIG}")

    def enter_pods(self, _cluster: Cluster, node: Node, /) -> Fact[Plan]:
        """By the name that all tasks use for the node's pod."""
        return measured.entered(node, _part("ctr", "-a", SOCKET, "-n", NAMESPACE))

    def leave(self, testbed: Testbed, node: Node, /) -> Fact[Plan]:
        """What the pods' network has first: its folders are empty then, and go with those of K3s."""
        return in_order(self.networking.leave(testbed, node), k3s_node.taken_off())

    def _prepared(self, cluster: Cluster, node: Node) -> Fact[Plan]:
        """Nobody else's Kubernetes, then files; the list of what was not there before comes first of all."""
        return in_order(
            k3s_node.foreign(node).map(lambda _: Plan()),
            k3s_node.noted(),
            k3s_node.settings_held(),
            images.written(),
            _images_given(),
            self.networking.archives(k3s_configuration.IMAGES),
            runtime.plugins_there(),
            runtime.configured(
                (k3s_configuration.containerd(node), *self.networking.configuration(cluster, node))
            ),
            kubelet.group_there(),
        )


def server(cluster: Cluster) -> Service:
    """The master's daemon; ready once its API answers."""
    version = str(cluster.published_by(cluster.master.name, VERSION))
    ready = until(*_client(), f"{cluster.server}/readyz", deadline_s=START_S)
    return Service(
        k3s_node.SERVICE,
        ("k3s", "server", "--config", CONFIG),
        (k3s_configuration.server(cluster, version),),
        ready=ready,
    )


def agent(cluster: Cluster, node: Node) -> Service:
    """A worker's daemon; the token is in a file that root alone reads."""
    version = str(cluster.published_by(node.name, VERSION))
    token = WriteFile(TOKEN, cluster.published_by(cluster.master.name, AGENT_TOKEN))
    return Service(
        k3s_node.SERVICE,
        ("k3s", "agent", "--config", CONFIG),
        (k3s_configuration.agent(cluster, node, version), token),
    )


def _server(cluster: Cluster) -> Fact[Plan]:
    token = made(TOKEN, Command(("sh", "-c", _RANDOM, "sh", TOKEN)), "<a new token>")
    return in_order(token, running(server(cluster)))


def _agent(cluster: Cluster, node: Node) -> Fact[Plan]:
    return running(agent(cluster, node))


def _version(_cluster: Cluster, _node: Node) -> Fact[dict[str, Text]]:
    """Which K3s the node has: its flags are not the same in all."""
    return Fact((Command(("k3s", "--version")),), lambda completed: {VERSION: content(completed[0])})


def _agent_token() -> Fact[dict[str, Text]]:
    """As the server wrote it: agents know the server by the digest of its authority in it."""
    ask = Command(("cat", f"{DATA}/server/node-token"))
    return Fact((ask,), lambda completed: {AGENT_TOKEN: Secret(content(completed[0]))})


def _images_given() -> Fact[Plan]:
    """Ensure that K3s finds the archives of the images where it looks for them."""
    archives = [images.archive(image) for image in images.PROGRAMS]
    wanted = [f"{k3s_configuration.IMAGES}/{path.rpartition('/')[2]}" for path in archives]

    def plan(completed: Sequence[Completed]) -> Plan:
        lacking = [path for path, one in zip(wanted, completed, strict=True) if one.exit_code]
        if not lacking:
            return Plan()
        link = Command(("sh", "-c", _LINK_IMAGES, "sh", k3s_configuration.IMAGES, *archives))
        return Plan((link,), unified_diff(k3s_configuration.IMAGES, "", "\n".join(lacking)))

    return Fact(tuple(Command(("test", "-s", path), ok=(0, 1)) for path in wanted), plan)


def _client() -> tuple[str, ...]:
    stem = f"{TLS}/client-admin"
    keys = ("--cert", f"{stem}.crt", "--key", f"{stem}.key")
    return ("curl", "-sS", "--fail", "--max-time", "5", "--cacert", f"{TLS}/server-ca.crt", *keys)


def _part(name: str, *words: str) -> tuple[str, ...]:
    return ("sh", "-c", _PART, name, DATA, *words)


INSTALLER = K3s(Vxlan())
