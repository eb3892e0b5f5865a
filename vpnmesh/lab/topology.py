"""The lab's network as a value: bridges, ports, addresses and routes, and the commands that make them. Pure.

One bridge per VLAN (a VLAN is a broadcast domain; that needs no 802.1q), and a management bridge whose node
ports are isolated from each other, because VPN clients try every interface they find.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vpnmesh.errors import InputError
from vpnmesh.model import Node, NodeKind, Role, Testbed, first_duplicate

Argv = tuple[str, ...]

UPLINK = "vml0"
MANAGEMENT_BRIDGE = "br-mgmt"
MANAGEMENT_INTERFACE = "mgmt0"
MANAGEMENT_PREFIX_LENGTH = 24
_UPLINK_PORT = "uplink"
_MAX_RATE_MBIT_S = 100_000
# far from any index inside: the kernel delays a veth by 1 s if both ends have the same one
# (net/core/link_watch.c then takes it for no veth, and its carrier for not urgent)
_CONTROLLER_INDEX = "213000"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


@dataclass(frozen=True, slots=True)
class Step:
    """Commands that belong together under a name, which timings and errors show."""

    name: str
    commands: tuple[Argv, ...]


@dataclass(frozen=True, slots=True)
class BridgePort:
    """A veth: `name` is its end on `bridge`, `interface` its end in the node, which carries `address`."""

    bridge: str
    name: str
    node: str
    interface: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True)
class Route:
    """A node's way to a prefix that it is not in."""

    node: str
    prefix: IPv4Network
    via: IPv4Address


@dataclass(frozen=True, slots=True)
class Topology:
    """All links, addresses and routes of a lab; `port_rate_mbit_s` None leaves the VLAN ports unshaped."""

    nodes: tuple[str, ...]
    firewalls: frozenset[str]
    management: IPv4Network
    controller: IPv4Interface
    management_ports: tuple[BridgePort, ...]
    vlan_ports: tuple[BridgePort, ...]
    routes: tuple[Route, ...]
    port_rate_mbit_s: float | None

    @property
    def ports(self) -> tuple[BridgePort, ...]:
        """Every port of every node, management first."""
        return self.management_ports + self.vlan_ports


def plan_topology(testbed: Testbed, *, port_rate_mbit_s: float | None) -> Topology:
    """The network of a testbed as a lab; InputError where namespaces cannot emulate it."""
    _check_names(testbed)
    if port_rate_mbit_s is not None and not 1 <= port_rate_mbit_s <= _MAX_RATE_MBIT_S:
        raise InputError("port rate", f"{port_rate_mbit_s:g} Mbit/s is not in [1, {_MAX_RATE_MBIT_S}]")
    management, controller = _management(testbed)
    return Topology(
        nodes=tuple(node.name for node in testbed.nodes),
        firewalls=frozenset(node.name for node in testbed.with_role(Role.FIREWALL)),
        management=management,
        controller=controller,
        management_ports=tuple(
            BridgePort(
                MANAGEMENT_BRIDGE,
                f"mgmt-{index}",
                node.name,
                _management_interface(node),
                IPv4Interface(f"{node.management}/{MANAGEMENT_PREFIX_LENGTH}"),
            )
            for index, node in enumerate(testbed.nodes)
        ),
        vlan_ports=tuple(
            BridgePort(_bridge(leg.vid), f"v{leg.vid}-{index}", node.name, leg.interface, leg.address)
            for index, node in enumerate(testbed.nodes)
            for leg in node.legs
        ),
        routes=tuple(_routes(testbed)),
        port_rate_mbit_s=port_rate_mbit_s,
    )


def _bridge(vid: int) -> str:
    return f"br-vlan{vid}"


def _management_interface(node: Node) -> str:
    return node.management_interface or MANAGEMENT_INTERFACE


