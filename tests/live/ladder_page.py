"""A page of documentation as a person follows it: its commands, and the lines that they are said to print.

A block marked `console` holds commands behind `$ ` (this machine, as its user) or `# ` (as root on every node); what
follows a command is what it prints. `...` stands for any text within a line, and on a line of its own for any lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PROMPTS = {"$ ": False, "# ": True}
_ANYTHING = "..."
_CODE = re.compile(r"^exit code (\d+)$")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the page: under which heading it is, where it is typed, and what it is said to print."""

    heading: str
    command: str
    on_nodes: bool
    expected: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the page says that it ends with, on a last line `exit code N`; 0 where it says nothing."""
        found = _CODE.match(self.expected[-1]) if self.expected else None
        return int(found[1]) if found else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """What it is said to print."""
        return tuple(line for line in self.expected if not _CODE.match(line))


def steps_of(page: Path) -> list[Step]:
    """Every command of the page, in the order in which a reader comes to it."""
    text = page.read_text(encoding="utf-8")
    return [
        step for block in _BLOCK.finditer(text) for step in _steps(block[1], _heading(text[: block.start()]))
    ]


def _heading(before: str) -> str:
    return str(re.findall(r"^## (.*)$", before, re.MULTILINE)[-1])


def _steps(block: str, heading: str) -> Iterator[Step]:
    command: list[str] = []
    expected: list[str] = []
    for line in [*block.splitlines(), "$ "]:
        if command and not expected and _goes_on(command):
            command.append(line)
        elif line[:2] not in _PROMPTS:
            expected.append(line)
        else:
            if command:
                typed = "\n".join((command[0][2:], *command[1:]))
                yield Step(heading, typed, _PROMPTS[command[0][:2]], tuple(expected))
            command, expected = [line], []


def _goes_on(command: list[str]) -> bool:
    """Whether the next line belongs to the command: after a backslash, or inside of a here-document."""
    here = re.search(r"<< '(\w+)'", command[0])
    return command[-1].endswith("\\") or (here is not None and here[1] not in command[1:])


def unlike(step: Step, said: str) -> str:
    """The first line of the page that is not where it should be in what was printed; "" where all are."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    at, skipping = 0, False
    for wanted in (" ".join(line.split()) for line in step.lines if line.strip()):
        if wanted == _ANYTHING:
            skipping = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split(_ANYTHING)))
        found = (n for n in range(at, len(lines) if skipping else at + 1) if n < len(lines))
        hit = next((n for n in found if pattern.fullmatch(lines[n])), None)
        if hit is None:
            return wanted
        at, skipping = hit + 1, False
    whole = skipping or at == len(lines) or not step.lines
    return "" if whole else f"(nothing more) {lines[at]}"
