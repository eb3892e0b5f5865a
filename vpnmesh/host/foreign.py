"""What of other people's VPNs is on a node: daemons that are not ours, and interfaces that no daemon belongs to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vpnmesh.host.strangers import MARKS, RUN_DIRECTORY, STRANGERS
from vpnmesh.plan import Command, Completed, Fact

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Foreign:
    """What an installation that is not ours looks like: a product's daemons by name, and kinds of links without one.

    `stop` is how its owner gets it out of the way. `own` are words in a command line that only daemons of ours have.
    Where it `shares` names of interfaces, rules or ports with ours, a scenario of ours cannot be up beside it.
    """

    product: str
    processes: tuple[str, ...]
    links: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    stop: str = ""
    shares: bool = True


@dataclass(frozen=True, slots=True)
class FoundForeign:
    """One thing on a node that is not ours: whose it looks like, and what it is."""

    solution: str
    product: str
    what: str
    stop: str = ""
    shares: bool = True


# constant script: run directory, marks, --, names of processes, --, kinds of links
_LOOK = (
    'run="$1"; shift\n'
    + STRANGERS
    + """
marks=; while [ "$1" != -- ]; do marks="$marks $1"; shift; done; shift
names=; while [ "$1" != -- ]; do names="$names $1"; shift; done; shift
strangers $marks -- $names | sed 's/^/process /'
for kind in "$@"; do ip -o link show type "$kind" 2> /dev/null | sed "s/^[0-9]*: \\([^:@]*\\).*/link $kind \\1/"; done
true
"""
)


def foreign_vpns(known: Mapping[str, Foreign], interfaces: Collection[str]) -> Fact[tuple[FoundForeign, ...]]:
    """All that is there of the products that solutions, by name, know of; `interfaces` are named as ours are.

    Nothing of ours is among it, also of a run that was killed.
    """
    names = tuple(dict.fromkeys(name for one in known.values() for name in one.processes))
    kinds = tuple(dict.fromkeys(kind for one in known.values() for kind in one.links))
    own = tuple(dict.fromkeys(word for one in known.values() for word in one.own))
    argv = ("sh", "-c", _LOOK, "sh", RUN_DIRECTORY, *MARKS, *own, "--", *names, "--", *kinds)

    def parse(completed: Sequence[Completed]) -> tuple[FoundForeign, ...]:
        lines = (line.split(" ", 3) for line in completed[0].stdout.splitlines())
        found = (one for line in lines for one in _found(known, interfaces, line))
        return tuple(dict.fromkeys(found))

    return Fact((Command(argv, timeout_s=30),), parse)


def _found(
    known: Mapping[str, Foreign], interfaces: Collection[str], line: Sequence[str]
) -> list[FoundForeign]:
    kind, first, second, *rest = [*line, "", ""]
    if kind == "process":
        what = f"process {second} ({' '.join(rest).strip()[:_LONGEST] or first})"
        owners = [name for name, one in known.items() if first in one.processes]
    else:
        what = f"interface {second}"
        owners = [name for name, one in known.items() if first in one.links and second not in interfaces]
    return [
        FoundForeign(name, known[name].product, what, known[name].stop, known[name].shares)
        for name in owners[:1]
    ]