def _check_names(testbed: Testbed) -> None:
    if twice := first_duplicate(node.name for node in testbed.nodes):
        raise InputError(f"host {twice}", "is there twice")
    for node in testbed.nodes:
        if node.kind is not NodeKind.NETNS:
            way_out = "a lab builds nodes of kind: netns"
            raise InputError(f"host {node.name}, kind", f"'{node.kind}' is none of a lab", way_out)
        if not _NAME.fullmatch(node.name):
            raise InputError(f"host {node.name}", "is no host name", "use letters, digits and inner hyphens")
        interfaces = [_management_interface(node), *(leg.interface for leg in node.legs)]
        for interface in interfaces:
            if not _INTERFACE_NAME.fullmatch(interface):
                raise InputError(f"host {node.name}", f"'{interface}' is no interface name")
        if twice := first_duplicate(["lo", *interfaces]):
            raise InputError(f"host {node.name}", f"interface {twice} is there twice")


def _management(testbed: Testbed) -> tuple[IPv4Network, IPv4Interface]:
    """The one /24 of all management addresses, and its lowest free address for the controller."""
    addresses = _management_addresses(testbed)
    if not addresses:
        raise InputError("inventory", "has no hosts")
    network = IPv4Interface(f"{next(iter(addresses))}/{MANAGEMENT_PREFIX_LENGTH}").network
    hosts = frozenset(network.hosts())
    for address, name in addresses.items():
        if address not in hosts:
            way_out = "a lab's management is one /24"
            raise InputError(f"host {name}, hostname", f"{address} is no host of {network}", way_out)
    for vlan in testbed.vlans:
        if vlan.prefix.overlaps(network):
            raise InputError(f"vlan {vlan.vid}, prefix", f"{vlan.prefix} overlaps the management's {network}")
    free = min(hosts - addresses.keys())
    return network, IPv4Interface(f"{free}/{network.prefixlen}")


def _management_addresses(testbed: Testbed) -> dict[IPv4Address, str]:
    """Management addresses, each with the node that has it."""
    owners: dict[IPv4Address, str] = {}
    for node in testbed.nodes:
        try:
            address = IPv4Address(node.management)
        except ValueError:
            raise InputError(
                f"host {node.name}, hostname",
                f"'{node.management}' is no IPv4 address",
                "a lab makes its own management network and needs addresses, not names",
            ) from None
        if address in owners:
            raise InputError(f"host {node.name}, hostname", f"{address} is also {owners[address]}'s")
        owners[address] = node.name
    return owners


def _routes(testbed: Testbed) -> Iterator[Route]:
    """To every VLAN that a node is not in, through the gateway of its own; never a default route."""
    for node in testbed.nodes:
        own = {leg.vid for leg in node.legs}
        if Role.FIREWALL in node.roles or not own:
            continue
        gateway = testbed.vlan(node.leg.vid).gateway
        for vlan in testbed.vlans:
            if vlan.vid not in own:
                yield Route(node.name, vlan.prefix, gateway)


def build_steps(topology: Topology, *, port_isolation: bool) -> tuple[Step, ...]:
    """What the lab's init runs in the outer namespace, in order; `ip netns` names the nodes' namespaces."""
    return (
        Step("namespaces", tuple(("ip", "netns", "add", name) for name in topology.nodes)),
        Step("management network", tuple(_management_commands(topology, port_isolation=port_isolation))),
        Step("vlans", tuple(_vlan_commands(topology))),
        Step("addresses and routes", tuple(_node_commands(topology))),
        *([Step("port rate", tuple(_rate_commands(topology)))] if topology.port_rate_mbit_s else []),
    )


