"""Cases dealt out over the targets, run one after the other, and findings made small."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from tests.fuzz.target import Case, Finding, Target, look

_MOST_TRIES = 300
_LONGEST_S = 5.0
_RANGE = 10**9


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one target's cases; `findings` has each mistake once, with its smallest input."""

    target: str
    cases: int
    seconds: float
    findings: tuple[Finding, ...]


def dealt(targets: Sequence[Target[Any]], cases: int) -> dict[str, int]:
    """How many cases each target gets: by its share, one at least, exactly so many in all."""
    shares = sum(one.share for one in targets)
    found = {one.name: max(1, int(cases * one.share / shares)) for one in targets}
    widest = max(targets, key=lambda one: one.share).name
    found[widest] += max(0, cases - sum(found.values()))
    return found


def run(targets: Sequence[Target[Any]], cases: int, seed: int) -> Iterable[Tally]:
    """All cases of every target, numbered from what the seed gives."""
    for target, count in ((one, dealt(targets, cases)[one.name]) for one in targets):
        first = Random(f"{target.name}:{seed}").randrange(_RANGE)
        yield tally(target, range(first, first + count))


def tally(target: Target[Any], numbers: Sequence[int]) -> Tally:
    """These cases of a target; a mistake that many inputs make is told once."""
    begun = time.monotonic()
    found: dict[str, Finding] = {}
    for number in numbers:
        finding = look(target, target.case(number), number)
        if finding and finding.key not in found:
            found[finding.key] = small(target, finding)
    return Tally(target.name, len(numbers), time.monotonic() - begun, tuple(found.values()))


def small(target: Target[Any], finding: Finding) -> Finding:
    """The same mistake from less input, as far as some hundred tries find it."""
    before = target.case(finding.number).before
    until = time.monotonic() + _LONGEST_S

    def still(value: object) -> bool:
        if time.monotonic() > until:
            return False
        again = look(target, Case(before, value), finding.number)
        return again is not None and again.key == finding.key

    return replace(finding, value=_smaller(finding.value, still))


def _smaller(value: Any, still: Callable[[object], bool]) -> Any:
    if isinstance(value, str | bytes):
        return _shorter(value, still)
    if isinstance(value, Mapping):
        files = dict(value)
        for name in [name for name, held in files.items() if isinstance(held, str | bytes)]:
            files[name] = _shorter(files[name], partial(_still_with, still, files, name))
        return files
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return _shorter(value, still)
    return value


def _still_with(still: Callable[[object], bool], files: Mapping[str, Any], name: str, one: object) -> bool:
    return still({**files, name: one})


def _shorter(value: Any, still: Callable[[Any], bool]) -> Any:
    """Pieces taken out, from halves down to single characters, as long as the mistake stays."""
    piece, tries = len(value) // 2, 0
    while piece and tries < _MOST_TRIES:
        at = 0
        while at < len(value) and tries < _MOST_TRIES:
            tries += 1
            less = value[:at] + value[at + piece :]
            if still(less):
                value = less
            else:
                at += piece
        piece //= 2
    return value
