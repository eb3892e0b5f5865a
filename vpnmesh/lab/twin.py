"""A rehearsal twin: somebody's testbed as a lab, and in which respects the two differ. Pure.

Names, roles, VLAN ids, prefixes, underlay addresses and interfaces stay; what a lab cannot have (management by name, a
login, an appliance as the firewall, a rate of its own per port) is replaced, and every replacement is a `Difference`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from vpnmesh.documents.inventory_text import Entry, InventoryText
from vpnmesh.errors import InputError
from vpnmesh.firewall.nftables import is_linux_router
from vpnmesh.lab.topology import MANAGEMENT_INTERFACE, MANAGEMENT_PREFIX_LENGTH
from vpnmesh.model import Node, NodeKind, Role, Testbed
from vpnmesh.testbed import MARK, VLAN_PREFIX, HostRecord, InventoryRecords, build_testbed

MOST_NODES = 24
SUFFIX = "-twin"
FIREWALL_DRIVER = "firewall_driver"
_FIRST_HOST = 11
_RANGE = IPv4Network("198.18.0.0/15")
_PREFERRED = IPv4Network("198.18.213.0/24")
_FREE_INTERFACES = (MANAGEMENT_INTERFACE, "mgmt1", "vmlmgmt0")
_HOST_KEYS = ("underlay", "interface", "legs")
_VLAN_KEYS = ("name", "prefix", "gateway")
_DEFAULT_KEYS = ("overlay", "pods", "dns_servers", "ntp_servers")


@dataclass(frozen=True, slots=True)
class Difference:
    """One respect in which the twin is not the testbed."""

    matter: str
    real: str
    twin: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What all nodes of a twin share: this machine's cores, its kernel, and the rate of the lab's ports."""

    cores: int
    kernel: str
    port_rate_mbit_s: float | None


@dataclass(frozen=True, slots=True)
class Twin:
    """The lab's inventory that is like another one, the testbeds that both mean, and the data of the real hosts."""

    text: InventoryText
    testbed: Testbed
    real: Testbed
    real_data: Mapping[str, Mapping[str, object]]


def plan_twin(like: InventoryText, login: Entry, place: str, taken: Sequence[IPv4Network] = ()) -> Twin:
    """The twin of an inventory; `login` is how a lab is logged in to (the defaults of the lab's own inventory).

    Management is a /24 outside of all that the testbed uses and of `taken`, the networks that this machine knows.
    InputError where the inventory is wrong, or is none that a lab can be like.
    """
    records = like.records(place)
    real = build_testbed(records)
    if len(real.nodes) > MOST_NODES:
        raise InputError(
            place, f"{len(real.nodes)} nodes", f"a twin has at most {MOST_NODES}: select a part of them"
        )
    management = _management(real, taken, place)
    text = InventoryText(
        {host.name: _host(host, str(management[_FIRST_HOST + n])) for n, host in enumerate(records.hosts)},
        _groups(records),
        {**login, "data": _defaults(records, real)},
    )
    testbed = build_testbed(text.records(f"the twin of {place}"))
    return Twin(text, testbed, real, {host.name: host.data for host in records.hosts})


def _management(real: Testbed, taken: Sequence[IPv4Network], place: str) -> IPv4Network:
    used = [*taken, real.overlay, real.pods, *(vlan.prefix for vlan in real.vlans)]
    candidates: tuple[IPv4Network, ...] = (_PREFERRED, *_RANGE.subnets(new_prefix=MANAGEMENT_PREFIX_LENGTH))
    for network in candidates:
        if not any(network.overlaps(other) for other in used):
            return network
    raise InputError(
        place, f"no /24 of {_RANGE} is free for the twin's management", "take a route or a VLAN out of it"
    )


def _host(host: HostRecord, management: str) -> Entry:
    """Groups as they are; of the data only what says where the node is: no secret and no login comes along."""
    kept = {key: host.data[key] for key in _HOST_KEYS if key in host.data}
    # a twin is nobody's: all of it may be changed, whatever its original says of itself
    data = {MARK: True, "kind": str(NodeKind.NETNS), **kept, "management_interface": _interface(host)}
    return {"hostname": management, "groups": list(host.groups), "data": data}


