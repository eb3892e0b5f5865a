"""No VPN at all: pods over the bare underlay, the paper's two baselines."""

from vpnmesh.model import DataPlane, Node, Path
from vpnmesh.plan import Fact, Plan
from vpnmesh.solutions.protocol import NO_OPTIONS, Binary, Mesh, Peer, Stage, Status


class Native:
    """The baseline: nothing to join, nothing to leave, every peer is direct."""

    name = "native"
    binaries: tuple[Binary, ...] = ()
    processes: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    options = NO_OPTIONS
    fallback_s: float | None = None

    def refuse(self, mesh: Mesh) -> str:
        """Nothing stands in the way."""
        del mesh
        return ""

    def stages(self, mesh: Mesh) -> tuple[Stage, ...]:
        """Nothing to join."""
        del mesh
        return ()

    def leave(self, mesh: Mesh, node: Node) -> Fact[Plan]:
        """Nothing to leave."""
        del mesh, node
        return Fact((), lambda _: Plan())

    def blacklist(self, mesh: Mesh, node: Node) -> Fact[Plan] | None:
        """Nothing looks for peers."""
        del mesh, node
        return None

    def status(self, mesh: Mesh, node: Node) -> Fact[Status]:
        """The underlay, as the inventory has it."""
        peers = tuple(Peer(peer.name, Path.DIRECT, peer.underlay) for peer in mesh.peers(node))

        def parse(completed: object) -> Status:
            del completed
            return Status(DataPlane.NONE, node.leg.interface, node.underlay, None, peers)

        return Fact((), parse)
