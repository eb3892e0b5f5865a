"""Where an impairment is put: which node, which device and direction, which packets."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, collapse_addresses

from vpnmesh.host.pods import HOST_VETH, POD, POD_VETH, VXLAN
from vpnmesh.model import End, Leg, Node, Pair, Place, Placement, Testbed


class Direction(StrEnum):
    """Whether packets are caught as they leave through the device, or as they come in."""

    EGRESS = "egress"
    INGRESS = "ingress"


@dataclass(frozen=True, slots=True)
class Target:
    """The packets of one impairment; without prefixes, all that cross the device.

    `slot` tells two impairments of one node apart (queue and handle numbers), `name` names its files there.
    """

    node: str
    name: str
    device: str
    direction: Direction = Direction.EGRESS
    sources: tuple[IPv4Network, ...] = ()
    destinations: tuple[IPv4Network, ...] = ()
    netns: str = ""
    slot: int = 0


def device_targets(testbed: Testbed, pair: Pair, placement: Placement) -> tuple[Target, ...]:
    """For an engine that sits on a device and takes what leaves through it (netem)."""
    return tuple(_on_device(testbed, pair, placement.place, end) for end in _ends(placement.end))


def hook_targets(testbed: Testbed, pair: Pair, placement: Placement) -> tuple[Target, ...]:
    """For an engine that sits in the IP layer and must take packets that another namespace has sent (NFQUEUE).

    A node's underlay egress is caught where it comes in at the firewall, over the same wire: a packet that waits on
    its own sender still counts against that sender's socket, and TCP and VPN processes would stop after a few
    packets (docs/decisions/0003-nfqueue-engine.md).
    """
    return tuple(_on_hook(testbed, pair, placement.place, end) for end in _ends(placement.end))


def _ends(end: End) -> tuple[End, ...]:
    return (End.CLIENT, End.SERVER) if end is End.BOTH else (end,)


def _nodes(testbed: Testbed, pair: Pair, end: End) -> tuple[Node, Node]:
    """The node whose egress is impaired, and the other one."""
    client, server = testbed.node(pair.client), testbed.node(pair.server)
    return (client, server) if end is End.CLIENT else (server, client)


def _on_device(testbed: Testbed, pair: Pair, place: Place, end: End) -> Target:
    node, other = _nodes(testbed, pair, end)
    name, slot = f"{place}-{end}", _slot(end)
    match place:
        case Place.UNDERLAY:
            prefixes = _filter_beside_management(testbed, node)
            return Target(node.name, name, node.leg.interface, destinations=prefixes, slot=slot)
        case Place.VXLAN:
            return Target(node.name, name, VXLAN, slot=slot)
        case Place.POD:
            return Target(node.name, name, POD_VETH, netns=POD, slot=slot)
        case Place.VLAN_PAIR:
            device = _firewall_leg(testbed, other).interface
            return _between(testbed, node, other, Target(testbed.firewall.name, name, device, slot=slot))


def _on_hook(testbed: Testbed, pair: Pair, place: Place, end: End) -> Target:
    node, other = _nodes(testbed, pair, end)
    name, slot = f"{place}-{end}", _slot(end)
    if place is Place.VXLAN:
        return Target(node.name, name, VXLAN, slot=slot)
    if place is Place.POD:
        return Target(node.name, name, HOST_VETH, Direction.INGRESS, slot=slot)
    device = _firewall_leg(testbed, node).interface
    target = Target(testbed.firewall.name, name, device, Direction.INGRESS, slot=slot)
    if place is Place.VLAN_PAIR:
        return _between(testbed, node, other, target)
    prefixes = _filter_beside_management(testbed, node)
    return Target(target.node, name, device, Direction.INGRESS, destinations=prefixes, slot=slot)


def _between(testbed: Testbed, node: Node, other: Node, target: Target) -> Target:
    sources = (testbed.vlan(node.leg.vid).prefix,)
    destinations = (testbed.vlan(other.leg.vid).prefix,)
    return Target(
        target.node, target.name, target.device, target.direction, sources, destinations, slot=target.slot
    )


def _slot(end: End) -> int:
    return 1 if end is End.SERVER else 0


def _firewall_leg(testbed: Testbed, node: Node) -> Leg:
    return next(leg for leg in testbed.firewall.legs if leg.vid == node.leg.vid)


def _filter_beside_management(testbed: Testbed, node: Node) -> tuple[IPv4Network, ...]:
    """On a NIC that management uses too, the testbed's prefixes only; elsewhere everything."""
    if node.management_interface != node.leg.interface:
        return ()
    return merged(vlan.prefix for vlan in testbed.vlans)


def merged(prefixes: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    """The same addresses in as few prefixes as there can be."""
    return tuple(collapse_addresses(prefixes))
