"""Golden files of plans and configurations, and facts answered from captured exchanges.

With VPNMESH_REGOLD=1 the files are written anew, for a person to review.
"""

import json
import os
import shlex
from pathlib import Path
from typing import TypeVar

from vpnmesh.plan import Command, Completed, Fact, Plan, Step, WriteFile, reveal

T = TypeVar("T")
FOLDER = Path(__file__).parent / "expected"


def golden(name: str, text: str) -> str:
    """The reviewed text of that name; with VPNMESH_REGOLD set, `text` becomes it."""
    path = FOLDER / name
    if os.environ.get("VPNMESH_REGOLD"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def rendered(plan: Plan) -> str:
    """A plan as lines: what is run with which input, what is written where, and the diff."""
    return "".join(_step(step) for step in plan.steps) + f"--- diff ---\n{plan.diff}\n"


def _step(step: Step) -> str:
    if isinstance(step, WriteFile):
        # a spec is salted anew every time
        content = "<spec>" if step.path.endswith(".spec") else reveal(step.content)
        return f"write {step.path} {step.mode:o}\n{_indented(content)}"
    fed = f"< {_indented(reveal(step.stdin))}" if step.stdin else ""
    return f"{shlex.join(step.argv)}{f' ok {step.ok}' if step.ok != (0,) else ''}\n{fed}"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def blank(commands: tuple[Command, ...], exit_code: int = 1, stdout: str = "") -> list[Completed]:
    """Every question answered alike."""
    return [Completed(command.argv, exit_code, stdout, "") for command in commands]


def answered(fact: Fact[T], exit_code: int = 1, stdout: str = "") -> T:
    """The fact on a node where every question is answered alike."""
    return fact.parse(blank(fact.commands, exit_code, stdout))


def replayed(fact: Fact[T], exchange: Path) -> T:
    """The fact answered by what a real node said; fails when it asks something else than was asked then."""
    said = [
        Completed(tuple(one["argv"]), one["exit_code"], one["stdout"], one["stderr"])
        for one in json.loads(exchange.read_text(encoding="utf-8"))
    ]
    assert [one.argv for one in said] == [command.argv for command in fact.commands]
    return fact.parse(said)
