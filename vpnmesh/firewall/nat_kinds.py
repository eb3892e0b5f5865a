"""The kinds of NAT that a node can be put behind, and the routers on the firewall node that make them.

Each node gets a router of its own: a network namespace between its port and the rest of the firewall, with its own
table of connections, since two NATs in one table get in each other's way (docs/decisions/0123-a-router-per-node.md).
All that is made has one prefix, and `taken_away_argv` removes it whatever state a crash left it in. The words are those
of RFC 4787.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from vpnmesh.errors import UnavailableError, UnknownNameError
from vpnmesh.firewall.policy import HTTPS_PORT
from vpnmesh.host import roaming
from vpnmesh.model import Node, Testbed


class NatKind(StrEnum):
    """What a node is behind; the values are the words of files and of the command line."""

    NONE = "none"
    FULL_CONE = "full-cone"
    ADDRESS_RESTRICTED = "address-restricted"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"
    DOUBLE = "double-nat"
    HAIRPIN_OFF = "hairpin-off"
    UDP_BLOCKED = "udp-blocked"
    TCP_443_ONLY = "tcp-443-only"
    IPV6_ONLY = "ipv6-only"


class Depends(StrEnum):
    """On what of the far end a mapping or a filter depends (RFC 4787, sections 4.1 and 5)."""

    NOTHING = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address-and-port-dependent"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a kind treats packets; `routers` is how many translations lie in series, `tcp_port` the only one let out."""

    words: str
    mapping: Depends = Depends.NOTHING
    filtering: Depends = Depends.ADDRESS_AND_PORT
    routers: int = 1
    udp: bool = True
    tcp_port: int | None = None
    hairpins: bool = True


BEHAVIOURS: Mapping[NatKind, Behaviour] = {
    NatKind.NONE: Behaviour("no translation", filtering=Depends.NOTHING, routers=0),
    NatKind.FULL_CONE: Behaviour("one port for all peers, open to everybody", filtering=Depends.NOTHING),
    NatKind.ADDRESS_RESTRICTED: Behaviour(
        "one port for all peers, open to addresses that were written to", filtering=Depends.ADDRESS
    ),
    NatKind.PORT_RESTRICTED: Behaviour("one port for all peers, open to ports that were written to"),
    NatKind.SYMMETRIC: Behaviour("a new port for every peer", mapping=Depends.ADDRESS_AND_PORT),
    NatKind.DOUBLE: Behaviour("two port-restricted routers in series", routers=2),
    NatKind.HAIRPIN_OFF: Behaviour(
        "as full-cone, and nothing passes between two nodes that are both behind it",
        filtering=Depends.NOTHING,
        hairpins=False,
    ),
    NatKind.UDP_BLOCKED: Behaviour("translated, and no UDP passes", udp=False),
    NatKind.TCP_443_ONLY: Behaviour(
        "translated, and nothing but TCP to port 443 is let out", udp=False, tcp_port=HTTPS_PORT
    ),
}
"""What each kind does, but for an underlay of IPv6 alone, which no firewall makes."""

PREFIX = "vmnat"
"""Namespaces and the table begin with it, interfaces of the firewall with `vmi` and `vmo`."""
TABLE = f"{PREFIX}_guard"
RULE_PREFERENCE = 7320
_ROUTING_TABLES = 17320
MAPPING_S = 300
"""How long a mapping stays open to others without traffic; RFC 4787 (section 4.3) recommends five minutes."""
_LINKS = IPv4Address("169.254.160.0")
_CARRIER_LINKS = IPv4Address("100.64.160.0")
_LINK_ADDRESSES = 8

# constant script; what is not there is no error
_TAKE_AWAY = """
while ip rule del pref "$1" 2> /dev/null; do :; done
ip -o link show type veth | sed -n 's/^[0-9]*: \\(vm[io][0-9]*\\)[@:].*/\\1/p' \\
  | while read -r link; do ip link del "$link"; done
for space in $(ip netns list 2> /dev/null | cut -d ' ' -f 1 | grep "^$2"); do ip netns del "$space"; done
nft delete table inet "$3" 2> /dev/null
true
"""


