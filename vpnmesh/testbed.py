"""From inventory records to one validated `Testbed`; every error names the place, the host and the key.

YAML and NetBox end in the same records, so both are judged by the same rules (paper, section 3.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NoReturn

from vpnmesh.errors import InputError
from vpnmesh.model import FORWARDING_ROLES, Leg, Node, NodeKind, Role, Testbed, Vlan

ROLE_PREFIX = "role__"
VLAN_PREFIX = "vlan__"
SITE_PREFIX = "site__"


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A host as an inventory has it: its management address, its groups, and its own data."""

    name: str
    hostname: str
    groups: tuple[str, ...]
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class InventoryRecords:
    """What every inventory comes down to; `place` is the file or URL that errors name."""

    place: str
    hosts: tuple[HostRecord, ...]
    groups: Mapping[str, Mapping[str, object]]
    defaults: Mapping[str, object] = field(default_factory=dict)


def build_testbed(records: InventoryRecords) -> Testbed:
    """Return the testbed that the records describe, or raise InputError at the first thing that is wrong."""
    vlans = _vlans(records)
    nodes = tuple(_node(records, host, vlans) for host in records.hosts)
    testbed = Testbed(
        name=str(records.defaults.get("testbed", "testbed")),
        nodes=nodes,
        vlans=tuple(vlans.values()),
        overlay=_network(records.place, "defaults", "overlay", records.defaults.get("overlay")),
        pods=_network(records.place, "defaults", "pods", records.defaults.get("pods")),
        allow_virtual_forwarding=records.defaults.get("allow_virtual_forwarding") is True,
        dns_servers=_servers(records, "dns_servers"),
        ntp_servers=_servers(records, "ntp_servers"),
    )
    _check_roles(records.place, testbed)
    _check_addresses(records.place, testbed)
    _check_vlans(records.place, testbed)
    _check_kinds(records.place, testbed)
    return testbed


def _refuse(place: str, host: str, key: str, problem: str, way_out: str = "") -> NoReturn:
    raise InputError(f"{place}: {host}: {key}", problem, way_out)


def _network(place: str, host: str, key: str, value: object) -> IPv4Network:
    try:
        return IPv4Network(str(value))
    except ValueError:
        _refuse(place, host, key, f"'{value}' is no IPv4 prefix", "write for example 10.0.0.0/24")


def _servers(records: InventoryRecords, key: str) -> tuple[IPv4Address, ...]:
    value = records.defaults.get(key) or []
    if not isinstance(value, Sequence) or isinstance(value, str):
        _refuse(records.place, "defaults", key, f"'{value}' is no list", "write for example [10.0.0.53]")
    try:
        return tuple(IPv4Address(str(address)) for address in value)
    except ValueError as error:
        _refuse(records.place, "defaults", key, str(error), "write IPv4 addresses")


def _interface(place: str, host: str, key: str, value: object) -> IPv4Interface:
    try:
        interface = IPv4Interface(str(value))
    except ValueError:
        _refuse(
            place, host, key, f"'{value}' is no IPv4 address with prefix", "write for example 10.0.0.2/24"
        )
    if "/" not in str(value):
        _refuse(place, host, key, f"'{value}' has no prefix length", f"write {value}/24 or what is right")
    return interface


def _vlans(records: InventoryRecords) -> dict[int, Vlan]:
    vlans: dict[int, Vlan] = {}
    for group, data in records.groups.items():
        if not group.startswith(VLAN_PREFIX):
            continue
        vid = _vid(records.place, group)
        prefix = _network(records.place, group, "prefix", data.get("prefix"))
        try:
            gateway = IPv4Address(str(data.get("gateway")))
        except ValueError:
            _refuse(records.place, group, "gateway", f"'{data.get('gateway')}' is no IPv4 address")
        if gateway not in prefix:
            _refuse(records.place, group, "gateway", f"{gateway} is outside the VLAN's prefix {prefix}")
        vlans[vid] = Vlan(vid, str(data.get("name", group)), prefix, gateway)
    return vlans


