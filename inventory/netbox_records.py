"""From NetBox's rows to Nornir's documents, without a word to any server.

The wording is NetBox's own: site, platform, role, tags and untagged VLANs are the groups of a host; its
primary address is where it is managed. What NetBox has no field for is in config contexts, under `vpnmesh`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from inventory.documents import Documents, Entry, mapping, names, without_nothing
from inventory.netbox_rows import (
    DEVICE_PORT,
    VM_PORT,
    PortVlan,
    RawAddress,
    RawHost,
    RawPort,
    RawPrefix,
    Rows,
    Slug,
)
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.model import NodeKind, Role
from vpnmesh.testbed import ROLE_PREFIX, SITE_PREFIX, VLAN_PREFIX

PLATFORM_PREFIX = "platform__"
TAG_PREFIX = "tag__"
GROUP_PREFIXES = (SITE_PREFIX, PLATFORM_PREFIX, ROLE_PREFIX, TAG_PREFIX, VLAN_PREFIX)

CONTEXT_KEY = "vpnmesh"
CONTEXT_KEYS = ("defaults", "groups", "group_order", "host", "position")
FIELD_PREFIX = "vpnmesh_"
# the tag that `seed` puts on what it made is no group of hosts
OWNER_TAG_PREFIX = "vpnmesh-"

ACTIVE = "active"
LEFT_OUT = ("planned", "staged", "failed", "inventory", "decommissioning", "offline", "paused")
# addresses that a host shares with others, or has beside its own, are not where its peers reach it
SHARED_ADDRESS_ROLES = frozenset({"secondary", "anycast", "vip", "vrrp", "hsrp", "glbp", "carp"})


@dataclass(frozen=True, slots=True)
class PortInVlan:
    """A port in a VLAN with the host's one address there, None where NetBox has none."""

    port: str
    vlan: PortVlan
    address: IPv4Interface | None


@dataclass(frozen=True, slots=True)
class _NetBoxHost:
    raw: RawHost
    kind: NodeKind
    name: str
    roles: tuple[str, ...]
    legs: tuple[PortInVlan, ...]

    @property
    def context(self) -> Entry:
        return mapping(self.raw.config_context.get(CONTEXT_KEY))


def active(hosts: Iterable[RawHost]) -> list[RawHost]:
    """The hosts in use; InputError for a status that is neither of use nor out of it."""
    for host in hosts:
        if host.status.value not in (ACTIVE, *LEFT_OUT):
            raise UnknownNameError(str(host.name), "status", host.status.value, [ACTIVE, *LEFT_OUT])
    return [host for host in hosts if host.status.value == ACTIVE]


def documents_of(place: str, rows: Rows) -> Documents:
    """The inventory that the rows describe; InputError names the object that is wrong."""
    net = _Net(place, _prefixes(place, rows.prefixes), _addresses(rows.addresses))
    devices, machines = _ports(rows.device_ports), _ports(rows.machine_ports)
    hosts = [_host(net, raw, NodeKind.METAL, devices.get(raw.id, ())) for raw in active(rows.devices)]
    hosts += [_host(net, raw, NodeKind.VM, machines.get(raw.id, ())) for raw in active(rows.machines)]
    _check_names(place, hosts)
    hosts.sort(key=_position)
    shared = _Shared(place)
    entries = {host.name: _entry(place, host, shared) for host in hosts}
    for host in hosts:
        shared.add_context(host)
    shared.add_vlans(hosts, net.prefixes)
    return Documents(entries, shared.ordered_groups(), without_nothing(shared.defaults))


@dataclass(frozen=True, slots=True)
class _Net:
    """The prefix of each VLAN by the VLAN's id, and the addresses of each port by its kind and id."""

    place: str
    prefixes: Mapping[int, IPv4Network]
    addresses: Mapping[tuple[str, int], Sequence[IPv4Interface]]


def _prefixes(place: str, rows: Iterable[RawPrefix]) -> dict[int, IPv4Network]:
    """The IPv4 prefix of each VLAN, by the VLAN's id."""
    found: dict[int, IPv4Network] = {}
    for row in rows:
        if row.vlan is None or not isinstance(row.prefix, IPv4Network):
            continue
        if found.setdefault(row.vlan.id, row.prefix) != row.prefix:
            problem = f"VLAN {row.vlan.id} has a second prefix beside {found[row.vlan.id]}"
            raise InputError(f"{place}: prefix {row.prefix}", problem, "one IPv4 prefix per VLAN")
    return found


def _addresses(rows: Iterable[RawAddress]) -> dict[tuple[str, int], list[IPv4Interface]]:
    """The IPv4 addresses of each port, by its kind and id."""
    found: dict[tuple[str, int], list[IPv4Interface]] = {}
    for row in rows:
        shared = row.role is not None and row.role.value in SHARED_ADDRESS_ROLES
        if not row.assigned_object_type or not row.assigned_object_id or shared:
            continue
        if isinstance(row.address, IPv4Interface):
            found.setdefault((row.assigned_object_type, row.assigned_object_id), []).append(row.address)
    return found


