"""From Nornir's documents to the NetBox objects that hold them, without a word to any server.

What NetBox has fields for goes there; the rest into config contexts. What "the rest" is, the reader says:
the objects are read back by `netbox_records`, and the difference to the documents is what contexts must add.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface

from inventory.documents import Documents, Entry, inventory_of, mapping, names
from inventory.load import records_of
from inventory.netbox_records import (
    CONTEXT_KEY,
    FIELD_PREFIX,
    GROUP_PREFIXES,
    OWNER_TAG_PREFIX,
    PLATFORM_PREFIX,
    TAG_PREFIX,
    documents_of,
)
from inventory.netbox_rows import (
    DEVICE_PORT,
    VM_PORT,
    ChoiceValue,
    PortVlan,
    PrimaryAddress,
    RawAddress,
    RawHost,
    RawPort,
    RawPrefix,
    Related,
    Rows,
    Slug,
)
from vpnmesh.errors import InputError
from vpnmesh.model import Node, NodeKind, Testbed
from vpnmesh.testbed import ROLE_PREFIX, SITE_PREFIX, build_testbed

SECRET_WORDS = ("password", "passphrase", "secret", "token", "community")
KIND_FIELD = f"{FIELD_PREFIX}kind"


@dataclass(frozen=True, slots=True)
class Ref:
    """Another object, by its kind and natural key."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class WantedObject:
    """An object as it should be; `key` is what a person would call it by, and unique within its kind."""

    kind: str
    key: str
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """How other objects point to this one."""
        return Ref(self.kind, self.key)


@dataclass(frozen=True, slots=True)
class _HostParts:
    """What the groups of a host say, taken apart."""

    node: Node
    primary: str
    primary_port: str
    site: str
    platform: str | None
    roles: tuple[str, ...]
    tags: tuple[str, ...]
    overlay: Entry

    @property
    def virtual(self) -> bool:
        return self.node.kind is NodeKind.VM


def owner_tag(testbed: str) -> str:
    """The tag on everything that `seed` made for this testbed, and the only thing that it ever deletes by."""
    return OWNER_TAG_PREFIX + "".join(letter if letter.isalnum() else "-" for letter in testbed.lower())


def objects_of(documents: Documents, place: str) -> list[WantedObject]:
    """Every object that NetBox needs; InputError names what it cannot hold."""
    testbed = build_testbed(records_of(inventory_of(documents), place))
    _check_storable(documents, place)
    hosts = [_host(place, name, entry, testbed) for name, entry in documents.hosts.items()]
    hosts, shared = _with_contexts(documents, testbed, hosts, place)
    tag = owner_tag(testbed.name)
    objects = [*_vocabulary(hosts, tag), *_networks(testbed, hosts, tag)]
    for host in hosts:
        objects += _machine(host, tag)
    name = f"vpnmesh {testbed.name}"
    context = {
        "name": name,
        "tags": [tag],
        "data": {CONTEXT_KEY: shared},
        "description": "made by vpnmesh from YAML",
    }
    return [*objects, WantedObject("extras/config-contexts", name, context)]


def _check_storable(documents: Documents, place: str) -> None:
    """Refuse secrets, which NetBox shows to every reader, and values that JSON would change."""
    everything = {"defaults": documents.defaults, **documents.groups, **documents.hosts}
    for name, entry in everything.items():
        if path := _secret(entry):
            raise InputError(
                f"{place}: {name}: {path}", "a secret", "NetBox is no place for it: use an SSH key or agent"
            )
    for name in documents.groups:
        if not name.startswith(GROUP_PREFIXES):
            raise InputError(
                f"{place}: {name}", "no group that NetBox knows", f"known are: {', '.join(GROUP_PREFIXES)}"
            )


def _secret(entry: Mapping[str, object]) -> str:
    for key, value in entry.items():
        if any(word in str(key).lower() for word in SECRET_WORDS) and isinstance(value, str):
            return str(key)
        if isinstance(value, Mapping) and (below := _secret(value)):
            return f"{key}.{below}"
    return ""