@dataclass(frozen=True, slots=True)
class NatRouter:
    """One translation: a namespace, the address that it hides, and the one that it shows."""

    namespace: str
    inside: IPv4Address
    outside: IPv4Address
    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class HiddenNode:
    """A node behind its routers, the nearest first.

    `port` is the firewall's interface in the node's VLAN; `number` tells links and tables from those of other nodes.
    """

    node: Node
    kind: NatKind
    number: int
    port: str
    routers: tuple[NatRouter, ...]

    @property
    def shown(self) -> IPv4Address:
        """The address that everybody else sees."""
        return self.routers[-1].outside

    @property
    def inner(self) -> str:
        """The firewall's interface towards the nearest router."""
        return f"vmi{self.number}"

    @property
    def outer(self) -> str:
        """The firewall's interface towards the last router."""
        return f"vmo{self.number}"


def kind_named(name: str, place: str = "--kinds") -> NatKind:
    """The kind of that name; UnknownNameError lists the known ones."""
    try:
        return NatKind(name)
    except ValueError:
        raise UnknownNameError(place, "kind of NAT", name, [str(kind) for kind in NatKind]) from None


def hidden_nodes(testbed: Testbed, kinds: Mapping[str, NatKind]) -> tuple[HiddenNode, ...]:
    """The nodes that get routers; UnavailableError for a kind that no router makes, or without a free address."""
    chosen = [(testbed.node(name), kind) for name, kind in kinds.items() if kind is not NatKind.NONE]
    for node, kind in chosen:
        if kind not in BEHAVIOURS:
            raise UnavailableError(f"{node.name}: nothing here puts a node behind {kind}")
    return tuple(
        HiddenNode(node, kind, number, _port(testbed, node), _routers(testbed, node, kind, number))
        for number, (node, kind) in enumerate(chosen)
    )


def shown_address(testbed: Testbed, node: Node) -> IPv4Address:
    """The last free address of the node's VLAN: others reach it on the same way as the node."""
    free = roaming.free_address(testbed, node)
    if free is None:
        prefix = testbed.vlan(node.leg.vid).prefix
        raise UnavailableError(f"{prefix} has no free address that {node.name}'s router could show")
    return free.ip


def shown_addresses(testbed: Testbed, kinds: Mapping[str, NatKind]) -> dict[str, IPv4Address]:
    """The address that others see of each node that is behind a router."""
    return {one.node.name: one.shown for one in hidden_nodes(testbed, kinds)}


def _port(testbed: Testbed, node: Node) -> str:
    return next(leg.interface for leg in testbed.firewall.legs if leg.vid == node.leg.vid)


def _routers(testbed: Testbed, node: Node, kind: NatKind, number: int) -> tuple[NatRouter, ...]:
    behaviour, shown = BEHAVIOURS[kind], shown_address(testbed, node)
    name = f"{PREFIX}{number}"
    if behaviour.routers == 1:
        return (NatRouter(name, node.underlay, shown, behaviour),)
    between = _CARRIER_LINKS + number * _LINK_ADDRESSES + 2
    return (
        NatRouter(name, node.underlay, between, behaviour),
        NatRouter(f"{name}c", between, shown, behaviour),
    )


def link_of(one: HiddenNode, *, outer: bool) -> IPv4Address:
    """The firewall's address on its link to the node's nearest router, or to the last one; the router has the next."""
    return _LINKS + one.number * _LINK_ADDRESSES + (5 if outer else 1)


def routing_table(one: HiddenNode) -> str:
    """The routing table of what the node sends."""
    return str(_ROUTING_TABLES + one.number)


def taken_away_argv() -> tuple[str, ...]:
    """Remove everything of ours, whatever is there."""
    return ("sh", "-c", _TAKE_AWAY, "sh", str(RULE_PREFERENCE), PREFIX, TABLE)