def _ports(rows: Iterable[RawPort]) -> dict[int, list[RawPort]]:
    """The ports with an untagged VLAN, by their host's id."""
    found: dict[int, list[RawPort]] = {}
    for port in rows:
        owner = port.device or port.virtual_machine
        if owner is not None and port.untagged_vlan is not None:
            found.setdefault(owner.id, []).append(port)
    return found


def _legs(net: _Net, raw: RawHost, kind: NodeKind, ports: Iterable[RawPort]) -> Iterable[PortInVlan]:
    """Each port's VLAN and the host's address in it; of several the primary one is for management."""
    for port in ports:
        if (vlan := port.untagged_vlan) is None:
            continue
        found = net.addresses.get((VM_PORT if kind is NodeKind.VM else DEVICE_PORT, port.id), ())
        # a VLAN without a prefix: whatever is in that of another host's VLAN
        places = [net.prefixes[vlan.id]] if vlan.id in net.prefixes else net.prefixes.values()
        inside = [one for one in found if any(one.ip in place for place in places)]
        primary = raw.primary_ip4.address if raw.primary_ip4 else None
        own = [one for one in inside if one != primary] if len(inside) > 1 else inside
        if len(own) > 1:
            problem = f"{' and '.join(map(str, own))} are both in VLAN {vlan.vid}"
            raise InputError(
                f"{net.place}: {raw.name}: {port.name}", problem, "mark one as secondary in NetBox"
            )
        yield PortInVlan(port.name, vlan, own[0] if own else None)


def _host(net: _Net, raw: RawHost, kind: NodeKind, ports: Iterable[RawPort]) -> _NetBoxHost:
    if not raw.name:
        raise InputError(f"{net.place}: {_what(kind)} {raw.id}", "no name", "give it one in NetBox")
    where = f"{net.place}: {raw.name}"
    if raw.role is None:
        raise InputError(where, "missing role", f"give the {_what(kind)} a role in NetBox: {', '.join(Role)}")
    if raw.primary_ip4 is None and raw.primary_ip6 is None:
        raise InputError(
            where, "no primary IP", "assign an address to an interface and make it primary in NetBox"
        )
    legs = sorted(_legs(net, raw, kind, ports), key=lambda leg: leg.vlan.vid)
    extra = sorted(tag.slug for tag in raw.tags if tag.slug in list(Role))
    roles = tuple(dict.fromkeys((raw.role.slug, *extra)))
    vids = [leg.vlan.vid for leg in legs]
    if len(set(vids)) < len(vids) or (len(vids) > 1 and Role.FIREWALL not in roles):
        told = ", ".join(f"{leg.port} in {leg.vlan.vid} ({leg.vlan.name})" for leg in legs)
        way_out = "one untagged interface per VLAN, and in more than one VLAN only the firewall"
        raise InputError(where, f"two VLANs untagged: {told}", way_out)
    return _NetBoxHost(raw, kind, raw.name, roles, tuple(legs))


def _what(kind: NodeKind) -> str:
    return "virtual machine" if kind is NodeKind.VM else "device"


def _check_names(place: str, hosts: Iterable[_NetBoxHost]) -> None:
    seen: dict[str, _NetBoxHost] = {}
    for host in hosts:
        if other := seen.get(host.name):
            both = " and ".join(
                f"{_what(one.kind)} {one.raw.id} at {_slug(one.raw.site)}" for one in (other, host)
            )
            raise InputError(
                f"{place}: {host.name}", f"duplicate name: {both}", "rename one, or select one site"
            )
        seen[host.name] = host


def _slug(related: Slug | None) -> str:
    return related.slug if related else "no site"


def _position(host: _NetBoxHost) -> tuple[int, list[tuple[int, str]]]:
    """Where the inventory says, and by name behind those; `worker10` comes after `worker9`."""
    position = host.context.get("position")
    return (position if isinstance(position, int) else 1 << 30, natural(host.name))


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key that takes digits for numbers."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", text) if part]


def _entry(place: str, host: _NetBoxHost, shared: "_Shared") -> Entry:
    raw = host.raw
    primary = raw.primary_ip4 or raw.primary_ip6
    tags = sorted(tag.slug for tag in raw.tags)
    plain = [tag for tag in tags if tag not in host.roles and not tag.startswith(OWNER_TAG_PREFIX)]
    groups = [SITE_PREFIX + raw.site.slug] if raw.site else []
    if raw.platform:
        groups.append(PLATFORM_PREFIX + raw.platform.slug)
        shared.groups[groups[-1]] = {"platform": raw.platform.slug}
    groups += [ROLE_PREFIX + role for role in host.roles] + [TAG_PREFIX + tag for tag in plain]
    groups += [f"{VLAN_PREFIX}{leg.vlan.vid}" for leg in host.legs]
    for group in groups:
        shared.groups.setdefault(group, {})
    own = mapping(host.context.get("host"))
    order = names(own.pop("group_order", None))
    groups.sort(key=lambda group: order.index(group) if group in order else len(order))
    entry: Entry = {"hostname": str(primary.address.ip) if primary else "", "groups": groups}
    if "groups" in own:
        problem = "groups in the config context"
        raise InputError(f"{place}: {host.name}", problem, "NetBox's own field counts")
    return overlaid({**entry, "data": _data(host)}, own)