def _vid(place: str, group: str) -> int:
    text = group.removeprefix(VLAN_PREFIX)
    if not text.isdecimal() or not 1 <= int(text) <= 4094:  # noqa: PLR2004 - IEEE 802.1Q
        _refuse(place, group, "group", f"'{text}' is no VLAN id", "VLAN groups are vlan__1 to vlan__4094")
    return int(text)


def _node(records: InventoryRecords, host: HostRecord, vlans: Mapping[int, Vlan]) -> Node:
    place = records.place
    roles = _roles(place, host)
    vids = tuple(_vid(place, group) for group in host.groups if group.startswith(VLAN_PREFIX))
    if not vids:
        _refuse(place, host.name, "groups", "no VLAN", "add one group vlan__ID")
    for vid in vids:
        if vid not in vlans:
            _refuse(place, host.name, "groups", f"vlan__{vid} is not defined", f"known are: {sorted(vlans)}")
    firewall = Role.FIREWALL in roles
    if len(vids) > 1 and not firewall:
        _refuse(place, host.name, "groups", f"in VLANs {list(vids)}", "only the firewall is in more than one")
    legs = _firewall_legs(place, host, vids, vlans) if firewall else (_leg(place, host, vlans[vids[0]]),)
    try:
        kind = NodeKind(str(host.data.get("kind")))
    except ValueError:
        _refuse(place, host.name, "kind", f"'{host.data.get('kind')}' is none of {', '.join(NodeKind)}")
    if not host.hostname:
        _refuse(place, host.name, "hostname", "missing", "write the management address")
    return Node(
        name=host.name,
        kind=kind,
        roles=roles,
        management=host.hostname,
        legs=legs,
        site=next(
            (group.removeprefix(SITE_PREFIX) for group in host.groups if group.startswith(SITE_PREFIX)), ""
        ),
        management_interface=str(
            host.data.get("management_interface", records.defaults.get("management_interface", ""))
        ),
    )


def _roles(place: str, host: HostRecord) -> frozenset[Role]:
    slugs = [group.removeprefix(ROLE_PREFIX) for group in host.groups if group.startswith(ROLE_PREFIX)]
    if not slugs:
        _refuse(
            place,
            host.name,
            "groups",
            "missing role",
            f"add one of: {', '.join(ROLE_PREFIX + r for r in Role)}",
        )
    for slug in slugs:
        if slug not in list(Role):
            _refuse(place, host.name, "groups", f"unknown role '{slug}'", f"known are: {', '.join(Role)}")
    return frozenset(Role(slug) for slug in slugs)


def _leg(place: str, host: HostRecord, vlan: Vlan) -> Leg:
    address = _interface(place, host.name, "underlay", host.data.get("underlay"))
    interface = str(host.data.get("interface") or "")
    if not interface:
        _refuse(place, host.name, "interface", "missing", "write the name of the underlay interface")
    if address.ip not in vlan.prefix:
        _refuse(
            place,
            host.name,
            "underlay",
            f"{address.ip} is outside prefix {vlan.prefix} of its vlan__{vlan.vid}",
        )
    if address.network != vlan.prefix:
        _refuse(place, host.name, "underlay", f"{address} is not of prefix length /{vlan.prefix.prefixlen}")
    if address.ip in (vlan.prefix.network_address, vlan.prefix.broadcast_address):
        _refuse(place, host.name, "underlay", f"{address.ip} is no host address of {vlan.prefix}")
    if address.ip == vlan.gateway:
        _refuse(
            place,
            host.name,
            "underlay",
            f"duplicate address: {address.ip} is the gateway of vlan__{vlan.vid}",
        )
    return Leg(vlan.vid, interface, address)