def _host(place: str, name: str, entry: Entry, testbed: Testbed) -> _HostParts:
    found = {prefix: [] for prefix in GROUP_PREFIXES}  # type: dict[str, list[str]]
    for group in names(entry.get("groups")):
        prefix = next(prefix for prefix in GROUP_PREFIXES if group.startswith(prefix))
        found[prefix].append(group.removeprefix(prefix))
    sites, platforms = found[SITE_PREFIX], found[PLATFORM_PREFIX]
    for prefix, slugs, least in ((SITE_PREFIX, sites, 1), (PLATFORM_PREFIX, platforms, 0)):
        if not least <= len(slugs) <= 1:
            problem = f"{len(slugs)} groups {prefix}"
            raise InputError(
                f"{place}: {name}: groups",
                problem,
                f"in NetBox a host has {'one' if least else 'at most one'}",
            )
    node = testbed.node(name)
    primary, port = _primary(node)
    platform = platforms[0] if platforms else None
    roles, tags = tuple(found[ROLE_PREFIX]), tuple(found[TAG_PREFIX])
    return _HostParts(node, primary, port, sites[0], platform, roles, tags, {})


def _primary(node: Node) -> tuple[str, str]:
    """The primary address and its port: the management address; the first underlay address where that is a name."""
    try:
        address = ip_address(node.management)
    except ValueError:
        return str(node.legs[0].address), node.legs[0].interface
    return f"{address}/{address.max_prefixlen}", node.management_interface or "mgmt"


def _with_contexts(
    documents: Documents, testbed: Testbed, hosts: list[_HostParts], place: str
) -> tuple[list[_HostParts], Entry]:
    """The hosts with what their local contexts must hold, and what the shared context must."""
    shared: Entry = {"defaults": dict(documents.defaults)}
    read = documents_of(place, _rows(testbed, hosts, shared))
    shared["groups"] = {
        name: overlay
        for name, entry in documents.groups.items()
        if (overlay := difference(read.groups.get(name, {}), entry)) or name not in read.groups
    }
    positioned = list(read.hosts) != list(documents.hosts)
    positions = range(len(hosts)) if positioned else [None] * len(hosts)
    hosts = [
        replace(host, overlay=_local(read.hosts[host.node.name], documents.hosts[host.node.name], position))
        for position, host in zip(positions, hosts, strict=True)
    ]
    if list(documents_of(place, _rows(testbed, hosts, shared)).groups) != list(documents.groups):
        shared["group_order"] = list(documents.groups)
    stored = json.loads(
        json.dumps({"shared": shared, "hosts": [host.overlay for host in hosts]}, default=str)
    )
    hosts = [replace(host, overlay=overlay) for host, overlay in zip(hosts, stored["hosts"], strict=True)]
    _check_same(documents, documents_of(place, _rows(testbed, hosts, stored["shared"])), place)
    return hosts, stored["shared"]


def _local(read: Entry, wanted: Entry, position: int | None) -> Entry:
    """A host's own part of the contexts: what it adds, the order of its groups, its place among the hosts."""
    overlay = difference(read, wanted)
    if groups := overlay.pop("groups", None):
        overlay["group_order"] = groups
    return ({"host": overlay} if overlay else {}) | ({} if position is None else {"position": position})


def difference(have: Entry, wanted: Entry) -> Entry:
    """The overlay that makes `wanted` of `have`; null takes a key away."""
    data, wanted_data = mapping(have.get("data")), mapping(wanted.get("data"))
    changed = {
        key: wanted_data.get(key) for key in {**data, **wanted_data} if data.get(key) != wanted_data.get(key)
    }
    other = {
        key: wanted.get(key)
        for key in {**have, **wanted}
        if key != "data" and have.get(key) != wanted.get(key)
    }
    return other | ({"data": changed} if changed else {})


