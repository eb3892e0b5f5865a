"""IPv6 in a testbed's underlay for a while: which addresses nodes have there, and how a node gets and loses them.

Inventories know IPv4 alone. So each leg gets an address of a unique local prefix (RFC 4193) that says the same as its
IPv4 address: the VLAN's id, and the node's number in it. A node may be left with IPv6 alone: then its IPv4 address and
routes are in a file on the node, by which the node itself, or whoever cleans up later, sets them back without us.
For as long, every node has a name in every node's /etc/hosts, with the addresses of both families: what tells all its
clients one address of a server can tell them that.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, IPv6Network

from vpnmesh.host.strangers import RUN_DIRECTORY
from vpnmesh.model import Leg, Node, Role, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

STATE = f"{RUN_DIRECTORY}/dual-stack"
"""What is to be undone, a line each; there as long as anything of ours is."""
UNDERLAY = IPv6Network("fd76:706e:6d65::/48")
"""Of all VLANs; the forty bits after `fd` are ours for ever, so that no other network should have them."""
_VLAN_BITS = 64


class Family(IntEnum):
    """A family of addresses, as `ipaddress` numbers versions."""

    IPV4 = 4
    IPV6 = 6

    def __str__(self) -> str:
        """As people write it."""
        return f"IPv{self.value}"


Families = frozenset[Family]
IPV4_ALONE: Families = frozenset({Family.IPV4})
IPV6_ALONE: Families = frozenset({Family.IPV6})
BOTH: Families = IPV4_ALONE | IPV6_ALONE
Address = IPv4Address | IPv6Address

# functions, then what calls them: a line of the file is a word, an interface, and what was there or is ours; a new
# /etc/hosts is put in the place of the old one where that can be, for nobody may see half of it
_BACK_FUNCTION = """
hosts=/etc/hosts
put_hosts() {
  # a file that is mounted there cannot be replaced
  mv -f "$hosts.vpnmesh" "$hosts" 2> /dev/null || { cat "$hosts.vpnmesh" > "$hosts" && rm -f "$hosts.vpnmesh"; }
}
forget_names() {
  sed -n 's/^name - //p' "$1" > "$1.names"
  if [ -s "$1.names" ] && grep -qxFf "$1.names" "$hosts"; then
    cp -p "$hosts" "$hosts.vpnmesh" && { grep -vxFf "$1.names" "$hosts" > "$hosts.vpnmesh"; put_hosts; }
  fi || failed=1
  rm -f "$1.names"
}
back() {
  [ -s "$1" ] || return 0
  failed=0
  forget_names "$1"
  while read -r word interface rest; do
    case "$word" in
      ours) ip -6 address delete "$rest" dev "$interface" 2> /dev/null ;;
      way) ip -6 route delete $rest dev "$interface" 2> /dev/null ;;
      home) ip -4 -o address show dev "$interface" | grep -qF " $rest " \\
        || ip address add "$rest" dev "$interface" || failed=1 ;;
      # the words of a route are the words of the command that makes it
      route) ip -4 route replace $rest dev "$interface" || failed=1 ;;
      set) sysctl -qw "$interface=$rest" || failed=1 ;;
    esac
  done < "$1"
  [ "$failed" = 1 ] || rm -f "$1"
  return "$failed"
}
"""
_BACK = f'{_BACK_FUNCTION}back "$1"\n'
# the file is written before anything is changed, and every line is true of what was there
_GIVE = (
    _BACK_FUNCTION
    + """
