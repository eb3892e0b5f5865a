"""YAML into NetBox: observe, plan with a diff, apply, look again; a second run finds nothing to do.

Objects are found by natural keys. Those that carry the testbed's own tag are made equal to what is wanted,
and deleted when no longer wanted; sites, roles, platforms, tags and the like are only made where missing.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from inventory.documents import Documents, mapping
from inventory.netbox_client import BATCH, NetBox, Query, Row
from inventory.netbox_objects import Ref, WantedObject, objects_of, owner_tag
from vpnmesh.errors import VerifyError


def _below(row: Row, *path: str) -> str:
    value: object = row
    for name in path:
        value = mapping(value).get(name)
    return str(value)


def _of_host(row: Row) -> str:
    return f"{_below(row, 'site', 'slug')}/{row['name']}"


def _of_port(row: Row) -> str:
    owner = "device" if "device" in row else "virtual_machine"
    return f"{_below(row, owner, 'name')}/{row['name']}"


def _of_address(row: Row) -> str:
    port = mapping(row.get("assigned_object"))
    return f"{row['address']} on {_of_port(port) if port else 'nothing'}"


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """How objects of one kind are called, and whether `seed` may change them.

    Owned ones are found by the owner's tag; the others by their unique field, among the wanted ones only.
    """

    key: Callable[[Row], str]
    unique: str = ""
    owned: bool = False


def _shared(unique: str, *, owned: bool = False) -> ObjectKind:
    return ObjectKind(lambda row: str(row[unique]), unique, owned)


def _tagged(key: Callable[[Row], str]) -> ObjectKind:
    return ObjectKind(key, owned=True)


# in the order in which they can be made; what is deleted goes in the opposite one
KINDS: dict[str, ObjectKind] = {
    "extras/tags": _shared("slug"),
    "extras/custom-field-choice-sets": _shared("name"),
    "extras/custom-fields": _shared("name"),
    "dcim/sites": _shared("slug"),
    "dcim/platforms": _shared("slug"),
    "dcim/device-roles": _shared("slug"),
    "dcim/manufacturers": _shared("slug"),
    "dcim/device-types": _shared("slug"),
    # a config context cannot carry a tag of its own; its name is the testbed's
    "extras/config-contexts": _shared("name", owned=True),
    "ipam/vlan-groups": _tagged(lambda row: str(row["slug"])),
    "ipam/vlans": _tagged(lambda row: f"{_below(row, 'group', 'slug')}/{row['vid']}"),
    "ipam/prefixes": _tagged(lambda row: str(row["prefix"])),
    "dcim/devices": _tagged(_of_host),
    "virtualization/virtual-machines": _tagged(_of_host),
    "dcim/interfaces": _tagged(_of_port),
    "virtualization/interfaces": _tagged(_of_port),
    "ipam/ip-addresses": _tagged(_of_address),
}


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object to make, to change or to delete; `fields` are those that differ, `before` what they hold."""

    verb: str
    kind: str
    key: str
    fields: Mapping[str, object] = field(default_factory=dict)
    before: Mapping[str, object] = field(default_factory=dict)
    id: int | None = None

    def lines(self) -> Iterator[str]:
        """The change as a person reads it."""
        sign = {"post": "+", "patch": "~", "delete": "-"}[self.verb]
        yield f"{sign} {self.kind} {self.key}"
        for name, value in self.fields.items():
            if self.verb == "patch":
                yield f"  - {name}: {_shown(self.before.get(name))}"
            yield f"  + {name}: {_shown(value)}"


def _shown(value: object) -> str:
    if isinstance(value, Ref):
        return value.key
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, Mapping):
        known = next(
            (value[name] for name in ("slug", "address", "name", "value", "display") if name in value), None
        )
        return str(known) if known and "id" in value else json.dumps(value, sort_keys=True, default=str)
    return str(value)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """What NetBox lacks; falsy when it holds everything already."""

    changes: tuple[ObjectChange, ...]
    ids: Mapping[Ref, int]

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def diff(self) -> str:
        """Every change, one line for the object and one for each field."""
        return "\n".join(line for change in self.changes for line in change.lines())

    def count(self, verb: str) -> int:
        """How many objects are made (post), changed (patch) or deleted (delete)."""
        return sum(change.verb == verb for change in self.changes)


def plan(netbox: NetBox, documents: Documents, place: str) -> SeedPlan:
    """Compare NetBox with what the documents need; nothing is written."""
    wanted = objects_of(documents, place)
    tag = owner_tag(str(mapping(documents.defaults.get("data")).get("testbed", "testbed")))
    found = _observe(netbox, wanted, tag)
    ids = {
        Ref(kind, KINDS[kind].key(row)): int(str(row["id"])) for kind, rows in found.items() for row in rows
    }
    rows = {(kind, KINDS[kind].key(row)): row for kind, rows in found.items() for row in rows}
    changes = [*_deletions(found, wanted), *_changes(rows, wanted, ids)]
    return SeedPlan(tuple(changes), ids)


