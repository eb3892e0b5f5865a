"""Which advisories of the Go project's database are about the modules that our programs are built from; pure.

By module and version alone: whether a program calls what is wrong in a module is not asked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_REQUIRED = re.compile(r"^\s*(?:require\s+)?([^\s()]+)\s+(v\d\S*)", re.MULTILINE)
_REPLACED = re.compile(r"^\s*(?:replace\s+)?(\S+)(?:\s+v\S+)?\s+=>\s+(\S+)\s+(v\S+)", re.MULTILINE)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+\S*)?")
STANDARD = ("stdlib", "toolchain")
"""What the database calls Go's own library and commands: whoever builds decides their version."""

Order = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """An advisory about a module in the version that is used; `fixed` is the first version without it, "" if none."""

    id: str
    module: str
    version: str
    fixed: str
    summary: str


def modules(text: str) -> dict[str, str]:
    """The modules that a go.mod requires, with their versions, its replacements made."""
    required = {name: version for name, version in _REQUIRED.findall(text) if "=>" not in name}
    for name, other, version in _REPLACED.findall(text):
        if required.pop(name, None) is not None:
            required[other] = version
    return required


def findings(used: Mapping[str, str], advisories: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """What the advisories say of these modules, sorted; withdrawn ones say nothing."""
    return sorted(
        {
            found
            for advisory in advisories
            if "withdrawn" not in advisory
            for found in _in_advisory(used, advisory)
        }
    )


def _in_advisory(used: Mapping[str, str], advisory: Mapping[str, Any]) -> Iterator[Finding]:
    for affected in advisory.get("affected", ()):
        name = str(affected["package"]["name"])
        version = used.get(name)
        if version is None or name in STANDARD:
            continue
        for one in affected.get("ranges", ()):
            hit, fixed = affects(version, one.get("events", ()))
            if hit:
                yield Finding(advisory["id"], name, version, fixed, str(advisory.get("summary", "")))


def affects(version: str, events: Sequence[Mapping[str, str]]) -> tuple[bool, str]:
    """Whether a version lies in what these events introduce and fix, and the first fixed version after it."""
    at, inside = order(version), False
    for event in events:
        if "introduced" in event and at >= order(event["introduced"]):
            inside = True
        if "fixed" in event:
            if at < order(event["fixed"]):
                return inside, event["fixed"] if inside else ""
            inside = False
    return inside, ""


def order(version: str) -> Order:
    """A version as what it is sorted by (semver.org, section 11); "0" is before all."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (0, 0, 0, 0, ())
    major, minor, patch, before = found.groups()
    words = tuple(
        (0, int(word), "") if word.isdigit() else (1, 0, word) for word in (before or "").split(".") if word
    )
    return (int(major), int(minor), int(patch), 0 if before else 1, words)
