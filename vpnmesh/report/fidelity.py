"""How like its original a twin is: round trips and loss of paths, rates of cells, and the order of scenarios.

Nothing is pooled and nothing is corrected: both figures stand side by side, with the interval of their ratio or
difference where each side has as many figures as an interval takes (`fewest_for_interval`), and "too few" where not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from vpnmesh.doctor.paths import RecordedPath, RecordedPaths
from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import CellKey, CellSample, cell_samples
from vpnmesh.report.setting import SUBSTRATE, refuse_unlike
from vpnmesh.report.tables import Study
from vpnmesh.stats.describe import Summary, describe
from vpnmesh.stats.intervals import (
    Interval,
    difference_interval,
    fewest_for_interval,
    ratio_interval,
    share_interval,
)

PLACE = "--fidelity"
MARGIN = 0.1
MARGIN_MS = 0.5
"""A round trip is taken to be alike within a tenth, or within this: a busy lab is no nearer to a very short path."""
Row = tuple[str, ...]
_WAY_OUT = "name a file of the real testbed, then one of its twin"


class Alike(StrEnum):
    """What an interval says of two figures."""

    YES = "yes"
    NO = "no"
    OPEN = "open"
    TOO_FEW = "too few"


@dataclass(frozen=True, slots=True)
class SideBySide:
    """A table of a twin beside its original, and what it comes to in sentences."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    sentences: tuple[str, ...]


def paths_beside(real: RecordedPaths, twin: RecordedPaths) -> SideBySide:
    """Every path that both files have; InputError where there is none."""
    others = {frozenset(path.ends): path for path in twin.paths}
    both = [(path, others[frozenset(path.ends)]) for path in real.paths if frozenset(path.ends) in others]
    if not both:
        raise InputError(PLACE, f"{real.testbed} and {twin.testbed} have no path in common", _WAY_OUT)
    judged = [rtt_alike(one, other) for one, other in both]
    rows = tuple(_path_row(one, other, alike) for (one, other), alike in zip(both, judged, strict=True))
    columns = ("path", "real, ms", "twin, ms", "twin - real, ms", "alike", "real loss, %", "twin loss, %")
    return SideBySide(f"paths of {real.testbed} and {twin.testbed}", columns, rows, _path_sentences(judged))


def _path_row(real: RecordedPath, twin: RecordedPath, alike: Alike) -> Row:
    return (
        " - ".join(real.ends),
        rtt_in_words(real),
        rtt_in_words(twin),
        _interval_in_words(_rtt_difference(real, twin), "{:+.2f}", min(len(real.rtts_ms), len(twin.rtts_ms))),
        alike,
        loss_in_words(real),
        loss_in_words(twin),
    )


def _path_sentences(judged: Sequence[Alike]) -> tuple[str, ...]:
    counts = Counter(judged)
    margin = f"{MARGIN:.0%} or {MARGIN_MS:g} ms"
    said = f"{counts[Alike.YES]} of {len(judged)} paths have the real round trip within {margin}"
    others = [(Alike.NO, "have another"), (Alike.OPEN, "are open")]
    said += "".join(f", {counts[kind]} {words}" for kind, words in others if counts[kind])
    if not counts[Alike.TOO_FEW]:
        return (said,)
    needed = f"an interval takes {fewest_for_interval()} rounds of each"
    return said, f"{counts[Alike.TOO_FEW]} paths are not judged: {needed}"


def rtt_alike(real: RecordedPath, twin: RecordedPath) -> Alike:
    """Whether the interval of the difference lies within the margin, outside of it, or across its edge."""
    found = _rtt_difference(real, twin)
    if found is None or real.rtt_ms is None:
        return Alike.TOO_FEW
    margin = max(MARGIN_MS, MARGIN * real.rtt_ms)
    if found.low > margin or found.high < -margin:
        return Alike.NO
    return Alike.YES if found.low >= -margin and found.high <= margin else Alike.OPEN


def _rtt_difference(real: RecordedPath, twin: RecordedPath) -> Interval | None:
    if not _enough(real.rtts_ms, twin.rtts_ms):
        return None
    return difference_interval(describe(twin.rtts_ms), describe(real.rtts_ms))


