"""A node's underlay address becomes another one of its VLAN, as when a machine moves, and its own one again.

The routes over the interface are kept: they go with its last address, and are set again at once. What is to be set
back is in a file on the node, so that the node itself, or whoever cleans up later, can do it without us.
"""

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network

from vpnmesh.host.strangers import RUN_DIRECTORY
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, WriteFile, unified_diff

STATE = f"{RUN_DIRECTORY}/roaming"
"""INTERFACE HOME AWAY, with prefix lengths, while the node is away from home; then the routes that it had there."""

# functions, then what calls them: `swap` from address $2 to $3 on $1, and `routed` sets the routes that it reads; the
# kernel makes the VLAN's own route by itself, and takes all others away with the interface's last address
_FUNCTIONS = """
swap() {
  ip -4 address delete "$2" dev "$1" 2> /dev/null
  ip -4 -o address show dev "$1" | grep -qF " $3 " || ip address add "$3" dev "$1"
}
routed() {
  while read -r line; do
    # the words of a route are the words of the command that makes it
    [ -z "$line" ] || ip -4 route replace $line dev "$1" || exit 1
  done
}
"""
_AWAY = (
    _FUNCTIONS
    + """
file="$1" interface="$2" home="$3" away="$4"
ip -4 -o route show dev "$interface" | grep -v 'proto kernel' | sed 's/ linkdown//; s/ dead//' >> "$file"
swap "$interface" "$home" "$away" || exit 1
tail -n +2 "$file" | sed "s/ src ${home%/*}\\b/ src ${away%/*}/" | routed "$interface"
"""
)
_HOME = (
    _FUNCTIONS
    + """
[ -s "$1" ] || exit 0
read -r interface home away < "$1" && swap "$interface" "$away" "$home" || exit 1
tail -n +2 "$1" | routed "$interface" && rm -f "$1"
"""
)


def free_address(testbed: Testbed, node: Node) -> IPv4Interface | None:
    """The last address of the node's VLAN that the testbed uses for nothing; None where there is none."""
    prefix = testbed.vlan(node.leg.vid).prefix
    used = {leg.address.ip for one in testbed.nodes for leg in one.legs}
    used |= {testbed.vlan(node.leg.vid).gateway, *testbed.dns_servers, *testbed.ntp_servers}
    last = int(prefix.broadcast_address)
    nearest = (
        prefix[number - int(prefix.network_address)] for number in range(last - 1, _lowest(prefix), -1)
    )
    return next((IPv4Interface((one, prefix.prefixlen)) for one in nearest if one not in used), None)


def _lowest(prefix: IPv4Network) -> int:
    return int(prefix.network_address)


def cannot_roam(node: Node) -> str:
    """Why this node's address cannot be changed without risk; "" where it can."""
    if node.management == str(node.underlay):
        return f"{node.name} is logged in to by its underlay address"
    if node.management_interface == node.leg.interface:
        return f"{node.name}'s underlay interface {node.leg.interface} also carries its management"
    return ""


def answered(address: IPv4Interface) -> Fact[bool]:
    """Whether somebody has that address already."""
    question = Command(("ping", "-n", "-q", "-c", "2", "-W", "1", str(address.ip)), timeout_s=5, ok=(0, 1, 2))
    return Fact((question,), lambda completed: completed[0].exit_code == 0)


def away(node: Node, address: IPv4Interface) -> Fact[Plan]:
    """Ensure that the node has this address instead of its own."""
    interface, home = node.leg.interface, node.leg.address

    def plan(completed: Sequence[Completed]) -> Plan:
        held = completed[0].stdout
        if f" {address} " in held and f" {home} " not in held:
            return Plan()
        steps = (
            WriteFile(STATE, f"{interface} {home} {address}\n"),
            Command(("sh", "-c", _AWAY, "sh", STATE, interface, str(home), str(address))),
        )
        return Plan(steps, unified_diff(f"address of {interface}", str(home), str(address)))

    return Fact((Command(("ip", "-4", "-o", "address", "show", "dev", interface)),), plan)


def at_home() -> Fact[Plan]:
    """Ensure that the node has its own address again, as its file says; already so where there is none."""

    def plan(completed: Sequence[Completed]) -> Plan:
        held = "".join(completed[0].stdout.splitlines()[:1])
        return Plan((go_home(),), unified_diff("changed address", held, "")) if held else Plan()

    return Fact((Command(("sh", "-c", 'cat "$1" 2> /dev/null; true', "sh", STATE)),), plan)


def go_home() -> Command:
    """Set the node's own address again, whatever it is now; does nothing where it was not changed."""
    return Command(("sh", "-c", _HOME, "sh", STATE))
