"""What the guest kept of a run: how each test ended and how long it took, and what netem did in each."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD = ("| condition | where | asked | seen |", f"|{' --- |' * 4}")


@dataclass(frozen=True, slots=True)
class NetemRow:
    """What netem was asked for at one place and end, and what was seen, in words with units."""

    condition: str
    where: str
    asked: str
    seen: str

    def __str__(self) -> str:
        return f"| `{self.condition}` | {self.where} | {self.asked} | {self.seen} |"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a test ended: passed, failed, skipped, or `cut off` where it did not come to its end."""

    test: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """The tests that began, in their order, and what netem did."""

    tests: tuple[Ended, ...] = ()
    netem: tuple[NetemRow, ...] = ()

    def count(self, outcome: str) -> int:
        """How many ended so."""
        return sum(test.outcome == outcome for test in self.tests)


def read_told(path: Path) -> Told:
    """Read what the plugin `at_once` kept; an absent file tells of nothing, a line that was cut off is left out."""
    phases: dict[str, list[tuple[str, str, float]]] = {}
    rows: list[NetemRow] = []
    for line in _lines(path):
        phases.setdefault(line["test"], []).append((line["phase"], line["outcome"], line["seconds"]))
        rows += [NetemRow(*row.split("|")) for row in line["netem"]]
    return Told(tuple(_ended(test, seen) for test, seen in phases.items()), tuple(rows))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _ended(test: str, phases: Sequence[tuple[str, str, float]]) -> Ended:
    outcomes = [outcome for _, outcome, _ in phases if outcome]
    complete = any(phase == "teardown" for phase, _, _ in phases)
    worst = next(
        (one for one in ("failed", "skipped") if one in outcomes), "passed" if complete else "cut off"
    )
    return Ended(test, worst, sum(seconds for _, _, seconds in phases))


def summary(told: Told, asked: Sequence[str], seconds: float) -> Sequence[str]:
    """The closing lines: netem's table where it was measured, each test, and how many ended how."""
    begun = {test.test for test in told.tests}
    not_begun = [test for test in asked if test not in begun]
    counts = [(told.count(outcome), outcome) for outcome in ("passed", "failed", "skipped", "cut off")]
    counts.append((len(not_begun), "not begun"))
    words = ", ".join(f"{number} {outcome}" for number, outcome in counts if number or outcome == "passed")
    return [
        *((*HEAD, *map(str, told.netem)) if told.netem else ()),
        *(f"{test.outcome:>9} {test.seconds:5.0f} s  {test.test}" for test in told.tests),
        *(f"not begun          {test}" for test in not_begun),
        f"stock kernel: {words} in {seconds:.0f} s",
    ]
