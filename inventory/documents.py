"""An inventory as Nornir's three YAML documents: the form in which YAML and NetBox are compared."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from nornir.core.inventory import (
    ConnectionOptions,
    Defaults,
    Group,
    Groups,
    Host,
    Hosts,
    Inventory,
    ParentGroups,
)
from nornir.plugins.inventory import SimpleInventory

from inventory.load import check_folder
from vpnmesh.errors import InputError

Entry = dict[str, object]
Element = TypeVar("Element")

PLAIN_KEYS = ("hostname", "port", "username", "password", "platform")
KEYS = (*PLAIN_KEYS, "groups", "data", "connection_options")
NOTHING: tuple[object, ...] = (None, {}, [], ())


@dataclass(frozen=True, slots=True)
class Documents:
    """Hosts, groups and defaults as the YAML files hold them, empty values left out; order counts."""

    hosts: Mapping[str, Entry]
    groups: Mapping[str, Entry]
    defaults: Entry = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """The content of the three files, by file name."""
        documents: dict[str, object] = {"defaults": _ordered(self.defaults)}
        for file, entries in (("hosts", self.hosts), ("groups", self.groups)):
            documents[file] = {name: _ordered(entry) for name, entry in entries.items()}
        return {
            f"{name}.yaml": yaml.dump(
                document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True
            )
            for name, document in documents.items()
        }


class _Dumper(yaml.SafeDumper):
    """YAML without anchors: two hosts in the same groups are two lists."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def mapping(value: object) -> Entry:
    """The value if it is a mapping, else an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def names(value: object) -> list[str]:
    """The value as a list of names, empty if it is none."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


def without_nothing(entry: Mapping[str, object]) -> Entry:
    """The entry without the keys that hold nothing."""
    return {key: value for key, value in entry.items() if value not in NOTHING}


def read_folder(folder: Path) -> Documents:
    """The three YAML files of a folder, as Nornir reads them; InputError names the file that is wrong."""
    files = check_folder(folder)
    try:
        inventory = SimpleInventory(*(str(files[name]) for name in ("hosts", "groups", "defaults"))).load()
    except KeyError as error:
        problem = f"a host is in group {error}, which groups.yaml lacks"
        raise InputError(str(files["hosts"]), problem) from error
    return documents_of(inventory)


def documents_of(inventory: Inventory) -> Documents:
    """What an inventory says, host by host; nothing inherited is in a host's own entry."""
    content = inventory.dict()
    return Documents(
        {name: _entry(host) for name, host in content["hosts"].items()},
        {name: _entry(group) for name, group in content["groups"].items()},
        _entry(content["defaults"]),
    )


def _entry(element: Mapping[str, object]) -> Entry:
    options = {
        name: without_nothing(mapping(option))
        for name, option in mapping(element["connection_options"]).items()
    }
    first = {key: element.get(key) for key in (*PLAIN_KEYS, "groups", "data")}
    return without_nothing({**first, "connection_options": options})


def _ordered(entry: Entry) -> Entry:
    """The entry with its keys in one order: PostgreSQL keeps none, and no diff shall show that."""
    return {key: _sorted(entry[key]) for key in KEYS if key in entry}


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value, key=str)}
    return value


def inventory_of(documents: Documents) -> Inventory:
    """The Nornir inventory that SimpleInventory makes of the same three files."""
    defaults = _element(Defaults, documents.defaults)
    groups, hosts = Groups(), Hosts()
    for name, entry in documents.groups.items():
        groups[name] = _element(Group, entry, name=name, defaults=defaults)
    for name, entry in documents.hosts.items():
        hosts[name] = _element(Host, entry, name=name, defaults=defaults)
    for name, group in groups.items():
        group.groups = ParentGroups(
            [groups[parent] for parent in names(documents.groups[name].get("groups"))]
        )
    for name, host in hosts.items():
        host.groups = ParentGroups([groups[parent] for parent in names(documents.hosts[name].get("groups"))])
    return Inventory(hosts=hosts, groups=groups, defaults=defaults)


def _element(kind: Callable[..., Element], entry: Entry, **more: object) -> Element:
    options = {
        name: ConnectionOptions(**mapping(option))  # type: ignore[arg-type]
        for name, option in mapping(entry.get("connection_options")).items()
    }
    plain = {key: entry.get(key) for key in PLAIN_KEYS}
    return kind(**plain, data=mapping(entry.get("data")), connection_options=options, **more)


def diff(before: Documents, after: Documents, before_name: str, after_name: str) -> str:
    """A unified diff of the two inventories; empty when they say the same."""
    lines: list[str] = []
    new = after.texts()
    for file, text in before.texts().items():
        labels = (f"{before_name}/{file}", f"{after_name}/{file}")
        lines += difflib.unified_diff(text.splitlines(), new[file].splitlines(), *labels, lineterm="")
    return "\n".join(lines)