def _make_bridge(name: str) -> Iterator[Argv]:
    # no STP means no learning delay; no snooping means no querier is needed for multicast
    yield ("ip", "link", "add", name, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
    yield ("ip", "link", "set", name, "up")


def _make_port(port: BridgePort) -> Iterator[Argv]:
    peer = ("peer", "name", port.interface, "netns", port.node)
    yield ("ip", "link", "add", port.name, "type", "veth", *peer)
    yield ("ip", "link", "set", port.name, "master", port.bridge, "up")


def _management_commands(topology: Topology, *, port_isolation: bool) -> Iterator[Argv]:
    yield ("ip", "link", "set", "lo", "up")
    yield from _make_bridge(MANAGEMENT_BRIDGE)
    for port in topology.management_ports:
        yield from _make_port(port)
        if port_isolation:
            yield ("ip", "link", "set", port.name, "type", "bridge_slave", "isolated", "on")
    if not port_isolation:
        chain = "{ type filter hook forward priority 0; policy accept; }"
        yield ("nft", "add", "table", "bridge", "lab")
        yield ("nft", "add", "chain", "bridge", "lab", "isolation", chain)
        match = ("iifname", "mgmt-*", "oifname", "mgmt-*")
        yield ("nft", "add", "rule", "bridge", "lab", "isolation", *match, "drop")


def _vlan_commands(topology: Topology) -> Iterator[Argv]:
    for bridge in dict.fromkeys(port.bridge for port in topology.vlan_ports):
        yield from _make_bridge(bridge)
    for port in topology.vlan_ports:
        yield from _make_port(port)


def _node_commands(topology: Topology) -> Iterator[Argv]:
    for node in topology.nodes:
        inside = ("ip", "-n", node)
        yield (*inside, "link", "set", "lo", "up")
        for port in topology.ports:
            if port.node == node:
                yield (*inside, "addr", "add", str(port.address), "dev", port.interface)
                yield (*inside, "link", "set", port.interface, "up")
        for route in topology.routes:
            if route.node == node:
                yield (*inside, "route", "add", str(route.prefix), "via", str(route.via))


def _rate_commands(topology: Topology) -> Iterator[Argv]:
    """On the bridge's side of every port, so that the node's own root qdisc stays free for impairments."""
    rate = f"{round((topology.port_rate_mbit_s or 0) * 1000)}kbit"
    for port in topology.vlan_ports:
        shape = ("tbf", "rate", rate, "burst", "256k", "latency", "20ms")
        yield ("tc", "qdisc", "replace", "dev", port.name, "root", *shape)


def controller_steps(topology: Topology, init_pid: int) -> Step:
    """What the controller runs in its own namespace: the one veth that leads into the lab."""
    peer = ("peer", "name", _UPLINK_PORT, "netns", str(init_pid))
    # a given address is one that udev leaves alone; a late change would leave the nodes with a stale neighbour
    own = ("index", _CONTROLLER_INDEX, "address", f"02:76:{topology.controller.ip.packed.hex(':')}")
    return Step(
        "controller's link",
        (
            ("ip", "link", "add", UPLINK, *own, "type", "veth", *peer),
            ("ip", "addr", "add", str(topology.controller), "dev", UPLINK),
            ("ip", "link", "set", UPLINK, "up"),
        ),
    )


def uplink_step() -> Step:
    """What the init runs once the controller's link has arrived."""
    return Step("uplink", (("ip", "link", "set", _UPLINK_PORT, "master", MANAGEMENT_BRIDGE, "up"),))


OUTER_SYSCTLS = (
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    # the controller's link may have arrived before the line above was written
    ("net/ipv6/conf/all/disable_ipv6", "1"),
)


def node_sysctls(topology: Topology, node: str) -> tuple[tuple[str, str], ...]:
    """What a node's network namespace is set to, in order; only the firewall forwards, never to management.

    The underlay is IPv4 alone: ports have IPv6 off, the stack stays for what an overlay may want.
    A namespace inherits the machine's settings, so each one that matters is written.
    """
    forwards = node in topology.firewalls
    general = (
        ("net/ipv4/ip_forward", str(int(forwards))),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/ping_group_range", "0 2147483647"),
    )
    ports = tuple(
        setting
        for port in topology.ports
        if port.node == node
        for setting in (
            (f"net/ipv4/conf/{port.interface}/rp_filter", "0"),
            (f"net/ipv4/conf/{port.interface}/send_redirects", "0"),
            (f"net/ipv6/conf/{port.interface}/disable_ipv6", "1"),
        )
    )
    management = tuple(
        (f"net/ipv4/conf/{port.interface}/forwarding", "0")
        for port in topology.management_ports
        if port.node == node
    )
    return (*general, *ports, *management)
