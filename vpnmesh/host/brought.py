"""Files that were brought to a node: a list on the node itself says which, so that only these are taken away again."""

from collections.abc import Sequence
from dataclasses import dataclass

from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

LIST = "/var/lib/vpnmesh/brought"
"""`SHA-256  PATH` a line, as sha256sum writes it."""

# constant scripts: paths are arguments
_THERE = 'sha256sum "$1" 2> /dev/null | cut -d" " -f1; true'
_LISTED = """awk -v path="$1" '$2 == path {print $1}' "$2" 2> /dev/null; true"""
_OURS = """where=$(command -v "$1") && awk -v path="$where" '$2 == path' "$2" 2> /dev/null; true"""
_FREE = 'd="$1"; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; df -B1 --output=avail "$d" | tail -n 1'
_WITHDRAW = """
while read -r sum path; do
  [ ! -e "$path" ] || ! echo "$sum  $path" | sha256sum --status -c || rm -f "$path"
  rm -f "$path.vpnmesh-new"
done < "$1"
rm -f "$1" "$1.new"
"""
_HASH_S = 120.0
"""How long a node may take for the checksum of a file of a gigabyte."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A path on a node: the checksum of what is there, of what was brought there ("" for nothing), and the disk."""

    sha256: str
    listed: str
    free_bytes: int


def brought(path: str) -> Fact[Brought]:
    """What the node has at that path, and whether it is ours."""

    def parse(completed: Sequence[Completed]) -> Brought:
        there, listed, free = (one.stdout.strip() for one in completed)
        return Brought(there, listed, int(free) if free.isdigit() else 0)

    return Fact(
        (
            Command(("sh", "-c", _THERE, "sh", path), timeout_s=_HASH_S),
            _listed(path),
            Command(("sh", "-c", _FREE, "sh", path)),
        ),
        parse,
    )


def program_there(name: str) -> Fact[tuple[str, str]]:
    """Where the node has that program, but "" where it was brought there, and the node's processor (`uname -m`)."""

    def parse(completed: Sequence[Completed]) -> tuple[str, str]:
        where, ours, machine = (one.stdout.strip() for one in completed)
        return ("" if ours else where), machine

    which = Command(("sh", "-c", 'command -v "$1" || true', "sh", name))
    ours = Command(("sh", "-c", _OURS, "sh", name, LIST))
    return Fact((which, ours, Command(("uname", "-m"))), parse)


def withdrawn() -> Fact[Plan]:
    """Remove every file that was brought and is still the same; the list goes too."""

    def parse(completed: Sequence[Completed]) -> Plan:
        listed = completed[0].stdout.strip()
        if not listed:
            return Plan()
        step = Command(("sh", "-c", _WITHDRAW, "sh", LIST), timeout_s=_HASH_S)
        return Plan((step,), unified_diff("brought here", listed, ""))

    return Fact((Command(("cat", LIST), ok=(0, 1)),), parse)


def _listed(path: str) -> Command:
    return Command(("sh", "-c", _LISTED, "sh", path, LIST))
