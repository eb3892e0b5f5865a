"""The YAML inventory as the lab's own command line reads it; what is right is judged by `vpnmesh.testbed`.

The core may not import `inventory`, and the lab needs little of it: the same files, merged as Nornir does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from vpnmesh.errors import InputError
from vpnmesh.model import Testbed
from vpnmesh.testbed import HostRecord, InventoryRecords, build_testbed

Entries = dict[str, Mapping[str, object]]


def default_folder() -> Path:
    """`inventory/lab` where the command is given, else the one beside this package."""
    here = Path("inventory", "lab")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / "inventory" / "lab"


def read_testbed(folder: Path) -> Testbed:
    """The testbed of a folder with hosts, groups and defaults; InputError names what is wrong."""
    hosts, groups = (_entries(folder / name) for name in ("hosts.yaml", "groups.yaml"))
    defaults = _mapping(_load(folder / "defaults.yaml").get("data"), folder / "defaults.yaml", "data")
    place = str(folder / "hosts.yaml")
    records = tuple(
        HostRecord(
            name,
            str(entry.get("hostname") or ""),
            tuple(_groups(entry, place, name)),
            {**defaults, **_inherited(entry, groups, place, name)},
        )
        for name, entry in hosts.items()
    )
    data = {name: _mapping(entry.get("data"), folder / "groups.yaml", name) for name, entry in groups.items()}
    return build_testbed(InventoryRecords(place, records, data, defaults))


def _inherited(entry: Mapping[str, object], groups: Entries, place: str, name: str) -> dict[str, object]:
    """An entry's own data over that of its groups, the first group over the next."""
    merged: dict[str, object] = {}
    for group in reversed(list(_groups(entry, place, name))):
        if group not in groups:
            raise InputError(f"{place}: {name}: groups", f"'{group}' is not in groups.yaml")
        merged |= _inherited(groups[group], groups, place, group)
    return merged | dict(_mapping(entry.get("data"), place, name))


def _groups(entry: Mapping[str, object], place: str, name: str) -> Iterator[str]:
    listed = entry.get("groups") or []
    if not isinstance(listed, list):
        raise InputError(f"{place}: {name}: groups", "is no list")
    return (str(group) for group in listed)


def _entries(path: Path) -> Entries:
    return {str(name): _mapping(entry, path, str(name)) for name, entry in _load(path).items()}


def _load(path: Path) -> Mapping[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(str(path), "missing", "copy it from inventory/lab") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(str(path), f"no YAML: {' '.join(str(error).split())}") from error
    return _mapping(content, path, "the file")


def _mapping(value: object, place: Path | str, name: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{place}: {name}", "is not a mapping")
    return value
