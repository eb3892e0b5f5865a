"""A finding: what was looked at, where, what was seen, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """What a finding means for a run: nothing, figures to be read with care, or no run."""

    GOOD = "good"
    WARNING = "warning"
    FATAL = "fatal"


class Check(StrEnum):
    """What is looked at; a table shows them in this order."""

    MACHINE = "machine"
    KERNEL = "kernel"
    BINARIES = "binaries"
    INVENTORY = "inventory"
    SSH = "ssh"
    CLOCK = "clock"
    MTU = "mtu"
    TRAFFIC = "traffic"
    LOAD = "load"
    LEFTOVERS = "leftovers"
    ALIKE = "alike"
    FOREIGN = "foreign"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer; `do` says the way out, and only what is good needs none."""

    check: Check
    grade: Grade
    where: str
    said: str
    do: str = ""

    def __post_init__(self) -> None:
        """A finding that helps nobody is refused (ValueError)."""
        if self.grade is not Grade.GOOD and not self.do:
            raise ValueError(f"{self.check}: {self.said}: nothing to do about it")


def good(check: Check, where: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Grade.GOOD, where, said)


def warning(check: Check, where: str, said: str, do: str) -> Finding:
    """A run would work, and its figures must be read with this."""
    return Finding(check, Grade.WARNING, where, said, do)


def fatal(check: Check, where: str, said: str, do: str) -> Finding:
    """A run would fail."""
    return Finding(check, Grade.FATAL, where, said, do)


def would_fail(findings: Iterable[Finding]) -> bool:
    """Whether a run would fail."""
    return any(finding.grade is Grade.FATAL for finding in findings)


def joined(findings: Iterable[Finding], everywhere: Sequence[str]) -> list[Finding]:
    """The same finding of several nodes as one, in the order of the checks; all nodes are `all nodes`."""
    places: dict[tuple[Check, Grade, str, str], list[str]] = {}
    for one in findings:
        places.setdefault((one.check, one.grade, one.said, one.do), []).append(one.where)
    order = list(Check)
    found = [
        Finding(check, grade, _places(where, everywhere), said, do)
        for (check, grade, said, do), where in places.items()
    ]
    return sorted(found, key=lambda one: order.index(one.check))


def _places(where: Sequence[str], everywhere: Sequence[str]) -> str:
    return "all nodes" if len(where) > 1 and set(where) == set(everywhere) else ", ".join(where)
