"""What a command would change on nodes, sorted by kind, as the diffs of a dry run name it; for a person who agrees."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class ChangeKind(StrEnum):
    """The kinds in which changes are listed, in this order."""

    PACKAGES = "packages"
    FILES = "files"
    PROCESSES = "units and processes"
    SYSCTLS = "kernel settings"
    INTERFACES = "interfaces"
    FIREWALL = "firewall rules"
    SWITCH = "switch ports"
    PODS = "pods"
    IMPAIRMENT = "impairment"
    OWN = "in what it sets up itself"


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One thing on one host: `what` is a path, a unit, an interface, or the lines that a diff would add."""

    kind: ChangeKind
    host: str
    what: str


_TITLES = {
    "sysctl": ChangeKind.SYSCTLS,
    "firewall policy": ChangeKind.FIREWALL,
    "firewall": ChangeKind.FIREWALL,
    "outgoing": ChangeKind.FIREWALL,
    "switch ports": ChangeKind.SWITCH,
    "pod network": ChangeKind.PODS,
    "pod": ChangeKind.PODS,
    "pods": ChangeKind.PODS,
}
_SERVICE = "service "
_IMPAIRMENT = "impairment "
_MOST_LINES = 6
"""How many lines of a diff are repeated; `--dry-run` shows all."""


def changes_in(host: str, diff: str, interfaces: Sequence[str] = ()) -> Iterator[Change]:
    """What a dry run's diff says that would be other on that host; `interfaces` may be titles in it."""
    for title, added in _parts(diff.splitlines()):
        if title.startswith("/"):
            yield Change(ChangeKind.FILES, host, title)
        elif title.startswith(_SERVICE):
            yield Change(ChangeKind.PROCESSES, host, f"vpnmesh-{title.removeprefix(_SERVICE)}")
        elif _IMPAIRMENT in title:
            yield Change(ChangeKind.IMPAIRMENT, host, _said(title, added))
        elif title in interfaces:
            yield Change(ChangeKind.INTERFACES, host, title)
        else:
            yield from _others(host, title, added)


def _others(host: str, title: str, added: Sequence[str]) -> Iterator[Change]:
    kind = _TITLES.get(title, ChangeKind.OWN)
    if kind is ChangeKind.PODS:
        devices = {line.split()[1] for line in added if line.startswith("veth ")}
        devices |= {"vxlan.calico" for line in added if line.startswith("vxlan ")}
        yield from (Change(ChangeKind.INTERFACES, host, device) for device in sorted(devices))
        added = [line for line in added if line.startswith("pod ")] or added
    if kind is ChangeKind.OWN:
        yield Change(kind, host, title)
    elif added:
        yield Change(kind, host, _said("", added))


def listed(changes: Iterable[Change]) -> list[str]:
    """The changes as lines: kind by kind, hosts with the same ones together."""
    by_kind: dict[ChangeKind, dict[str, list[str]]] = {}
    for one in sorted(set(changes)):
        by_kind.setdefault(one.kind, {}).setdefault(one.what, []).append(one.host)
    lines = []
    for kind in ChangeKind:
        found = _by_hosts(by_kind.get(kind, {}))
        lines.append(f"{kind}:{'' if found else ' none'}")
        lines += [f"  {', '.join(hosts)}: {'; '.join(things)}" for hosts, things in found.items()]
    return lines


def _by_hosts(hosts: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for what, names in hosts.items():
        found.setdefault(tuple(names), []).append(what)
    return found


def _said(title: str, added: Sequence[str]) -> str:
    more = [f"and {len(added) - _MOST_LINES} lines more"] if len(added) > _MOST_LINES else []
    text = ", ".join([*added[:_MOST_LINES], *more])
    return f"{title}: {text}" if title else text


def _parts(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The parts of several diffs: each its title, and the lines that it adds; a line without one is its own title."""
    title, added = "", list[str]()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("+++ ") and before == f"--- {line[4:]}":
            if title:
                yield title, added
            title, added = line[4:], []
        elif line.startswith("+") and title:
            added.append(line[1:])
    if title:
        yield title, added
    elif lines:
        yield "; ".join(lines), []
