"""The lab with more workers than two: the six nodes of its inventory, and further ones, each in a VLAN of its own."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import yaml

from vpnmesh.documents.inventory_text import Entry, InventoryText, groups_of
from vpnmesh.errors import InputError
from vpnmesh.lab.inventory_files import files_of, read_inventory
from vpnmesh.model import Node, Testbed
from vpnmesh.testbed import VLAN_PREFIX, build_testbed

LAB = "lab"
_SIZED = re.compile(r"lab-([0-9]{1,4})")
_UNDERLAY = IPv4Network("192.88.99.0/24")
_VLAN_PREFIX_LENGTH = 29
_VID_STEP = 10


def size_named(name: str) -> int | None:
    """How many nodes an inventory's name asks for, as `lab-12` does; None for every other name."""
    found = _SIZED.fullmatch(name)
    return int(found[1]) if found else None


def sized(folder: Path, nodes: int, place: str = "--nodes") -> InventoryText:
    """The inventory of a folder with as many workers more as make that number of nodes.

    InputError where there is no address, or no VLAN, for so many.
    """
    text = read_inventory(folder)
    testbed = build_testbed(text.records(str(files_of(folder)["hosts"])))
    free = list(_free_vlans(testbed))
    most = len(testbed.nodes) + len(free)
    if not len(testbed.nodes) <= nodes <= most:
        raise InputError(
            place,
            f"{nodes} is not in {len(testbed.nodes)} to {most}",
            f"{_UNDERLAY} has a /{_VLAN_PREFIX_LENGTH} for each VLAN, and a node has a VLAN of its own",
        )
    if nodes == len(testbed.nodes):
        return text
    return _with_workers(text, testbed, free[: nodes - len(testbed.nodes)])


def sized_testbed(folder: Path, nodes: int) -> Testbed:
    """The testbed of that inventory, as the lab builds it."""
    return build_testbed(sized(folder, nodes).records(f"lab of {nodes} nodes"))


def write_inventory(text: InventoryText, folder: Path) -> None:
    """Write the three files, as every inventory folder has them; InputError where they cannot be written."""
    parts = {"hosts": text.hosts, "groups": text.groups, "defaults": text.defaults}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files_of(folder).items():
            path.write_text(yaml.safe_dump(parts[name], sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(str(folder), f"cannot be written: {error.strerror}") from error


def _free_vlans(testbed: Testbed) -> Iterator[IPv4Network]:
    for prefix in _UNDERLAY.subnets(new_prefix=_VLAN_PREFIX_LENGTH):
        if not any(prefix.overlaps(vlan.prefix) for vlan in testbed.vlans):
            yield prefix


def _with_workers(text: InventoryText, testbed: Testbed, prefixes: list[IPv4Network]) -> InventoryText:
    hosts, groups = dict(text.hosts), dict(text.groups)
    vid = max(vlan.vid for vlan in testbed.vlans)
    managed = max(IPv4Address(node.management) for node in testbed.nodes)
    last, legs, vlans = testbed.workers[-1], {}, []
    for count, prefix in enumerate(prefixes, start=1):
        own = VLAN_PREFIX + str(vid + count * _VID_STEP)
        name = f"worker{len(testbed.workers) + count}"
        groups[own] = {"data": {"name": name, "prefix": str(prefix), "gateway": str(prefix[1])}}
        address = IPv4Interface((prefix[2], prefix.prefixlen))
        hosts[name] = _worker(text.hosts[last.name], own, str(managed + count), address)
        legs[vid + count * _VID_STEP] = f"vlan{vid + count * _VID_STEP}"
        vlans.append(own)
    firewall = testbed.firewall
    hosts[firewall.name] = _with_legs(text.hosts[firewall.name], firewall, vlans, legs)
    total = len(testbed.nodes) + len(prefixes)
    data = text.defaults.get("data")
    named = {**(data if isinstance(data, Mapping) else {}), "testbed": f"{LAB}-{total}"}
    return InventoryText(hosts, groups, {**text.defaults, "data": named})


def _worker(like: Entry, vlan: str, management: str, address: IPv4Interface) -> Entry:
    """A worker as another one is, but for its addresses and its VLAN."""
    others = [group for group in groups_of(like) if not group.startswith(VLAN_PREFIX)]
    data = like.get("data")
    own = {**(data if isinstance(data, Mapping) else {}), "underlay": str(address)}
    return {**like, "hostname": management, "groups": [*others, vlan], "data": own}


def _with_legs(entry: Entry, firewall: Node, vlans: list[str], legs: Mapping[int, str]) -> Entry:
    data = entry.get("data")
    known = {leg.vid: leg.interface for leg in firewall.legs}
    own = {**(data if isinstance(data, Mapping) else {}), "legs": {**known, **legs}}
    return {**entry, "groups": [*groups_of(entry), *vlans], "data": own}