def _check_same(documents: Documents, read: Documents, place: str) -> None:
    """What is stored must come back as it was; else say which value cannot."""
    pairs = [(name, entry, read.hosts.get(name)) for name, entry in documents.hosts.items()]
    pairs += [(name, entry, read.groups.get(name)) for name, entry in documents.groups.items()]
    for name, entry, back in [*pairs, ("defaults", documents.defaults, read.defaults)]:
        if entry != back:
            lost = difference(mapping(back), entry)
            raise InputError(
                f"{place}: {name}",
                f"NetBox cannot hold {lost}",
                "use texts, numbers, lists and names as keys",
            )


def _rows(testbed: Testbed, hosts: Iterable[_HostParts], shared: Entry) -> Rows:
    """What the reader would get of these hosts; a VLAN's id is used for its row's."""
    rows: dict[str, list[object]] = {
        key: [] for key in ("devices", "machines", "device_ports", "machine_ports")
    }
    addresses = []
    for number, host in enumerate(hosts, start=1):
        context: Entry = {CONTEXT_KEY: {**shared, **host.overlay}}
        rows["machines" if host.virtual else "devices"].append(_raw_host(number, host, context))
        for leg in host.node.legs:
            port = number * 10_000 + leg.vid
            owner = {"virtual_machine" if host.virtual else "device": Related(number)}
            vlan = PortVlan(leg.vid, leg.vid, testbed.vlan(leg.vid).name)
            rows["machine_ports" if host.virtual else "device_ports"].append(
                RawPort(port, leg.interface, vlan, **owner)
            )
            kind = VM_PORT if host.virtual else DEVICE_PORT
            addresses.append(RawAddress(port, leg.address, None, kind, port))
            if leg.interface == host.primary_port and str(leg.address) != host.primary:
                addresses.append(RawAddress(-port, ip_interface(host.primary), None, kind, port))
    prefixes = tuple(RawPrefix(vlan.vid, vlan.prefix, Related(vlan.vid)) for vlan in testbed.vlans)
    lists = {key: tuple(value) for key, value in rows.items()}
    return Rows(**lists, addresses=tuple(addresses), prefixes=prefixes)  # type: ignore[arg-type]


def _raw_host(number: int, host: _HostParts, context: Entry) -> RawHost:
    return RawHost(
        id=number,
        name=host.node.name,
        status=ChoiceValue("active"),
        site=Slug(host.site),
        role=Slug(host.roles[0]),
        platform=Slug(host.platform) if host.platform else None,
        tags=tuple(Slug(slug) for slug in (*host.roles[1:], *host.tags)),
        primary_ip4=PrimaryAddress(ip_interface(host.primary)),
        primary_ip6=None,
        custom_fields={} if host.virtual else {KIND_FIELD: str(host.node.kind)},
        config_context=context,
    )


def _vocabulary(hosts: Iterable[_HostParts], tag: str) -> Iterable[WantedObject]:
    """What hosts are described with: made where missing, never changed, never deleted."""
    hosts = list(hosts)
    tags = {slug for host in hosts for slug in (*host.roles[1:], *host.tags)}
    yield from (
        WantedObject("extras/tags", slug, {"name": slug, "slug": slug}) for slug in [tag, *sorted(tags)]
    )
    choices = [[str(kind), str(kind)] for kind in (NodeKind.METAL, NodeKind.NETNS)]
    choice_set = WantedObject(
        "extras/custom-field-choice-sets", KIND_FIELD, {"name": KIND_FIELD, "extra_choices": choices}
    )
    kinds = {
        "name": KIND_FIELD,
        "type": "select",
        "choice_set": choice_set.ref,
        "object_types": ["dcim.device"],
    }
    yield from (
        choice_set,
        WantedObject("extras/custom-fields", KIND_FIELD, {**kinds, "label": "What the node runs on"}),
    )
    for kind, slugs in (
        ("dcim/sites", {host.site for host in hosts}),
        ("dcim/platforms", {host.platform for host in hosts if host.platform}),
        ("dcim/device-roles", {host.roles[0] for host in hosts}),
        ("dcim/manufacturers", {"generic"}),
    ):
        yield from (WantedObject(kind, slug, {"name": slug, "slug": slug}) for slug in sorted(slugs))
    generic = {"model": "Node", "slug": "node", "manufacturer": Ref("dcim/manufacturers", "generic")}
    yield WantedObject("dcim/device-types", "node", generic)