def _enough(*samples: Sequence[float]) -> bool:
    return min(len(sample) for sample in samples) >= fewest_for_interval()


def rtt_in_words(path: RecordedPath) -> str:
    """The median of the rounds; between the least and the most of enough rounds the true median lies (sign test)."""
    if path.rtt_ms is None:
        return "no answer"
    rtts = path.rtts_ms
    if not _enough(rtts):
        return f"{path.rtt_ms:.2f} (too few rounds: {len(rtts)})"
    return f"{path.rtt_ms:.2f} ({min(rtts):.2f} to {max(rtts):.2f})"


def loss_in_words(path: RecordedPath) -> str:
    """The share of all pings, with the interval of Clopper and Pearson."""
    found = share_interval(path.lost, path.sent)
    return f"{path.loss_pct:.2f} ({100 * found.low:.2f} to {100 * found.high:.2f})"


def _interval_in_words(found: Interval | None, form: str, fewest: int) -> str:
    if found is None:
        return (
            "no bounds"
            if fewest >= fewest_for_interval()
            else f"too few: {fewest} of {fewest_for_interval()}"
        )
    return f"{form.format(found.estimate)} ({form.format(found.low)} to {form.format(found.high)})"


def runs_beside(real: Study, twin: Study) -> SideBySide:
    """Every cell that both runs measured; InputError where none is, or where they asked different questions."""
    refuse_unlike(real, twin, PLACE, SUBSTRATE)
    cells = [cell_samples(study.samples, study.scenarios) for study in (real, twin)]
    both = [cell for cell in cells[0] if cell in cells[1]]
    if not both:
        raise InputError(PLACE, "the two runs have no cell in common", _WAY_OUT)
    rows = tuple(_cell_row(cell, cells[0][cell], cells[1][cell]) for cell in both)
    columns = ("scenario", "condition", "test", "real, Mbit/s (n)", "twin, Mbit/s (n)", "twin / real")
    return SideBySide(
        "cells of the real run and of the twin's",
        (*columns, "real, ms", "twin, ms"),
        rows,
        (order_in_words(both, *cells),),
    )


def _cell_row(cell: CellKey, real: CellSample, twin: CellSample) -> Row:
    a, b = real.tally.summary(), twin.tally.summary()
    fewest = min(a.n, b.n)
    ratio = ratio_interval(b, a) if fewest >= fewest_for_interval() else None
    words = _interval_in_words(ratio, "{:.2f}", fewest)
    return (*cell, _mean(a), _mean(b), words, _ms(real), _ms(twin))


def _mean(found: Summary) -> str:
    return "not measured" if found.mean is None else f"{found.mean:.1f} ({found.n})"


def _ms(sample: CellSample) -> str:
    return "" if sample.rtt_ms is None else f"{sample.rtt_ms:.2f}"


def order_in_words(
    both: Sequence[CellKey], real: Mapping[CellKey, CellSample], twin: Mapping[CellKey, CellSample]
) -> str:
    """What the twin says of each pair of scenarios that the real run decides."""
    pairs = [(a, b) for a, b in combinations(both, 2) if a[1:] == b[1:]]
    signs = [(_sign(real[a], real[b]), _sign(twin[a], twin[b])) for a, b in pairs]
    decided = [(first, second) for first, second in signs if first]
    if not decided:
        return (
            f"order of scenarios: of {len(pairs)} pairs the real run decides none, so nothing is said of the twin's "
            f"(a pair takes {fewest_for_interval()} figures of each scenario)"
        )
    same = sum(first == second for first, second in decided)
    open_ = sum(second == 0 for _, second in decided)
    return (
        f"order of scenarios: of {len(decided)} pairs that the real run decides the twin decides {same} alike, "
        f"{len(decided) - same - open_} the other way round, {open_} not"
    )


def _sign(a: CellSample, b: CellSample) -> int:
    """1 where a is faster, -1 where b is, 0 where the interval of their ratio holds 1 or figures are too few."""
    first, second = a.tally.summary(), b.tally.summary()
    if min(first.n, second.n) < fewest_for_interval():
        return 0
    found = ratio_interval(first, second)
    if found is None or found.low <= 1 <= found.high:
        return 0
    return 1 if found.low > 1 else -1
