"""What an installer of Kubernetes tells the rest of the project; one module per installer defines it as `INSTALLER`.

An installer never touches a host, as a solution does not (`vpnmesh.solutions.protocol`): it has stages, each of which
asks a node for its state and answers with the plan that is missing.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from vpnmesh import stages
from vpnmesh.host.pods import PodNetwork
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Fact, Plan, Text

API_PORT = 6443
"""Where the API server listens, on the master's node address."""
SERVICES = IPv4Network("10.43.0.0/16")
"""The cluster IPs of services: K3s' default (docs.k3s.io/cli/server), the first address is the API's."""
NAMESPACE = "vpnmesh"
"""Of all that the project itself creates in a cluster: pods, service accounts, services."""
POD_PREFIX = "measured-"
"""Of the names of pods that are measured: one on each node, `measured-NODE`."""


class ClusterRole(StrEnum):
    """What a node does in a cluster."""

    MASTER = "master"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kubernetes cluster on a testbed, over the addresses of a pod network, and what its nodes have published so far.

    The node addresses are those that the pods' VXLAN runs over: of the overlay, or of the underlay where there is no
    VPN. `network` has them, the MTU of the pods, and each node's block of pod addresses.
    """

    testbed: Testbed
    network: PodNetwork
    published: Mapping[tuple[str, str], Text] = field(default_factory=dict)
    services: IPv4Network = SERVICES
    dry_run: bool = False

    @property
    def master(self) -> Node:
        """The node that runs the control plane."""
        return self.testbed.master

    @property
    def members(self) -> tuple[Node, ...]:
        """Master and workers."""
        return self.testbed.k8s

    @property
    def pods(self) -> IPv4Network:
        """The addresses of all pods: the one place of what K3s calls cluster-cidr and Calico's IP pool cidr."""
        return self.testbed.pods

    @property
    def server(self) -> str:
        """The API server's URL, as nodes and users reach it."""
        return f"https://{self.address(self.master)}:{API_PORT}"

    def address(self, node: Node) -> IPv4Address:
        """The node's address in the cluster (kubelet's --node-ip)."""
        return self.network.site(node.name).underlay

    def interface(self, node: Node) -> str:
        """The interface that has it."""
        return self.network.device[node.name]

    def role(self, node: Node) -> ClusterRole:
        """What that member does."""
        return ClusterRole.MASTER if node.name == self.master.name else ClusterRole.WORKER

    def nodes_in(self, role: ClusterRole) -> tuple[Node, ...]:
        """The members with that role."""
        return tuple(node for node in self.members if self.role(node) is role)

    def published_by(self, node: str, key: str) -> Text:
        """What that node published; CheckError names both when it did not."""
        return stages.published_by(self.published, node, key, stage="cluster", dry_run=self.dry_run)

    def with_published(self, found: Mapping[tuple[str, str], Text]) -> "Cluster":
        """The same cluster with these values published as well."""
        return replace(self, published={**self.published, **found})


Stage = stages.Stage[Cluster]
"""One step of installing a cluster."""


@dataclass(frozen=True, slots=True)
class ClusterProgram:
    """A program that an installer needs on nodes of these roles.

    `package` is the Debian package that brings it ("" if none does), `version` the command that prints its version.
    `stand_ins` are programs that do the same where all of them are there. `folders` are looked in beside PATH.
    `way` is how one gets it, where that is not what docs/binaries.md says of every program.
    """

    name: str
    package: str = ""
    version: tuple[str, ...] = ()
    at: tuple[ClusterRole, ...] = tuple(ClusterRole)
    stand_ins: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    way: str = ""

    def served_by(self, there: Collection[str]) -> bool:
        """Whether these programs do."""
        return self.name in there or (bool(self.stand_ins) and set(self.stand_ins) <= set(there))


@dataclass(frozen=True, slots=True)
class NodeState:
    """A Kubernetes node as the API reports it; `reason` says why it is not ready."""

    name: str
    ready: bool
    address: str
    version: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as the API reports it; `reason` says why it is not ready (ErrImageNeverPull, CreateContainerError, ...)."""

    namespace: str
    name: str
    node: str
    phase: str
    ready: bool
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What the API server says now; `unreachable` is why it says nothing, "" where it does."""

    nodes: tuple[NodeState, ...] = ()
    pods: tuple[PodState, ...] = ()
    unreachable: str = ""

    def node(self, name: str) -> NodeState | None:
        """That node, None where the API does not know it."""
        return next((node for node in self.nodes if node.name == name), None)

    def pod(self, name: str) -> PodState | None:
        """The project's own pod of that name."""
        return next((pod for pod in self.pods if (pod.namespace, pod.name) == (NAMESPACE, name)), None)


class Installer(ABC):
    """A way to install Kubernetes; a module states only what differs from the defaults here."""

    name: str
    """The slug in `--cluster`, files and columns."""
    programs: tuple[ClusterProgram, ...] = ()
    """What must be on the nodes before anything is changed."""
    artifacts: tuple[tuple[str, str], ...] = ()
    """Release files that members get from the controller if they lack them: product and file in versions.toml."""
    brings_pod_network: bool = False
    """Whether it makes `vxlan.calico` itself (Calico), else ours is there before its stages run."""
    ready_s: float = 180.0
    """Seconds that all nodes and measured pods may take until they are ready, once the stages are done."""
    visit_s: float = 35.0
    """Seconds that a visit to a scenario takes longer with it: putting it up, and taking it off again."""

    def unbuildable_reason(self, _cluster: Cluster, /) -> str:
        """Why this cannot be installed whatever programs are there, with the way out; "" when it can."""
        return ""

    @abstractmethod
    def stages(self, cluster: Cluster, /) -> tuple[Stage, ...]:
        """How the cluster is installed, in order, until its measured pods are asked for."""

    @abstractmethod
    def state(self, cluster: Cluster, /) -> Fact[ClusterState]:
        """What the API says, asked on the master."""

    @abstractmethod
    def kubectl(self, cluster: Cluster, /) -> tuple[str, ...]:
        """How kubectl is called on the master, as an administrator."""

    @abstractmethod
    def kubeconfig(self, cluster: Cluster, /) -> Fact[Text]:
        """An administrator's kubeconfig for people, asked on the master; its server is `cluster.server`."""

    @abstractmethod
    def enter_pods(self, cluster: Cluster, node: Node, /) -> Fact[Plan]:
        """Ensure that `vpnmesh.host.pods.in_pod` runs its command in the node's measured pod."""

    @abstractmethod
    def leave(self, testbed: Testbed, node: Node, /) -> Fact[Plan]:
        """Remove everything of this installer from the node: processes, interfaces, mounts, cgroups, files.

        Also what a run that was killed left there: it goes by what is found, not by what was installed.
        """