def _networks(testbed: Testbed, hosts: Iterable[_HostParts], tag: str) -> Iterable[WantedObject]:
    """The VLANs that a host is in, each with its prefix, in one VLAN group of the testbed's own."""
    tags = [Ref("extras/tags", tag)]
    group = WantedObject(
        "ipam/vlan-groups", tag, {"name": f"vpnmesh {testbed.name}", "slug": tag, "tags": tags}
    )
    yield group
    used = {leg.vid for host in hosts for leg in host.node.legs}
    for vlan in (vlan for vlan in testbed.vlans if vlan.vid in used):
        about = {"vid": vlan.vid, "name": vlan.name, "group": group.ref, "status": "active", "tags": tags}
        yield (made := WantedObject("ipam/vlans", f"{tag}/{vlan.vid}", about))
        prefix = {"prefix": str(vlan.prefix), "vlan": made.ref, "status": "active", "tags": tags}
        yield WantedObject("ipam/prefixes", str(vlan.prefix), prefix)


def _machine(host: _HostParts, tag: str) -> Iterable[WantedObject]:
    """A device or virtual machine, its interfaces, and their addresses."""
    tags = [Ref("extras/tags", tag)]
    kind = "virtualization/virtual-machines" if host.virtual else "dcim/devices"
    ports = "virtualization/interfaces" if host.virtual else "dcim/interfaces"
    owner = Ref(kind, f"{host.site}/{host.node.name}")
    places = {host.primary: host.primary_port} | {str(leg.address): leg.interface for leg in host.node.legs}
    addresses = [_address(host, ports, port, address, tags) for address, port in places.items()]
    primary = "primary_ip6" if ":" in host.primary else "primary_ip4"
    about: Entry = {
        "name": host.node.name,
        "site": Ref("dcim/sites", host.site),
        "role": Ref("dcim/device-roles", host.roles[0]),
        "platform": Ref("dcim/platforms", host.platform) if host.platform else None,
        "status": "active",
        "tags": [*tags, *(Ref("extras/tags", slug) for slug in (*host.roles[1:], *host.tags))],
        "local_context_data": {CONTEXT_KEY: host.overlay} if host.overlay else None,
        primary: addresses[0].ref,
    }
    if not host.virtual:
        about |= {
            "device_type": Ref("dcim/device-types", "node"),
            "custom_fields": {KIND_FIELD: str(host.node.kind)},
        }
    yield WantedObject(kind, owner.key, about)
    yield from _interfaces(host, ports, owner, tags)
    yield from addresses


def _interfaces(host: _HostParts, kind: str, owner: Ref, tags: list[Ref]) -> Iterable[WantedObject]:
    parent = {"virtual_machine" if host.virtual else "device": owner, "tags": tags}
    vlans = {leg.interface: leg.vid for leg in host.node.legs}
    for name in dict.fromkeys((host.primary_port, *vlans)):
        about: Entry = {**parent, "name": name}
        if name in vlans:
            vlan = Ref("ipam/vlans", f"{tags[0].key}/{vlans[name]}")
            about |= {"mode": "access", "untagged_vlan": vlan}
        if not host.virtual:
            about |= {"type": "other", "mgmt_only": name not in vlans}
        yield WantedObject(kind, f"{host.node.name}/{name}", about)


def _address(host: _HostParts, ports: str, port: str, address: str, tags: list[Ref]) -> WantedObject:
    on = Ref(ports, f"{host.node.name}/{port}")
    kind = VM_PORT if host.virtual else DEVICE_PORT
    assigned = {"assigned_object_type": kind, "assigned_object_id": on}
    about = {"address": address, "status": "active", "tags": tags, **assigned}
    return WantedObject("ipam/ip-addresses", f"{address} on {on.key}", about)
