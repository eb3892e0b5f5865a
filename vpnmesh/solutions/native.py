"""No VPN at all: pods over the bare underlay, the paper's two baselines (section 3.3).

Options give the pods what a VPN's own stack uses, so that a report can tell a host's TCP tuning from a tunnel.
"""

from types import MappingProxyType

from vpnmesh.host.tuning import HOST_CONGESTION, Tuning
from vpnmesh.model import DataPlane, Node, Path, Scenario
from vpnmesh.plan import Fact, Plan
from vpnmesh.solutions.protocol import Binary, Mesh, Peer, Solution, Stage, Status
from vpnmesh.solutions.stack import WIREGUARD_GO_BYTES

_BUFFERS_BYTES = {"7MiB": WIREGUARD_GO_BYTES}


class Native(Solution):
    """The baseline: nothing to join, nothing to leave, every peer is direct."""

    name = "native"
    is_vpn = False
    colour, marker = "#767b82", "o"
    options = MappingProxyType(
        {"congestion": ("host",), "offloads": ("none",), "buffers": tuple(_BUFFERS_BYTES)}
    )

    def needed(self, scenario: Scenario, /) -> tuple[Binary, ...]:
        """Offloads are switched by ethtool."""
        return () if self.tuning(scenario).offloads else (Binary("ethtool", "ethtool"),)

    def tuning(self, scenario: Scenario, /) -> Tuning:
        """What a VPN's own stack uses, given to pods without a VPN."""
        wanted = scenario.options
        return Tuning(
            HOST_CONGESTION if wanted.get("congestion") == "host" else None,
            wanted.get("offloads") != "none",
            _BUFFERS_BYTES.get(wanted.get("buffers", "")),
        )

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
