"""NetBox as Nornir's inventory: plugin `NetBoxInventory`, which gives what the YAML files would.

Five lists hold any number of hosts: devices, virtual machines, their untagged interfaces, the prefixes of
those VLANs, the addresses in those prefixes. They are joined by id; no host is asked for by itself. Where
everything is wanted, prefixes and addresses are read beside the others: a server has several workers.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, collapse_addresses
from typing import TypeVar

from nornir.core.inventory import Inventory
from pydantic import TypeAdapter, ValidationError

from inventory.documents import Documents, inventory_of
from inventory.host_keys import make_strict
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
HOSTS = {"devices": "dcim/devices", "machines": "virtualization/virtual-machines"}
PREFIX_FIELDS = "id,prefix,vlan"
ADDRESS_FIELDS = "id,address,role,assigned_object_type,assigned_object_id"
ALL_PREFIXES = Query("ipam/prefixes", PREFIX_FIELDS, {"vlan_id__n": "null"})
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
        inventory = inventory_of(read_documents(self.netbox, self.filters))
        make_strict(inventory, self.netbox.url)
        return inventory


def read_documents(netbox: NetBox, filters: Mapping[str, Values]) -> Documents:
    """What NetBox holds of the selected hosts, as Nornir's documents; InputError names what is wrong."""
    for name in filters:
        if name not in FILTERS:
            raise UnknownNameError("NetBox", "filter", name, list(FILTERS))
    hosts = {name: Query(path, HOST_FIELDS, filters) for name, path in HOSTS.items()}
    # without a filter everything is wanted: what hangs on the devices can be read beside them
    found = _read(netbox, hosts) if filters else _everything(netbox, hosts)
    devices, machines = (_active(_parsed(netbox, RawHost, found[name])) for name in HOSTS)
    if not devices and not machines:
        chosen = ", ".join(f"{name}={value}" for name, value in filters.items()) or "no filter"
        raise InputError(netbox.url, f"no active device or virtual machine ({chosen})", "correct the filter")
    found |= _read(netbox, _next(devices, machines, known=set(found)))
    return documents_of(netbox.url, _joined(netbox, devices, machines, found))


def _active(hosts: Iterable[RawHost]) -> tuple[RawHost, ...]:
    """The hosts in use; of the others a warning says that they are left out."""
    chosen = active(hosts := tuple(hosts))
    ids = {host.id for host in chosen}
    for host in hosts:
        if host.id not in ids:
            log.warning("left out: %s is %s", host.name, host.status.value)
    return tuple(chosen)


def _read(netbox: NetBox, queries: Mapping[str, Query]) -> dict[str, list[Row]]:
    return dict(zip(queries, netbox.read(*queries.values()), strict=True))


def _everything(netbox: NetBox, hosts: Mapping[str, Query]) -> dict[str, list[Row]]:
    """Hosts and the devices' ports, and beside them the prefixes of VLANs and what addresses are in those."""
    with ThreadPoolExecutor(1) as beside:
        networks = beside.submit(_networks, netbox)
        return _read(netbox, {**hosts, "device_ports": _ports("device")}) | networks.result()


def _networks(netbox: NetBox) -> dict[str, list[Row]]:
    found = _read(netbox, {"prefixes": ALL_PREFIXES})
    return found | _inside(netbox, _parsed(netbox, RawPrefix, found["prefixes"]))


def _inside(netbox: NetBox, prefixes: Iterable[RawPrefix]) -> dict[str, list[Row]]:
    """The addresses in the prefixes; neighbouring prefixes are asked for as one."""
    networks = list(collapse_addresses(row.prefix for row in prefixes if isinstance(row.prefix, IPv4Network)))
    if not networks:
        return {}
    few = len(networks) <= PREFIXES_IN_URL
    filters: dict[str, Values] = (
        {"parent": [str(one) for one in networks]} if few else {"assigned_to_interface": "true"}
    )
    return _read(netbox, {"addresses": Query("ipam/ip-addresses", ADDRESS_FIELDS, filters)})


def _next(devices: Sequence[RawHost], machines: Sequence[RawHost], known: set[str]) -> dict[str, Query]:
    """What is to be read once the hosts are known: their ports, and for many hosts all prefixes of VLANs."""
    queries = {
        "device_ports": _ports("device", devices),
        "machine_ports": _ports("virtual_machine", machines),
        "prefixes": ALL_PREFIXES,
    }
    needless = known | {
        name for name, hosts in (("device_ports", devices), ("machine_ports", machines)) if not hosts
    }
    if len(devices) + len(machines) <= IDS_IN_URL:
        needless.add("prefixes")
    return {name: query for name, query in queries.items() if name not in needless}


def _ports(owner: str, hosts: Sequence[RawHost] = ()) -> Query:
    """The ports that can have a VLAN: of these hosts where they are few, else of all."""
    path = "dcim/interfaces" if owner == "device" else "virtualization/interfaces"
    few: dict[str, Values] = (
        {f"{owner}_id": [host.id for host in hosts]} if 0 < len(hosts) <= IDS_IN_URL else {}
    )
    return Query(path, f"id,name,untagged_vlan,{owner}", {"mode": MODES, **few})


def _joined(
    netbox: NetBox, devices: tuple[RawHost, ...], machines: tuple[RawHost, ...], found: dict[str, list[Row]]
) -> Rows:
    """Add the prefixes of the hosts' VLANs, and addresses: of all VLANs' prefixes where those were read ahead."""
    device_ports = _of(devices, _parsed(netbox, RawPort, found.get("device_ports", ())))
    machine_ports = _of(machines, _parsed(netbox, RawPort, found.get("machine_ports", ())))
    vlans = {port.untagged_vlan.id for port in (*device_ports, *machine_ports) if port.untagged_vlan}
    if vlans and "prefixes" not in found:
        few = Query("ipam/prefixes", PREFIX_FIELDS, {"vlan_id": sorted(vlans)})
        found |= _read(netbox, {"prefixes": few if len(vlans) <= IDS_IN_URL else ALL_PREFIXES})
    prefixes = _parsed(netbox, RawPrefix, found.get("prefixes", ()))
    prefixes = tuple(row for row in prefixes if row.vlan and row.vlan.id in vlans)
    if "addresses" not in found:
        found |= _inside(netbox, prefixes)
    addresses = _parsed(netbox, RawAddress, found.get("addresses", ()))
    return Rows(devices, machines, device_ports, machine_ports, addresses, prefixes)


def _of(hosts: Iterable[RawHost], ports: Iterable[RawPort]) -> tuple[RawPort, ...]:
    """The ports of these hosts; a list that was read ahead holds those of others too."""
    ids = {host.id for host in hosts}
    return tuple(port for port in ports if (owner := port.device or port.virtual_machine) and owner.id in ids)


def _parsed(netbox: NetBox, kind: type[Kind], rows: Iterable[Row]) -> tuple[Kind, ...]:
    try:
        return TypeAdapter(tuple[kind, ...]).validate_python(tuple(rows))  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            netbox.url, f"answers as no NetBox does: {where}: {first['msg']}", "is it 4.2 or newer?"
        ) from error
