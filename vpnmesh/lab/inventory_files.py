"""The YAML inventory as the lab's own command line reads it; what is right is judged by `vpnmesh.testbed`.

The core may not import `inventory`, and the lab needs little of it: the same files, merged as Nornir does.
"""

from collections.abc import Mapping
from pathlib import Path

from vpnmesh.documents.inventory_text import FILES, Entries, Entry, groups_of, parse_inventory
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.model import Testbed
from vpnmesh.testbed import HostRecord, InventoryRecords, build_testbed


def default_folder() -> Path:
    """`inventory/lab` where the command is given, else the one beside this package."""
    here = Path("inventory", "lab")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / "inventory" / "lab"


def read_testbed(folder: Path) -> Testbed:
    """The testbed of a folder with hosts, groups and defaults; InputError names what is wrong."""
    paths = {name: folder / f"{name}.yaml" for name in FILES}
    found = parse_inventory(
        {name: _content(path) for name, path in paths.items()},
        {name: str(path) for name, path in paths.items()},
    )
    defaults = _data(found.defaults)
    records = tuple(
        HostRecord(
            name,
            str(entry.get("hostname") or ""),
            tuple(groups_of(entry)),
            {**defaults, **_inherited(entry, found.groups)},
        )
        for name, entry in found.hosts.items()
    )
    data = {name: _data(entry) for name, entry in found.groups.items()}
    return build_testbed(InventoryRecords(str(paths["hosts"]), records, data, defaults))


def _inherited(entry: Entry, groups: Entries) -> dict[str, object]:
    """An entry's own data over that of its groups, the first group over the next."""
    merged: dict[str, object] = {}
    for group in reversed(groups_of(entry)):
        merged |= _inherited(groups[group], groups)
    return merged | dict(_data(entry))


def _data(entry: Entry) -> Mapping[str, object]:
    data = entry.get("data")
    return data if isinstance(data, Mapping) else {}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "copy it from inventory/lab") from error