def _data(host: _NetBoxHost) -> Entry:
    """Kind and legs, then custom fields, then rendered config contexts: the more specific wins."""
    data: Entry = {"kind": str(host.kind)}
    if Role.FIREWALL in host.roles:
        data |= without_nothing({"legs": {leg.vlan.vid: leg.port for leg in host.legs}})
    else:
        for leg in host.legs:
            data["interface"] = leg.port
            data |= {"underlay": str(leg.address)} if leg.address else {}
    fields = {name: _field(value) for name, value in host.raw.custom_fields.items() if value is not None}
    data |= {name: value for name, value in fields.items() if not name.startswith(FIELD_PREFIX)}
    data |= {key: value for key, value in host.raw.config_context.items() if key != CONTEXT_KEY}
    data |= {
        name.removeprefix(FIELD_PREFIX): value
        for name, value in fields.items()
        if name.startswith(FIELD_PREFIX)
    }
    return data


def _field(value: object) -> object:
    """A custom field's value in its plainest form: a choice's value, an object's name, or what it is."""
    if isinstance(value, list):
        return [_field(item) for item in value]
    if isinstance(value, Mapping):
        return next(
            (value[key] for key in ("value", "slug", "name", "address", "display") if key in value),
            dict(value),
        )
    return value


def overlaid(entry: Entry, overlay: Mapping[str, object]) -> Entry:
    """The entry with the overlay's keys put over it, those of `data` one by one; null takes a key away."""
    data = {**mapping(entry.get("data")), **mapping(overlay.get("data"))}
    merged = {**entry, **overlay, "data": {key: value for key, value in data.items() if value is not None}}
    return without_nothing(merged)


class _Shared:
    """Groups and defaults, gathered from the hosts that hold them."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.groups: dict[str, Entry] = {}
        self.defaults: Entry = {}
        self.overlays: dict[str, object] = {}
        self.order: list[str] = []
        self._said: dict[str, tuple[str, object]] = {}

    def add_context(self, host: _NetBoxHost) -> None:
        """Take what a host's contexts say about all; InputError where two hosts hear different things."""
        for key, value in host.context.items():
            if key not in CONTEXT_KEYS:
                where = f"{self.place}: config context of {host.name}: {CONTEXT_KEY}"
                raise UnknownNameError(where, "key", key, list(CONTEXT_KEYS))
            if key in ("host", "position"):
                continue
            said_to, said = self._said.setdefault(key, (host.name, value))
            if said != value:
                problem = f"{key} differ between {said_to} and {host.name}"
                way_out = "assign the config context to all selected hosts, or select fewer"
                raise InputError(f"{self.place}: config context: {CONTEXT_KEY}", problem, way_out)
        self.defaults = mapping(host.context.get("defaults")) or self.defaults
        self.overlays = mapping(host.context.get("groups")) or self.overlays
        self.order = names(host.context.get("group_order")) or self.order

    def add_vlans(self, hosts: Iterable[_NetBoxHost], prefixes: Mapping[int, IPv4Network]) -> None:
        """Name, prefix and gateway of each VLAN that a host is in."""
        owners: dict[int, PortVlan] = {}
        for host, leg in ((one, leg) for one in hosts for leg in one.legs):
            vlan = owners.setdefault(leg.vlan.vid, leg.vlan)
            if vlan.id != leg.vlan.id:
                both = f"'{vlan.name}' and '{leg.vlan.name}' both have the id {vlan.vid}"
                raise InputError(
                    f"{self.place}: {host.name}: {leg.port}", both, "select the hosts of one site"
                )
            data = mapping(self.groups[f"{VLAN_PREFIX}{vlan.vid}"].get("data")) | {"name": vlan.name}
            if vlan.id in prefixes:
                data["prefix"] = str(prefixes[vlan.id])
            if Role.FIREWALL in host.roles and leg.address:
                data["gateway"] = str(leg.address.ip)
            self.groups[f"{VLAN_PREFIX}{vlan.vid}"] = {"data": data}

    def ordered_groups(self) -> dict[str, Entry]:
        """All groups with their overlays: in the order given, then by kind and name."""
        everything = {
            name: overlaid(self.groups.get(name, {}), mapping(overlay))
            for name, overlay in self.overlays.items()
        }
        merged = {name: without_nothing(entry) for name, entry in self.groups.items()} | everything
        given = {name: index for index, name in enumerate(self.order)}
        ordered = sorted(
            merged, key=lambda name: (given.get(name, len(given)), group_rank(name), natural(name))
        )
        return {name: merged[name] for name in ordered}


def group_rank(name: str) -> int:
    """Sites before platforms, roles, tags and VLANs; any other group last."""
    ranks = (rank for rank, prefix in enumerate(GROUP_PREFIXES) if name.startswith(prefix))
    return next(ranks, len(GROUP_PREFIXES))
