"""From inventory records to one validated `Testbed`; every error names the place, the host and the key.

YAML and NetBox end in the same records, so both are judged by the same rules (paper, section 3.2).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NoReturn

from vpnmesh.documents.names import (
    host_problem,
    interface_problem,
    label_problem,
    slug_problem,
    title_problem,
)
from vpnmesh.documents.numbers import amount
from vpnmesh.errors import InputError
from vpnmesh.model import FORWARDING_ROLES, LAST_VID, Leg, Node, NodeKind, Role, Testbed, Vlan

ROLE_PREFIX = "role__"
VLAN_PREFIX = "vlan__"
SITE_PREFIX = "site__"
MARK = "testbed"
"""The key of a host's data that says whether it may be changed; in the defaults it is the testbed's name."""


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
    _check_names(records)
    vlans = _vlans(records)
    nodes = tuple(_node(records, host, vlans) for host in records.hosts)
    testbed = Testbed(
        name=_text(
            records.place, "defaults", "testbed", records.defaults.get("testbed", "testbed"), title_problem
        ),
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


def site_of(groups: Iterable[str]) -> str:
    """The site that a host's groups tell: the end of the name of its first group `site__NAME`, "" without one."""
    return next((name.removeprefix(SITE_PREFIX) for name in groups if name.startswith(SITE_PREFIX)), "")


def _refuse(place: str, host: str, key: str, problem: str, way_out: str = "") -> NoReturn:
    raise InputError(f"{place}: {host}: {key}", problem, way_out)


def _text(place: str, host: str, key: str, value: object, problem_of: Callable[[str], str]) -> str:
    """The value if it is text in which the rule finds no problem."""
    if not isinstance(value, str):
        _refuse(place, host, key, f"{str(value)[:40]!r} is no text", "write it in quotes")
    if problem := problem_of(value):
        _refuse(place, host, key, f"{value[:80]!r} {problem}")
    return value


def _check_names(records: InventoryRecords) -> None:
    """Names reach file names, commands and pages: nothing that could be more than a name gets there."""
    seen: dict[str, str] = {}
    for host in records.hosts:
        shown = repr(host.name)[1:-1][:80]
        _text(records.place, shown, "name", host.name, label_problem)
        if other := seen.get(host.name.lower()):
            _refuse(records.place, host.name, "name", f"the same name as {other}", "DNS knows no capitals")
        seen[host.name.lower()] = host.name
        for group in host.groups:
            _text(records.place, host.name, "groups", group, slug_problem)
        if site := site_of(host.groups):
            _text(records.place, host.name, f"groups: {SITE_PREFIX}{site[:80]}", site, slug_problem)
    for group in records.groups:
        _text(records.place, repr(group)[1:-1][:80], "group", group, slug_problem)


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
        name = _text(records.place, group, "name", data.get("name") or group, title_problem)
        vlans[vid] = Vlan(vid, name, prefix, gateway)
    return vlans


def _vid(place: str, group: str) -> int:
    text = group.removeprefix(VLAN_PREFIX)
    # 010 would be another group of the same VLAN
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text) or int(text) > LAST_VID:
        _refuse(
            place, group, "group", f"'{text}' is no VLAN id", f"VLAN groups are vlan__1 to vlan__{LAST_VID}"
        )
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
    _check_mark(records, host)
    management = host.data.get("management_interface", records.defaults.get("management_interface"))
    return Node(
        name=host.name,
        kind=kind,
        roles=roles,
        management=_text(place, host.name, "hostname", host.hostname, host_problem),
        legs=legs,
        site=site_of(host.groups),
        management_interface=_text(place, host.name, "management_interface", management, interface_problem)
        if management
        else "",
        cores=_cores(place, host),
        link_mbit_s=_above_zero(place, host, "link_mbit_s"),
    )


def _check_mark(records: InventoryRecords, host: HostRecord) -> None:
    """Whether a host may be changed is said with true or false, and nothing that only looks like it."""
    mark = host.data.get(MARK, False)
    if not isinstance(mark, bool) and mark != records.defaults.get(MARK):
        _refuse(records.place, host.name, MARK, f"{str(mark)[:40]!r} is neither true nor false")


def _cores(place: str, host: HostRecord) -> int | None:
    found = _above_zero(place, host, "cores")
    if found is not None and found != int(found):
        _refuse(place, host.name, "cores", f"{found:g} is no whole number")
    return None if found is None else int(found)


def _above_zero(place: str, host: HostRecord, key: str) -> float | None:
    """A number of the host's data, None where it is not there."""
    value = host.data.get(key)
    if value is None:
        return None
    if not (number := amount(value)):
        _refuse(place, host.name, key, f"{str(value)[:40]!r} is no number above 0")
    return number


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
    named = host.data.get("interface")
    if named is None or named == "":
        _refuse(place, host.name, "interface", "missing", "write the name of the underlay interface")
    interface = _text(place, host.name, "interface", named, interface_problem)
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
    names = {
        str(vid): _text(place, host.name, f"legs: {str(vid)[:10]}", interface, interface_problem)
        for vid, interface in declared.items()
    }
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
