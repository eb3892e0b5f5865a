"""Nornir's three YAML documents, judged before anybody makes an inventory of them: shape and types of every entry.

What the entries mean (roles, addresses, VLANs) is judged by `vpnmesh.testbed`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError
from vpnmesh.testbed import HostRecord, InventoryRecords

Entry = Mapping[str, object]
Entries = Mapping[str, Entry]

FILES = ("hosts", "groups", "defaults")
_PLAIN: Mapping[str, tuple[type, str]] = {
    "hostname": (str, "text"),
    "port": (int, "a number"),
    "username": (str, "text"),
    "password": (str, "text"),
    "platform": (str, "text"),
}
_OPTION = {**_PLAIN, "extras": (dict, "a mapping")}
_ENTRY = {
    **_PLAIN,
    "groups": (list, "a list"),
    "data": (dict, "a mapping"),
    "connection_options": (dict, "a mapping"),
}
_MOST_PORT = 65535


@dataclass(frozen=True, slots=True)
class InventoryText:
    """What the three files hold."""

    hosts: Entries
    groups: Entries
    defaults: Entry

    def records(self, place: str) -> InventoryRecords:
        """The hosts with the data of their groups and of the defaults in them, merged as Nornir does."""
        defaults = _data(self.defaults)
        hosts = tuple(
            HostRecord(
                name,
                str(entry.get("hostname") or ""),
                tuple(groups_of(entry)),
                {**defaults, **self._inherited(entry)},
            )
            for name, entry in self.hosts.items()
        )
        return InventoryRecords(
            place, hosts, {name: _data(entry) for name, entry in self.groups.items()}, defaults
        )

    def _inherited(self, entry: Entry) -> dict[str, object]:
        """An entry's own data over that of its groups, the first group over the next."""
        merged: dict[str, object] = {}
        for group in reversed(groups_of(entry)):
            merged |= self._inherited(self.groups[group])
        return merged | dict(_data(entry))


def parse_inventory(contents: Mapping[str, bytes], places: Mapping[str, str]) -> InventoryText:
    """The three documents by name, of the shape that Nornir reads; InputError names file, entry and key."""
    hosts, groups = (
        _entries(parse_yaml(contents[name], places[name]), places[name]) for name in ("hosts", "groups")
    )
    found = parse_yaml(contents["defaults"], places["defaults"])
    defaults = _mapping(found if found is not None else {}, f"{places['defaults']}: the file")
    _check(defaults, places["defaults"], _ENTRY)
    _check_groups(hosts, groups, places["hosts"])
    _check_groups(groups, groups, places["groups"])
    _check_circles(groups, places["groups"])
    return InventoryText(hosts, groups, defaults)


def groups_of(entry: Entry) -> list[str]:
    """The names of the groups that an entry is in."""
    listed = entry.get("groups")
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _data(entry: Entry) -> Mapping[str, object]:
    data = entry.get("data")
    return data if isinstance(data, Mapping) else {}


def _entries(content: object, place: str) -> Entries:
    entries = _mapping(content, f"{place}: the file")
    for name, entry in entries.items():
        if not isinstance(name, str):
            raise InputError(f"{place}: {name}", "the name is no text", "write it in quotes")
        _check(_mapping(entry, f"{place}: {name}"), f"{place}: {name}", _ENTRY)
    return {name: _mapping(entry, place) for name, entry in entries.items()}


def _check(entry: Entry, place: str, known: Mapping[str, tuple[type, str]]) -> None:
    for key, value in entry.items():
        if key not in known:
            raise InputError(f"{place}: {key}", "unknown key", f"known are: {', '.join(known)}")
        kind, words = known[key]
        if key == "connection_options" and value is None:
            _refuse(place, key, value, words)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            _refuse(place, key, value, words)
    _check_inside(entry, place)


def _check_inside(entry: Entry, place: str) -> None:
    port = entry.get("port")
    if isinstance(port, int) and not 0 < port <= _MOST_PORT:
        raise InputError(f"{place}: port", f"{port} is no port", f"ports are 1 to {_MOST_PORT}")
    _check_texts(entry.get("groups"), f"{place}: groups")
    for key in ("data", "extras"):
        _check_texts(entry.get(key), f"{place}: {key}")
    options = entry.get("connection_options")
    for name, option in options.items() if isinstance(options, dict) else ():
        inside = f"{place}: connection_options: {name}"
        _check(_mapping(option, inside), inside, _OPTION)


def _check_texts(names: object, place: str) -> None:
    """Names in a list, or the keys of a mapping, are text."""
    for name in names if isinstance(names, Iterable) else ():
        if not isinstance(name, str):
            raise InputError(place, f"{str(name)[:40]!r} is no text", "write it in quotes")


def _refuse(place: str, key: str, value: object, wanted: str) -> NoReturn:
    way_out = "write it in quotes" if wanted == "text" else f"write {wanted}"
    raise InputError(f"{place}: {key}", f"{str(value)[:40]!r} is not {wanted}", way_out)


def _mapping(value: object, place: str) -> Entry:
    if not isinstance(value, dict):
        raise InputError(place, "is not a mapping", "write {} for nothing, and compare inventory/lab")
    return value


def _check_groups(entries: Entries, groups: Entries, place: str) -> None:
    for name, entry in entries.items():
        for group in groups_of(entry):
            if group not in groups:
                raise InputError(
                    f"{place}: {name}: groups", f"unknown group '{group}'", "define it in groups.yaml"
                )


def _check_circles(groups: Entries, place: str) -> None:
    """Refuse a group that is inside itself: nobody could say what it inherits."""
    for name in groups:
        above, waiting = set[str](), groups_of(groups[name])
        while waiting:
            one = waiting.pop()
            if one == name:
                raise InputError(f"{place}: {name}: groups", "the group is inside itself", "take it out")
            if one not in above:
                above.add(one)
                waiting += groups_of(groups[one])
