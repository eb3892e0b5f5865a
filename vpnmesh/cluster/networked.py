"""What every installer does the same that is given the network of its pods by somebody else."""

from collections.abc import Sequence
from typing import ClassVar

from vpnmesh.cluster import kubeconfigs, measured
from vpnmesh.cluster.networking import PodNetworking
from vpnmesh.cluster.protocol import Cluster, ClusterProgram, Installer
from vpnmesh.host.service import content
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text


class NetworkedInstaller(Installer):
    """An installer with a pods' network; its name and its programs follow from both."""

    kind: ClassVar[str]
    """The beginning of its name."""
    own_programs: ClassVar[tuple[ClusterProgram, ...]] = ()
    own_artifacts: ClassVar[tuple[tuple[str, str], ...]] = ()
    admin_files: ClassVar[tuple[str, str, str]]
    """On the master: the authority, the administrator's certificate and its key."""
    programs: tuple[ClusterProgram, ...] = ()
    artifacts: tuple[tuple[str, str], ...] = ()

    def __init__(self, networking: PodNetworking) -> None:
        """Take the pods' network."""
        self.networking = networking
        self.name = "-".join(filter(None, (self.kind, networking.name)))
        self.programs = self.own_programs + networking.programs
        self.artifacts = self.own_artifacts + networking.artifacts
        self.brings_pod_network = networking.brings_vxlan

    def unbuildable_reason(self, cluster: Cluster, /) -> str:
        """Settings of a pod's own interface are made by whoever makes the interface."""
        if cluster.network.tuning:
            return "a cluster makes its pods itself, untuned; measure this scenario with --cluster pods"
        return ""

    def kubeconfig(self, cluster: Cluster, /) -> Fact[Text]:
        """With all keys in it: a secret."""

        def parse(completed: Sequence[Completed]) -> Text:
            authority, certificate, key = (f"{content(one)}\n" for one in completed)
            return Secret(kubeconfigs.with_keys(cluster.server, authority, certificate, key))

        return Fact(tuple(Command(("cat", path)) for path in self.admin_files), parse)

    def _pods(self, cluster: Cluster) -> Fact[Plan]:
        """Asked for, not awaited: whoever raises the cluster waits for all that it must have."""
        annotations = {node.name: self.networking.annotations(cluster, node) for node in cluster.members}
        return measured.asked_for(cluster, self.kubectl(cluster), annotations)
