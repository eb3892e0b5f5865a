"""NetBox as Nornir's inventory: plugin `NetBoxInventory`, which gives what the YAML files would.

Five lists hold any number of hosts: devices, virtual machines, their untagged interfaces, the prefixes of
those VLANs, the addresses in those prefixes. They are joined by id; no host is asked for by itself.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, collapse_addresses
from typing import TypeVar

from nornir.core.inventory import Inventory
from pydantic import TypeAdapter, ValidationError

from inventory.documents import Documents, inventory_of
from inventory.netbox_client import NetBox, Query, Row, Values
from inventory.netbox_records import active, documents_of
from inventory.netbox_rows import RawAddress, RawHost, RawPort, RawPrefix, Rows
from vpnmesh.errors import InputError, UnknownNameError

# what devices and virtual machines can both be selected by; NetBox ignores filters that it does not know
FILTERS = ("name", "platform", "region", "role", "site", "site_group", "tag", "tenant", "tenant_group")
HOST_FIELDS = "id,name,status,site,role,platform,tags,primary_ip4,primary_ip6,custom_fields,config_context"
# so many ids fit into a URL that every web server takes (4094 bytes)
IDS_IN_URL = 200
PREFIXES_IN_URL = 100
# an interface without an 802.1Q mode has no untagged VLAN
MODES = ("access", "tagged", "tagged-all")

Kind = TypeVar("Kind")
log = logging.getLogger(__name__)


class NetBoxInventory:
    """Nornir's plugin: `InitNornir(inventory={"plugin": "NetBoxInventory", "options": {"filters": {...}}})`.

    The token comes from `$NETBOX_TOKEN` only, the URL from `url` or `$NETBOX_URL`; `ca_bundle` is the file of
    the authority that signed the server's certificate, where that is no public one. `load` raises InputError.
    """

    def __init__(
        self,
        url: str | None = None,
        filters: Mapping[str, Values] | None = None,
        page_size: int = 1000,
        ca_bundle: str | None = None,
    ) -> None:
        self.netbox = NetBox.from_environment(url, page_size=page_size, ca_bundle=ca_bundle)
        self.filters = dict(filters or {})

    def load(self) -> Inventory:
        """Read everything selected; nothing is cached."""
        return inventory_of(read_documents(self.netbox, self.filters))


def read_documents(netbox: NetBox, filters: Mapping[str, Values]) -> Documents:
    """What NetBox holds of the selected hosts, as Nornir's documents; InputError names what is wrong."""
    for name in filters:
        if name not in FILTERS:
            raise UnknownNameError("NetBox", "filter", name, list(FILTERS))
    place = netbox.url
    queries = (
        Query(path, HOST_FIELDS, filters) for path in ("dcim/devices", "virtualization/virtual-machines")
    )
    devices, machines = (_parsed(netbox, RawHost, rows) for rows in netbox.read(*queries))
    if not active((*devices, *machines)):
        chosen = ", ".join(f"{name}={value}" for name, value in filters.items()) or "no filter"
        raise InputError(place, f"no active device or virtual machine ({chosen})", "correct the filter")
    for host in (*devices, *machines):
        if host not in active((host,)):
            log.warning("left out: %s is %s", host.name, host.status.value)
    rows = _with_legs(netbox, active(devices), active(machines))
    return documents_of(place, rows)


def _with_legs(netbox: NetBox, devices: Sequence[RawHost], machines: Sequence[RawHost]) -> Rows:
    """Add interfaces, then the prefixes of their VLANs, then the addresses in those prefixes."""
    queries = {
        "device": _ports("dcim/interfaces", "device", devices),
        "virtual_machine": _ports("virtualization/interfaces", "virtual_machine", machines),
    }
    wanted = {name: query for name, query in queries.items() if query}
    ports = dict(zip(wanted, netbox.read(*wanted.values()), strict=True))
    device_ports = _parsed(netbox, RawPort, ports.get("device", ()))
    machine_ports = _parsed(netbox, RawPort, ports.get("virtual_machine", ()))
    vlans = {port.untagged_vlan.id for port in (*device_ports, *machine_ports) if port.untagged_vlan}
    prefixes = tuple(row for row in _prefixes(netbox, vlans) if row.vlan and row.vlan.id in vlans)
    addresses = _addresses(netbox, prefixes)
    return Rows(tuple(devices), tuple(machines), device_ports, machine_ports, addresses, prefixes)


def _ports(path: str, owner: str, hosts: Sequence[RawHost]) -> Query | None:
    """The hosts' own ports where there are few hosts, else all ports that can have a VLAN."""
    filters: dict[str, Values] = {"mode": MODES}
    if len(hosts) <= IDS_IN_URL:
        filters[f"{owner}_id"] = [host.id for host in hosts]
    return Query(path, f"id,name,untagged_vlan,{owner}", filters) if hosts else None


def _prefixes(netbox: NetBox, vlans: Iterable[int]) -> tuple[RawPrefix, ...]:
    ids = sorted(vlans)
    if not ids:
        return ()
    filters: dict[str, Values] = {"vlan_id": ids} if len(ids) <= IDS_IN_URL else {"vlan_id__n": "null"}
    return _parsed(netbox, RawPrefix, netbox.read(Query("ipam/prefixes", "id,prefix,vlan", filters))[0])


def _addresses(netbox: NetBox, prefixes: Iterable[RawPrefix]) -> tuple[RawAddress, ...]:
    """The addresses in the prefixes; neighbouring prefixes are asked for as one."""
    networks = list(collapse_addresses(IPv4Network(row.prefix) for row in prefixes if ":" not in row.prefix))
    if not networks:
        return ()
    few = len(networks) <= PREFIXES_IN_URL
    filters: dict[str, Values] = (
        {"parent": [str(one) for one in networks]} if few else {"assigned_to_interface": "true"}
    )
    fields = "id,address,role,assigned_object_type,assigned_object_id"
    return _parsed(netbox, RawAddress, netbox.read(Query("ipam/ip-addresses", fields, filters))[0])


def _parsed(netbox: NetBox, kind: type[Kind], rows: Iterable[Row]) -> tuple[Kind, ...]:
    try:
        return TypeAdapter(tuple[kind, ...]).validate_python(tuple(rows))  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            netbox.url, f"answers as no NetBox does: {where}: {first['msg']}", "is it 4.2 or newer?"
        ) from error