def _interface(host: HostRecord) -> str:
    """The name of the management interface: the real one where that is a port of its own."""
    legs = host.data.get("legs")
    underlay = {host.data.get("interface"), *(legs.values() if isinstance(legs, Mapping) else ())}
    wanted = host.data.get("management_interface")
    names = [str(wanted), *_FREE_INTERFACES] if wanted else [*_FREE_INTERFACES]
    return next(name for name in names if name not in underlay)


def _groups(records: InventoryRecords) -> dict[str, Entry]:
    """The groups that hosts are in; of their data only the VLANs'."""
    used = dict.fromkeys(group for host in records.hosts for group in host.groups)
    vlans = (group for group in records.groups if group.startswith(VLAN_PREFIX))
    return {group: _group(group, records.groups[group]) for group in dict.fromkeys((*used, *vlans))}


def _group(name: str, data: Mapping[str, object]) -> Entry:
    if not name.startswith(VLAN_PREFIX):
        return {}
    return {"data": {key: _plain(data[key]) for key in _VLAN_KEYS if key in data}}


def _defaults(records: InventoryRecords, real: Testbed) -> Entry:
    kept = {key: _plain(records.defaults[key]) for key in _DEFAULT_KEYS if key in records.defaults}
    return {"testbed": f"{real.name}{SUFFIX}", **kept}


def _plain(value: object) -> object:
    """As YAML writes it."""
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return str(value)


def port_rate_of(real: Testbed, otherwise: float) -> float:
    """The rate of the twin's ports in Mbit/s: the least that the inventory states, where that is below the lab's."""
    members = (node for node in real.nodes if Role.FIREWALL not in node.roles)
    return min(otherwise, *(node.link_mbit_s or otherwise for node in members))


def differences(twin: Twin, machine: Machine) -> tuple[Difference, ...]:
    """Everything that the twin has otherwise than the testbed, as far as the inventory tells."""
    return tuple(_differences(twin, machine))


def _differences(twin: Twin, machine: Machine) -> Iterator[Difference]:
    real, rate = twin.real, machine.port_rate_mbit_s
    yield Difference("machines", _kinds(real), "namespaces of one machine, without systemd")
    yield Difference("cores", _stated(real.nodes, "cores"), f"{machine.cores}, shared by all nodes")
    yield Difference("kernel", "each node's own", f"{machine.kernel}, one kernel and one clock for all")
    shaped = "unshaped" if rate is None else f"every port {rate:g} Mbit/s"
    yield Difference("rates", _stated(real.nodes, "link_mbit_s", " Mbit/s"), shaped)
    yield Difference("network cards", "real ones, with offloads and queues", "virtual pairs")
    yield Difference("switch", "a switch with VLANs", "a bridge per VLAN, no tags on the wire")
    yield _firewall(twin)
    yield from _reached(twin)
    if servers := (*real.dns_servers, *real.ntp_servers):
        yield Difference(
            "DNS and NTP servers", ", ".join(map(str, servers)), "open in policies, nobody there"
        )


def _kinds(testbed: Testbed) -> str:
    counts = {kind: sum(node.kind is kind for node in testbed.nodes) for kind in NodeKind}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _stated(nodes: Iterable[Node], key: str, unit: str = "") -> str:
    told = [(node.name, getattr(node, key)) for node in nodes if getattr(node, key) is not None]
    return ", ".join(f"{name} {value:g}{unit}" for name, value in told) or "the inventory does not say"


def _firewall(twin: Twin) -> Difference:
    name = twin.real.firewall.name
    driver = twin.real_data[name].get(FIREWALL_DRIVER)
    real = f"{name} by driver {driver}" if driver else f"{name}, a Linux router"
    if is_linux_router(driver):
        return Difference("firewall", real, "nftables of this machine's kernel")
    return Difference(
        "firewall", real, "nftables: the same policies, but nothing of that firewall's own is rehearsed"
    )


def _reached(twin: Twin) -> Iterator[Difference]:
    """How the controller gets to the nodes."""
    first, last = twin.testbed.nodes[0].management, twin.testbed.nodes[-1].management
    named = [node.management for node in twin.real.nodes]
    yield Difference("management", f"{named[0]} to {named[-1]}", f"{first} to {last}, login by the lab's key")
    shared = [
        node.name
        for node in twin.real.nodes
        if node.management_interface in {leg.interface for leg in node.legs}
    ]
    if shared:
        said = f"on the underlay's interface of {', '.join(shared)}"
        yield Difference("management's interface", said, "a port of its own on every node")
