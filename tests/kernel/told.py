"""What pytest's JUnit file says of a run in the guest: how many ended how, and what netem did in each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

HEAD = ("| place | end | condition | pings | lost, % | added delay, ms |", f"|{' --- |' * 6}")


@dataclass(frozen=True, slots=True)
class NetemRow:
    """What 2,000 pings showed of one condition: `added_ms` is the least round trip's excess over that without it."""

    place: str
    end: str
    condition: str
    sent: int
    lost: int
    added_ms: float

    def __str__(self) -> str:
        lost_pct = 100 * self.lost / self.sent
        return f"| {self.place} | {self.end} | {self.condition} | {self.sent} | {lost_pct:.2f} | {self.added_ms:.2f} |"


@dataclass(frozen=True, slots=True)
class Told:
    """The outcomes counted, and what netem did."""

    passed: int
    skipped: int
    failed: int
    netem: tuple[NetemRow, ...] = ()


def read_told(path: Path) -> Told:
    """Read `junit.xml`; an absent one tells of nothing."""
    if not path.exists():
        return Told(0, 0, 0)
    cases = list(ET.parse(path).getroot().iter("testcase"))
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    rows = tuple(row for case in cases for row in _netem_rows(case))
    return Told(len(cases) - skipped - failed, skipped, failed, rows)


def _netem_rows(case: ET.Element) -> Iterator[NetemRow]:
    for one in case.iter("property"):
        if one.get("name") == "netem":
            place, end, condition, sent, lost, clean_ms, seen_ms = str(one.get("value")).split("|")
            yield NetemRow(place, end, condition, int(sent), int(lost), float(seen_ms) - float(clean_ms))


def summary(told: Told, seconds: float) -> Sequence[str]:
    """The closing lines: netem's table where it was measured, and how many ended how."""
    table = (*HEAD, *map(str, told.netem)) if told.netem else ()
    ended = (
        f"stock kernel: {told.passed} passed, {told.failed} failed, {told.skipped} skipped in {seconds:.0f} s"
    )
    return [*table, ended]