def _observe(netbox: NetBox, wanted: Sequence[WantedObject], tag: str) -> dict[str, list[Row]]:
    """The rows that matter of every kind; nothing can carry a tag that does not exist yet."""
    keys = {kind: [one.key for one in wanted if one.kind == kind] for kind in KINDS}
    shared = [kind for kind in KINDS if KINDS[kind].unique and keys[kind]]
    queries = [Query(kind, filters={KINDS[kind].unique: keys[kind]}) for kind in shared]
    found = dict(zip(shared, netbox.read(*queries), strict=True))
    if any(row["slug"] == tag for row in found["extras/tags"]):
        owned = [kind for kind in KINDS if not KINDS[kind].unique]
        found |= dict(
            zip(owned, netbox.read(*(Query(kind, filters={"tag": tag}) for kind in owned)), strict=True)
        )
    return found


def _deletions(found: Mapping[str, Sequence[Row]], wanted: Iterable[WantedObject]) -> Iterator[ObjectChange]:
    keys = {(one.kind, one.key) for one in wanted}
    for kind, about in reversed(KINDS.items()):
        for row in found.get(kind, ()) if about.owned else ():
            key = about.key(row)
            if (kind, key) not in keys:
                yield ObjectChange("delete", kind, key, id=int(str(row["id"])))


def _changes(
    rows: Mapping[tuple[str, str], Row], wanted: Sequence[WantedObject], ids: Mapping[Ref, int]
) -> Iterator[ObjectChange]:
    for kind, about in KINDS.items():
        for one in (one for one in wanted if one.kind == kind):
            row = rows.get((kind, one.key))
            if row is None:
                yield ObjectChange("post", kind, one.key, one.fields)
            elif about.owned:
                new = {
                    name: value for name, value in one.fields.items() if not _same(value, row.get(name), ids)
                }
                if new:
                    before = {name: row.get(name) for name in new}
                    yield ObjectChange("patch", kind, one.key, new, before, ids[one.ref])


def _same(wanted: object, found: object, ids: Mapping[Ref, int]) -> bool:
    """Whether a field of NetBox has the wanted value; NetBox shows the same value in several forms."""
    if isinstance(wanted, Ref):
        # an object that is still to be made has no id, and must not equal an empty field
        return wanted in ids and ids[wanted] == _id_of(found)
    if isinstance(wanted, list) and isinstance(found, list):
        return {ids.get(item, -1) if isinstance(item, Ref) else str(item) for item in wanted} == {
            _id_of(item) for item in found
        }
    if isinstance(found, Mapping) and set(found) == {"value", "label"}:
        return bool(wanted == found["value"])
    if isinstance(wanted, Mapping) and isinstance(found, Mapping) and "id" not in found:
        return all(_same(wanted.get(key), found.get(key), ids) for key in _compared(wanted, found))
    return wanted == found


def _id_of(found: object) -> object:
    """The id of a related object, which NetBox shows nested; any other value as it is."""
    return found.get("id") if isinstance(found, Mapping) else found


def _compared(wanted: Mapping[str, object], found: Mapping[str, object]) -> Collection[str]:
    """The keys to compare of two mappings: a config context is ours with all its keys, of custom fields only ours."""
    is_context = any(isinstance(value, Mapping) for value in wanted.values())
    return {**wanted, **found} if is_context else wanted


def apply(netbox: NetBox, documents: Documents, place: str) -> SeedPlan:
    """Bring NetBox to what the documents say; returns what was changed, VerifyError if a difference is left.

    Deletions come first, by themselves: an address that moves is free only after its old interface is gone.
    """
    first = plan(netbox, documents, place)
    current = first
    if first.count("delete"):
        _write(netbox, [change for change in first.changes if change.verb == "delete"], dict(first.ids))
        current = plan(netbox, documents, place)
    _write(netbox, current.changes, dict(current.ids))
    if first and (rest := plan(netbox, documents, place)):
        raise VerifyError(netbox.url, "everything seeded", rest.diff[:400])
    return first


def _write(netbox: NetBox, changes: Iterable[ObjectChange], ids: dict[Ref, int]) -> None:
    """Write batch by batch; a field that points to an object not made yet waits until the end."""
    later: list[ObjectChange] = []
    for (verb, kind), group in groupby(changes, key=lambda change: (change.verb, change.kind)):
        batch = list(group)
        for start in range(0, len(batch), BATCH):
            part = batch[start : start + BATCH]
            answers = netbox.write(verb, kind, [_body(change, ids) for change in part], [c.key for c in part])
            if verb == "post":
                ids |= {
                    Ref(kind, change.key): int(str(row["id"]))
                    for change, row in zip(part, answers, strict=True)
                }
        later += [change for change in batch if _waiting(change, ids)]
    for change in later:
        fields = {name: value for name, value in change.fields.items() if name.startswith("primary_ip")}
        own = ids[Ref(change.kind, change.key)]
        netbox.write(
            "patch", change.kind, [_body(ObjectChange("patch", "", "", fields, id=own), ids)], [change.key]
        )


def _waiting(change: ObjectChange, ids: Mapping[Ref, int]) -> bool:
    return any(isinstance(value, Ref) and value not in ids for value in change.fields.values())


def _body(change: ObjectChange, ids: Mapping[Ref, int]) -> Row:
    fields = {name: _plain(value, ids) for name, value in change.fields.items()}
    missing = {name for name, value in change.fields.items() if isinstance(value, Ref) and value not in ids}
    body = {name: value for name, value in fields.items() if name not in missing}
    return body if change.id is None else {"id": change.id, **body}


def _plain(value: object, ids: Mapping[Ref, int]) -> object:
    if isinstance(value, Ref):
        return ids.get(value)
    return [_plain(item, ids) for item in value] if isinstance(value, list) else value
