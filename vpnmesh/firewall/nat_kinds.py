"""The kinds of NAT that a node can be put behind, and the routers on the firewall node that make them.

Each node gets a router of its own: a network namespace between its port and the rest of the firewall, with its own
table of connections, since two NATs in one table get in each other's way (docs/decisions/0123-a-router-per-node.md).
All that is made has one prefix, and `taken_away_argv` removes it whatever state a crash left it in. The words are those
of RFC 4787.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from vpnmesh.errors import UnavailableError, UnknownNameError
from vpnmesh.firewall.policy import HTTPS_PORT
from vpnmesh.host import dual_stack, roaming
from vpnmesh.host.dual_stack import BOTH, IPV4_ALONE, IPV6_ALONE, Address, Families
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
    """How a kind treats packets; `routers` is how many lie in series, `tcp_port` the only one let out.

    `families` are those of the addresses that a node behind it has where the rest has both; where the rest is IPv4
    alone every kind but IPv6's is that. IPv6 is not translated.
    """

    words: str
    mapping: Depends = Depends.NOTHING
    filtering: Depends = Depends.ADDRESS_AND_PORT
    routers: int = 1
    udp: bool = True
    tcp_port: int | None = None
    hairpins: bool = True
    families: Families = IPV4_ALONE

    @property
    def translates(self) -> bool:
        """Whether others see another address than the node's own."""
        return bool(self.routers) and self.families == IPV4_ALONE


BEHAVIOURS: Mapping[NatKind, Behaviour] = {
    NatKind.NONE: Behaviour("no translation", filtering=Depends.NOTHING, routers=0, families=BOTH),
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
    NatKind.IPV6_ONLY: Behaviour(
        "no IPv4; IPv6 untranslated, open to ports that were written to", families=IPV6_ALONE
    ),
}
"""What each kind does."""

PREFIX = "vmnat"
"""Namespaces and the table begin with it, interfaces of the firewall with `vmi` and `vmo`."""
TABLE = f"{PREFIX}_guard"
RULE_PREFERENCE = 7320
_ROUTING_TABLES, _BACK_TABLES = 17320, 10
MAPPING_S = 300
"""How long a mapping stays open to others without traffic; RFC 4787 (section 4.3) recommends five minutes."""
_LINKS = IPv4Address("169.254.160.0")
_CARRIER_LINKS = IPv4Address("100.64.160.0")
_IPV6_LINKS = dual_stack.UNDERLAY[-1] - 0xFFFF
"""In the last /64 of the prefix, which is no VLAN's: ids end at 4094."""
_LINK_ADDRESSES = 8

# constant script; what is not there is no error
_TAKE_AWAY = """
for table in $(ip -6 rule show pref "$1" 2> /dev/null | sed -n 's/.* lookup //p'); do
  ip -6 route flush table "$table"
done
for family in -4 -6; do while ip "$family" rule del pref "$1" 2> /dev/null; do :; done; done
ip -o link show type veth | sed -n 's/^[0-9]*: \\(vm[io][0-9]*\\)[@:].*/\\1/p' \\
  | while read -r link; do ip link del "$link"; done
for space in $(ip netns list 2> /dev/null | cut -d ' ' -f 1 | grep "^$2"); do ip netns del "$space"; done
nft delete table inet "$3" 2> /dev/null
true
"""


@dataclass(frozen=True, slots=True)
class NatRouter:
    """One router: a namespace, the address that it hides, and the one that it shows, which in IPv6 is the same."""

    namespace: str
    inside: Address
    outside: Address
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
    def shown(self) -> Address:
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
    """The nodes that get routers; UnavailableError without a free address, or where two would be behind one port.

    Two nodes of one VLAN reach each other past the firewall, so no router stands between them.
    """
    chosen = [(testbed.node(name), kind) for name, kind in kinds.items() if kind is not NatKind.NONE]
    _refuse_one_vlan(testbed, kinds, [node for node, _ in chosen])
    return tuple(
        HiddenNode(node, kind, number, _port(testbed, node), _routers(testbed, node, kind, number))
        for number, (node, kind) in enumerate(chosen)
    )


def _refuse_one_vlan(testbed: Testbed, kinds: Mapping[str, NatKind], hidden: Sequence[Node]) -> None:
    """UnavailableError where a hidden node's packets to another of these nodes would pass no router."""
    for node in hidden:
        for name in kinds:
            if name != node.name and testbed.node(name).leg.vid == node.leg.vid:
                raise UnavailableError(
                    f"{node.name} and {name} are both in VLAN {node.leg.vid}, so no router of the firewall stands"
                    " between them; take ends in two VLANs"
                )


def shown_address(testbed: Testbed, node: Node) -> IPv4Address:
    """The last free address of the node's VLAN: others reach it on the same way as the node."""
    free = roaming.free_address(testbed, node)
    if free is None:
        prefix = testbed.vlan(node.leg.vid).prefix
        raise UnavailableError(f"{prefix} has no free address that {node.name}'s router could show")
    return free.ip


def shown_addresses(testbed: Testbed, kinds: Mapping[str, NatKind]) -> dict[str, Address]:
    """The address that others see of each node that is behind a router."""
    return {one.node.name: one.shown for one in hidden_nodes(testbed, kinds)}


def families_of(kinds: Mapping[str, NatKind]) -> dict[str, Families]:
    """The families of addresses that each of these nodes has where the rest of the underlay has both."""
    return {name: BEHAVIOURS[kind].families for name, kind in kinds.items()}


def _port(testbed: Testbed, node: Node) -> str:
    return next(leg.interface for leg in testbed.firewall.legs if leg.vid == node.leg.vid)


def _routers(testbed: Testbed, node: Node, kind: NatKind, number: int) -> tuple[NatRouter, ...]:
    behaviour, name = BEHAVIOURS[kind], f"{PREFIX}{number}"
    if not behaviour.translates:
        own = dual_stack.address_of(testbed, node.leg).ip
        return (NatRouter(name, own, own, behaviour),)
    shown = shown_address(testbed, node)
    if behaviour.routers == 1:
        return (NatRouter(name, node.underlay, shown, behaviour),)
    between = _CARRIER_LINKS + number * _LINK_ADDRESSES + 2
    return (
        NatRouter(name, node.underlay, between, behaviour),
        NatRouter(f"{name}c", between, shown, behaviour),
    )


def link_of(one: HiddenNode, *, outer: bool) -> Address:
    """The firewall's address on its link to the node's nearest router, or to the last one; the router has the next."""
    links = _LINKS if one.routers[0].behaviour.translates else _IPV6_LINKS
    return links + one.number * _LINK_ADDRESSES + (5 if outer else 1)


def routing_table(one: HiddenNode, *, back: bool = False) -> str:
    """The routing table of what the node sends, or of what comes `back` to it from its router, where that needs one."""
    return str(_ROUTING_TABLES + one.number + (_BACK_TABLES if back else 0))


def taken_away_argv() -> tuple[str, ...]:
    """Remove everything of ours, whatever is there."""
    return ("sh", "-c", _TAKE_AWAY, "sh", str(RULE_PREFERENCE), PREFIX, TABLE)