def _firewall_legs(
    place: str, host: HostRecord, vids: Sequence[int], vlans: Mapping[int, Vlan]
) -> tuple[Leg, ...]:
    declared = host.data.get("legs")
    if not isinstance(declared, Mapping):
        _refuse(
            place, host.name, "legs", "missing", "write {VLAN id: interface} for each VLAN of the firewall"
        )
    names = {str(vid): str(interface) for vid, interface in declared.items()}
    if missing := [vid for vid in vids if str(vid) not in names]:
        _refuse(place, host.name, "legs", f"no interface for VLAN {missing[0]}", "one entry per vlan__ group")
    return tuple(
        Leg(vid, names[str(vid)], IPv4Interface((vlans[vid].gateway, vlans[vid].prefix.prefixlen)))
        for vid in vids
    )


def _check_roles(place: str, testbed: Testbed) -> None:
    for role in (Role.K8S_MASTER, Role.RELAY, Role.FIREWALL):
        holders = testbed.with_role(role)
        if not holders:
            _refuse(place, "all hosts", "groups", f"missing role: no host in {ROLE_PREFIX}{role}")
        if len(holders) > 1:
            names = " and ".join(node.name for node in holders)
            _refuse(place, holders[1].name, "groups", f"{names} are both {ROLE_PREFIX}{role}", "keep one")
    if len(testbed.workers) < 2:  # noqa: PLR2004 - a client and a server
        where = testbed.workers[0].name if testbed.workers else "all hosts"
        _refuse(
            place, where, "groups", "no second worker", f"two hosts must be in {ROLE_PREFIX}{Role.K8S_WORKER}"
        )
    if not testbed.with_role(Role.CONTROL_PLANE, Role.HYPERVISOR):
        _refuse(place, "all hosts", "groups", f"missing role: no host in {ROLE_PREFIX}{Role.HYPERVISOR}")
    for node in testbed.with_role(Role.FIREWALL):
        if node.roles & {Role.K8S_MASTER, Role.K8S_WORKER, Role.RELAY}:
            _refuse(place, node.name, "groups", "the firewall can be neither a Kubernetes node nor the relay")


def _check_addresses(place: str, testbed: Testbed) -> None:
    owners: dict[str, str] = {}
    for node in testbed.nodes:
        for key, address in [
            ("hostname", node.management),
            *(("underlay", str(leg.address.ip)) for leg in node.legs),
        ]:
            if address in owners:
                _refuse(place, node.name, key, f"duplicate address: {address} is also {owners[address]}'s")
            owners[address] = node.name


def _check_vlans(place: str, testbed: Testbed) -> None:
    holders: dict[int, str] = {}
    for node in testbed.nodes:
        if Role.FIREWALL in node.roles:
            continue
        if (vid := node.leg.vid) in holders:
            _refuse(
                place,
                node.name,
                "groups",
                f"vlan__{vid} already holds {holders[vid]}",
                "one node and the firewall per VLAN, or packets between the two bypass the firewall",
            )
        holders[vid] = node.name
    legs = {leg.vid for leg in testbed.firewall.legs}
    for vid, holder in holders.items():
        if vid not in legs:
            _refuse(place, testbed.firewall.name, "groups", f"no leg in vlan__{vid} of {holder}")
    _check_overlaps(place, testbed)


def _check_overlaps(place: str, testbed: Testbed) -> None:
    prefixes = [(f"vlan__{vlan.vid}", vlan.prefix) for vlan in testbed.vlans]
    prefixes += [("overlay", testbed.overlay), ("pods", testbed.pods)]
    for index, (name, prefix) in enumerate(prefixes):
        for other, other_prefix in prefixes[:index]:
            if prefix.overlaps(other_prefix):
                _refuse(place, name, "prefix", f"{prefix} overlaps {other_prefix} of {other}")


def _check_kinds(place: str, testbed: Testbed) -> None:
    if testbed.allow_virtual_forwarding:
        return
    for node in testbed.with_role(*FORWARDING_ROLES):
        if node.kind is NodeKind.VM:
            _refuse(
                place,
                node.name,
                "kind",
                "a worker, relay or firewall on a VM: the paper forwards on bare metal only",
                "set allow_virtual_forwarding: true in the defaults (the report will show it)",
            )
