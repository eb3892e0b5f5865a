"""How real pods get their network: ours over `vxlan.calico`, or a CNI of somebody else's such as Calico itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

from vpnmesh.cluster.protocol import Cluster, ClusterProgram, Stage
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Fact, Plan, WriteFile

NO_ANNOTATIONS: Mapping[str, str] = MappingProxyType({})
CNI_CONFIGURATION = "/etc/cni/net.d"
"""Where containerd looks for what `configuration` gives."""


class PodNetworking(ABC):
    """The CNI of a cluster; every measured pod has the address that `vpnmesh.host.pods.pod_address` says."""

    name: str
    """The end of the installer's name (`kubernetes-calico`); "" for our own."""
    programs: tuple[ClusterProgram, ...] = ()
    """What must be on the nodes beside the installer's programs."""
    artifacts: tuple[tuple[str, str], ...] = ()
    """Release files that the controller brings to nodes: product and kind of `versions.toml`."""
    brings_vxlan: bool = False
    """Whether it makes `vxlan.calico` itself; else ours is there before the cluster is installed."""

    @abstractmethod
    def configuration(self, cluster: Cluster, node: Node, /) -> tuple[WriteFile, ...]:
        """The files below `CNI_CONFIGURATION` of that node."""

    def archives(self, _folder: str, /) -> Fact[Plan]:
        """Ensure that the archives of its images lie in that folder, where an installer imports them from."""
        return Fact((), lambda _: Plan())

    def stages(self, _cluster: Cluster, _kubectl: tuple[str, ...], /) -> tuple[Stage, ...]:
        """What is done once the API server answers, before nodes join; `kubectl` as the master calls it."""
        return ()

    def node_stages(self, _cluster: Cluster, _kubectl: tuple[str, ...], /) -> tuple[Stage, ...]:
        """What is done once all nodes were told to join, before there are pods."""
        return ()

    def annotations(self, _cluster: Cluster, _node: Node, /) -> Mapping[str, str]:
        """Of the measured pod of that node, so that it gets its address."""
        return NO_ANNOTATIONS

    @abstractmethod
    def leave(self, testbed: Testbed, node: Node, /) -> Fact[Plan]:
        """Remove everything of it from the node, whoever made it."""
