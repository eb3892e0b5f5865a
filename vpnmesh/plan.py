"""What to do on a node, as a value: commands and files in order, and the diff that a person reads.

An empty plan is falsy and means "already so". `tasks.apply` carries plans out; nothing here touches a host.
"""

import difflib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")
_SALT = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that shows itself as a mask everywhere but in `reveal()`.

    Equal texts have equal masks within one process, so that a reader sees that they are the same; the mask is
    keyed with a random salt that no process keeps, so a short password cannot be found by trying.
    """

    _value: str

    def reveal(self) -> str:
        """The text itself, for the wire only."""
        return self._value

    def __str__(self) -> str:
        return f"<secret {hashlib.blake2b(self._value.encode(), key=_SALT, digest_size=4).hexdigest()}>"

    def __repr__(self) -> str:
        return str(self)


Text = str | Secret


def reveal(text: Text) -> str:
    """The text for the wire, whether secret or not."""
    return text.reveal() if isinstance(text, Secret) else text


@dataclass(frozen=True, slots=True)
class Command:
    """One argv to run on a node as root; `ok` are the exit codes that count as success."""

    argv: tuple[str, ...]
    stdin: Text = ""
    timeout_s: float = 20.0
    ok: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file with these bytes, replaced in one move; mode 0600 unless the reader is another user."""

    path: str
    content: Text
    mode: int = 0o600


Step = Command | WriteFile


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered steps and the diff they make; falsy when there is nothing to do."""

    steps: tuple[Step, ...] = ()
    diff: str = ""

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __add__(self, other: "Plan") -> "Plan":
        """Both plans as one: the left first."""
        return Plan(self.steps + other.steps, "\n".join(part for part in (self.diff, other.diff) if part))


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command said."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """A question to a node: which commands to ask, and how their output becomes a value.

    Commands may fail (a missing file is an answer): `parse` sees every exit code.
    """

    commands: tuple[Command, ...]
    parse: Callable[[Sequence[Completed]], T]

    def map(self, function: Callable[[T], U]) -> "Fact[U]":
        """The same question, with the answer put through `function`."""
        return Fact(self.commands, lambda completed: function(self.parse(completed)))


def ask(*argv: str, timeout_s: float = 20.0) -> Fact[Completed]:
    """The fact that one command's outcome is."""
    return Fact((Command(tuple(argv), timeout_s=timeout_s),), lambda completed: completed[0])


def together(facts: Mapping[str, Fact[T]]) -> Fact[dict[str, T]]:
    """Several questions as one, in one round trip."""

    def parse(completed: Sequence[Completed]) -> dict[str, T]:
        answers, start = {}, 0
        for name, fact in facts.items():
            answers[name] = fact.parse(completed[start : start + len(fact.commands)])
            start += len(fact.commands)
        return answers

    return Fact(tuple(command for fact in facts.values() for command in fact.commands), parse)


def both(first: Fact[T], second: Fact[U]) -> Fact[tuple[T, U]]:
    """Two questions of different kinds in one round trip."""
    cut = len(first.commands)

    def parse(completed: Sequence[Completed]) -> tuple[T, U]:
        return first.parse(completed[:cut]), second.parse(completed[cut:])

    return Fact(first.commands + second.commands, parse)


def unified_diff(name: str, before: Text | None, after: Text | None) -> str:
    """The diff of a file or of any state written as lines; a secret shows only that it changes."""
    if isinstance(before, Secret) or isinstance(after, Secret):
        return "" if before == after else f"--- {name}\n+++ {name}\n-{before or ''}\n+{after or ''}"
    lines = difflib.unified_diff(
        (before or "").splitlines(), (after or "").splitlines(), fromfile=name, tofile=name, lineterm=""
    )
    return "\n".join(lines)


def chain(plans: Iterable[Plan]) -> Plan:
    """The plans one after another."""
    return sum(plans, start=Plan())


def at_most(wanted: Fact[Plan]) -> Plan:
    """The plan for a node on which every question finds something: for leaving, all that there may ever be to do."""
    return wanted.parse([Completed(command.argv, 0, "something\n", "") for command in wanted.commands])


def in_order(*plans: Fact[Plan]) -> Fact[Plan]:
    """Several plans as one, asked in one round trip and carried out in this order."""
    numbered = {str(number): plan for number, plan in enumerate(plans)}
    return together(numbered).map(lambda found: chain(found.values()))
