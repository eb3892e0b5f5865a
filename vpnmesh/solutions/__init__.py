"""One module per VPN, or none at all: how it is deployed, how its path is read; found by name.

`SOLUTIONS` are the modules of this package that define `SOLUTION`, then those of the user's own packages (entry points
of the group `vpnmesh.solutions`).
"""

from collections.abc import Iterable

from vpnmesh.host.foreign import Foreign
from vpnmesh.host.probes import Program
from vpnmesh.registry import Registry
from vpnmesh.solutions.protocol import Solution

GROUP = "vpnmesh.solutions"
"""The group of entry points by which a package offers a solution."""

SOLUTIONS: Registry[Solution] = Registry(__name__, "SOLUTION", GROUP, Solution, word="solution")


def solution_named(name: str) -> Solution:
    """The solution of that name; UnknownNameError lists the known ones."""
    return SOLUTIONS.named(name)


def packaged(solutions: Iterable[Solution]) -> tuple[Program, ...]:
    """The programs of these solutions that a Debian package brings, each once."""
    binaries = (binary for solution in solutions for binary in solution.binaries if binary.package)
    return tuple(dict.fromkeys(Program(binary.name, binary.package) for binary in binaries))


def known_foreign() -> dict[str, Foreign]:
    """What installations that are not ours look like, by solution."""
    return {one.name: one.foreign for one in SOLUTIONS.values() if one.foreign is not None}


def all_interfaces() -> tuple[str, ...]:
    """The names of every solution's interfaces: none of them may be up beside another solution's."""
    return tuple(name for solution in SOLUTIONS.values() for name in solution.interfaces)
