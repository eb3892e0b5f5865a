"""No VPN at all: pods over the bare underlay, the paper's two baselines (section 3.3)."""

from vpnmesh.model import DataPlane, Node, Path
from vpnmesh.plan import Fact, Plan
from vpnmesh.solutions.protocol import Mesh, Peer, Solution, Stage, Status


class Native(Solution):
    """The baseline: nothing to join, nothing to leave, every peer is direct."""

    name = "native"
    is_vpn = False
    colour, marker = "#767b82", "o"

    def stages(self, _mesh: Mesh, /) -> tuple[Stage, ...]:
        """Nothing to join."""
        return ()

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Nothing to leave."""
        return Fact((), lambda _: Plan())

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """The underlay, as the inventory describes it."""
        peers = tuple(Peer(peer.name, Path.DIRECT, peer.underlay) for peer in mesh.peers(node))
        return Fact((), lambda _: Status(DataPlane.NONE, node.leg.interface, node.underlay, None, peers))


SOLUTION = Native()