file="$1" forwards="$2" alone="$3" names="$4"; shift 4
back "$file" || exit 1
mkdir -p "${file%/*}"
note() { echo "$*" >> "$file"; }
kept() { note set "$1" "$(sysctl -n "$1")"; sysctl -qw "$1=$2"; }
while [ $# -ge 4 ]; do
  interface="$1" address="$2" gateway="$3" home="$4"; shift 4
  if [ -n "$alone" ]; then
    note home "$interface" "$home"
    ip -4 -o route show dev "$interface" | grep -v 'proto kernel' \\
      | sed "s/ linkdown//; s/ dead//; s/^/route $interface /" >> "$file"
    ip -4 address delete "$home" dev "$interface" || exit 1
  fi
  note ours "$interface" "$address"
  [ -z "$gateway" ] || note way "$interface" "${gateway#* }"
  # with slashes, for an interface's name may have dots
  kept "net/ipv6/conf/$interface/disable_ipv6" 0
  ip -6 address replace "$address" dev "$interface" nodad || exit 1
  [ -z "$gateway" ] || ip -6 route replace "${gateway#* }" via "${gateway%% *}" dev "$interface" || exit 1
done
[ -z "$forwards" ] || kept net/ipv6/conf/all/forwarding 1
echo "$names" | sed 's/^/name - /' >> "$file"
cp -p "$hosts" "$hosts.vpnmesh" && echo "$names" >> "$hosts.vpnmesh" && put_hosts
"""
)


def address_of(testbed: Testbed, leg: Leg) -> IPv6Interface:
    """The leg's IPv6 address: VLAN and number as digits, `fd76:706e:6d65:20::2` for the second of VLAN 20."""
    prefix = testbed.vlan(leg.vid).prefix
    number = int(leg.address.ip) - int(prefix.network_address)
    network = int(UNDERLAY.network_address) | int(str(leg.vid), 16) << _VLAN_BITS
    return IPv6Interface((network | number, _VLAN_BITS))


def gateway_of(testbed: Testbed, vid: int) -> IPv6Address:
    """The firewall's IPv6 address in the VLAN, by which all its nodes reach the others."""
    return next(address_of(testbed, leg).ip for leg in testbed.firewall.legs if leg.vid == vid)


def addresses(testbed: Testbed, node: Node, families: Collection[Family]) -> tuple[Address, ...]:
    """The node's underlay addresses of these families, IPv6 first."""
    found: list[Address] = []
    if Family.IPV6 in families:
        found.append(address_of(testbed, node.leg).ip)
    if Family.IPV4 in families:
        found.append(node.underlay)
    return tuple(found)


def name_of(node: Node) -> str:
    """The node's name, by which others find its addresses of both families for as long as there are two."""
    return f"{node.name}.underlay.vpnmesh.internal"


def written(address: Address | str, port: int) -> str:
    """Address or name and port as one text, an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"{host(address)}:{port}"


def host(address: Address | str) -> str:
    """The address, or the name, as a URL has it."""
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def given(testbed: Testbed, node: Node, families: Families) -> Fact[Plan]:
    """Ensure that the node's legs have addresses of these families, and all names; the firewall passes IPv6 on, too.

    A node of IPv4 alone is as its inventory says but for the names: by these it finds servers that have both.
    """
    wanted = [*(line for leg in node.legs for line in _lines(testbed, leg, families)), *_names(testbed)]
    script = ("sh", "-c", _GIVE, "sh", STATE, *_words(testbed, node, families))
    named = Command(("sh", "-c", "sed -n 's/^name - //p' \"$1\" 2> /dev/null; true", "sh", STATE))
    shown = (*(Command(("ip", "-o", "address", "show", "dev", leg.interface)) for leg in node.legs), named)

    def plan(completed: Sequence[Completed]) -> Plan:
        *legs, names = completed
        held = [line for leg, one in zip(node.legs, legs, strict=True) for line in _held(testbed, leg, one)]
        held += names.stdout.splitlines()
        if held == wanted:
            return Plan()
        diff = unified_diff("underlay", "\n".join(held), "\n".join(wanted))
        return Plan((Command(script),), diff)

    return Fact(shown, plan)


def at_home() -> Fact[Plan]:
    """Ensure that the node has IPv4 as its inventory says, and no IPv6 address of ours."""

    def plan(completed: Sequence[Completed]) -> Plan:
        held = completed[0].stdout.strip()
        return Plan((go_home(),), unified_diff("IPv6 in the underlay", held, "")) if held else Plan()

    return Fact((Command(("sh", "-c", 'cat "$1" 2> /dev/null; true', "sh", STATE)),), plan)


def go_home() -> Command:
    """Undo what the node's file says; does nothing where there is none."""
    return Command(("sh", "-c", _BACK, "sh", STATE))


def _words(testbed: Testbed, node: Node, families: Families) -> Iterator[str]:
    forwards = Role.FIREWALL in node.roles
    yield "forwards" if forwards else ""
    yield "" if Family.IPV4 in families else "alone"
    yield "\n".join(_names(testbed))
    for leg in node.legs if Family.IPV6 in families else ():
        yield from (leg.interface, str(address_of(testbed, leg)))
        yield "" if forwards else f"{gateway_of(testbed, leg.vid)} {UNDERLAY}"
        yield str(leg.address)


def _names(testbed: Testbed) -> list[str]:
    """Lines of /etc/hosts: every node's name, with each of its addresses."""
    there = (node for node in testbed.nodes if node.legs)
    return [f"{address} {name_of(node)}" for node in there for address in addresses(testbed, node, BOTH)]


def _lines(testbed: Testbed, leg: Leg, families: Families) -> Iterator[str]:
    if Family.IPV4 in families:
        yield f"{leg.interface} {leg.address}"
    if Family.IPV6 in families:
        yield f"{leg.interface} {address_of(testbed, leg)}"


def _held(testbed: Testbed, leg: Leg, shown: Completed) -> Iterator[str]:
    there: tuple[IPv4Interface | IPv6Interface, ...] = (leg.address, address_of(testbed, leg))
    for address in there:
        if f" {address} " in shown.stdout:
            yield f"{leg.interface} {address}"
