"""The programs that a scenario wants: of which version, and from which folder of the nodes.

A folder is looked in first (it is put before PATH), for everything that the solution runs or asks on a node; what it
does not hold comes from where it always came.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from vpnmesh.host.service import looking_in
from vpnmesh.model import Node, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Step, Text
from vpnmesh.solutions.protocol import Binary, Mesh, MeshRole, Solution, Stage

T = TypeVar("T")
Argv = tuple[str, ...]
_VERSION = re.compile(r"\d+(?:\.\d+)+[0-9A-Za-z+~.-]*")


def program_of(solution: Solution) -> Binary | None:
    """The program that carries the data plane on a member; None where there is none, or the kernel does it."""
    members = [one for one in solution.binaries if one.at is MeshRole.MEMBER]
    return next((one for one in members if one.name in solution.processes), None)


def told_version(text: str) -> str:
    """The first version in what a program says of itself; its first line where there is none."""
    found = _VERSION.search(text)
    return found.group().rstrip(".") if found else (text.strip().splitlines() or ["without a version"])[0]


def is_version(wanted: str, text: str) -> bool:
    """Whether a program says that it is of that version: 1.8 is not 1.8.2, and 1.6.1 is 1.6.1+dfsg too."""
    return re.search(rf"(?<![\w.]){'v?'}{re.escape(wanted)}(?![\w]|\.\w)", text) is not None


def telling(programs: Iterable[Binary]) -> tuple[Binary, ...]:
    """Those that tell a version of their own, once each though several roles need it."""
    found: dict[str, Binary] = {}
    for one in programs:
        if one.version[:1] == (one.name,):
            found.setdefault(one.name, one)
    return tuple(found.values())


def version_questions(scenarios: Iterable[Scenario], solutions: Mapping[str, Solution]) -> Iterator[Argv]:
    """What tells the versions of all programs: from where nodes have them, and from the scenarios' own folders."""
    for solution in solutions.values():
        yield from (one.version for one in solution.binaries if one.version)
    for scenario in scenarios:
        binaries = solutions[scenario.solution].binaries if scenario.program_folder else ()
        yield from (version_command(program, scenario) for program in telling(binaries))


def version_command(program: Binary, scenario: Scenario) -> Argv:
    """What tells the version of a program that names itself there: the scenario's own, where that has a folder."""
    if not scenario.program_folder:
        return program.version
    return (f"{scenario.program_folder.rstrip('/')}/{program.name}", *program.version[1:])


def solution_from(solution: Solution, scenario: Scenario) -> Solution:
    """The solution with its programs taken from the scenario's folder; the same one where it names none."""
    if not scenario.program_folder:
        return solution
    return cast("Solution", _FromFolder(solution, scenario.program_folder))


@dataclass(frozen=True, slots=True)
class _FromFolder:
    """A solution all of whose commands look in a folder first; everything else is the solution's own."""

    solution: Solution
    folder: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.solution, name)

    def stages(self, mesh: Mesh) -> tuple[Stage, ...]:
        return tuple(self._stage(stage) for stage in self.solution.stages(mesh))

    def leave(self, mesh: Mesh, node: Node) -> Fact[Plan]:
        return self._plan(self.solution.leave(mesh, node))

    def blacklist(self, mesh: Mesh, node: Node) -> Fact[Plan] | None:
        wanted = self.solution.blacklist(mesh, node)
        return None if wanted is None else self._plan(wanted)

    def status(self, mesh: Mesh, node: Node) -> Any:
        return self._fact(self.solution.status(mesh, node))

    def _stage(self, stage: Stage) -> Stage:
        def plan(mesh: Mesh, node: Node) -> Fact[Plan]:
            return self._plan(stage.plan(mesh, node))

        def publish(mesh: Mesh, node: Node) -> Fact[dict[str, Text]]:
            return self._fact(stage.publish(mesh, node))

        return replace(stage, plan=plan, publish=publish)

    def _fact(self, fact: Fact[T]) -> Fact[T]:
        def parse(completed: Sequence[Completed]) -> T:
            # an answer says which command it is of, as the solution knows it
            own = zip(fact.commands, completed, strict=True)
            return fact.parse(tuple(replace(one, argv=command.argv) for command, one in own))

        return Fact(tuple(self._command(command) for command in fact.commands), parse)

    def _plan(self, fact: Fact[Plan]) -> Fact[Plan]:
        return self._fact(fact).map(lambda plan: replace(plan, steps=tuple(map(self._step, plan.steps))))

    def _step(self, step: Step) -> Step:
        return self._command(step) if isinstance(step, Command) else step

    def _command(self, command: Command) -> Command:
        return replace(command, argv=looking_in(self.folder, command.argv))
