"""What a live check puts on a node for a while: a default route through the firewall, and a network behind a member."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

METRIC = "4278"
"""Of the default route: no other route has it."""
BEHIND = IPv4Network("192.0.2.0/29")
"""The network behind a gateway (RFC 5737, TEST-NET-1)."""
GATE, HOST = BEHIND[1], BEHIND[2]
NAMESPACE, LINK = "vpnmesh-behind", "vmbehind0"

# constant scripts: namespace, link, the gateway's address and the host's
_MAKE = """
ip netns add "$1"
ip link add "$2" type veth peer name eth0 netns "$1"
ip address add "$3/29" dev "$2"; ip link set "$2" up
ip -n "$1" address add "$4/29" dev eth0; ip -n "$1" link set eth0 up; ip -n "$1" link set lo up
ip -n "$1" route add default via "$3"
"""
_REMOVE = 'ip netns delete "$1" 2> /dev/null; ip link delete "$2" 2> /dev/null; true'


def default_route(gateway: IPv4Address) -> Fact[Plan]:
    """Ensure a default route where there is none at all: what wants to leave the testbed comes by the firewall."""

    def plan(completed: Sequence[Completed]) -> Plan:
        held = completed[0].stdout.strip()
        if held:
            return Plan()
        add = Command(("ip", "route", "add", *_route(gateway)))
        return Plan((add,), unified_diff("default route", "", f"via {gateway}"))

    return Fact((Command(("ip", "route", "show", "default")),), plan)


def no_default_route(gateway: IPv4Address) -> Fact[Plan]:
    """Ensure that our default route is gone; another one stays."""

    def plan(completed: Sequence[Completed]) -> Plan:
        if not completed[0].stdout.strip():
            return Plan()
        remove = Command(("ip", "route", "del", *_route(gateway)), ok=(0, 2))
        return Plan((remove,), unified_diff("default route", f"via {gateway}", ""))

    return Fact((Command(("ip", "route", "show", "default", "metric", METRIC)),), plan)


def _route(gateway: IPv4Address) -> tuple[str, ...]:
    return ("default", "via", str(gateway), "metric", METRIC)


def network_behind() -> Fact[Plan]:
    """Ensure a network with one host in it behind the node, which forwards for its pod: a namespace behind a link."""
    make = Command(("sh", "-ec", _MAKE, "sh", NAMESPACE, LINK, str(GATE), str(HOST)))

    def plan(completed: Sequence[Completed]) -> Plan:
        there = completed[0].exit_code == 0
        return Plan() if there else Plan((make,), unified_diff("network behind", "", str(BEHIND)))

    return Fact((_link(),), plan)


def no_network_behind() -> Fact[Plan]:
    """Ensure that there is no such network."""
    remove = Command(("sh", "-c", _REMOVE, "sh", NAMESPACE, LINK))

    def plan(completed: Sequence[Completed]) -> Plan:
        gone = completed[0].exit_code != 0
        return Plan() if gone else Plan((remove,), unified_diff("network behind", str(BEHIND), ""))

    return Fact((_link(),), plan)


def _link() -> Command:
    return Command(("test", "-e", f"/sys/class/net/{LINK}"), ok=(0, 1))
