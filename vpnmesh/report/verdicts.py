"""What is decided of every pair of scenarios under a condition: the table that a first screen is made of.

A run that measured until pairs were decided has its own verdicts. Those of all other results follow one fixed rule:
`differ` where Mann-Whitney rejects after Holm's correction, `equivalent` where the 90 % interval of the difference lies
within the margin, else `undecided`, with the reason and, where it can be told, the minutes that would likely decide it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from vpnmesh.frames.aggregate import CellKey, CellSample, means_by_cell
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.report.pairwise import FEW_FOR_TEST
from vpnmesh.stats.compare import ALPHA, fewest_for_test
from vpnmesh.stats.describe import Summary
from vpnmesh.stats.intervals import (
    EQUIVALENCE_CONFIDENCE,
    difference_interval,
    fewest_for_interval,
    is_within_margin,
)
from vpnmesh.stats.power import repetitions_to_match, repetitions_to_tell
from vpnmesh.stats.sequential import PairVerdict

DEFAULT_MARGIN_PCT = 2.0
"""Equivalent means closer than this where the profile of a run says nothing else."""

VERDICTS: dict[str, pl.DataType] = {
    "test": pl.String(),
    "condition": pl.String(),
    "a": pl.String(),
    "b": pl.String(),
    # differ | equivalent | undecided (`vpnmesh.stats.sequential.PairVerdict`)
    "verdict": pl.String(),
    # mean of a / mean of b (of an adaptive run: of their levels) with its interval; its limits are empty where there
    # are too few figures for one
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
    # equivalent means closer than this share of the larger mean
    "margin_pct": pl.Float64(),
    "n_a": pl.Int64(),
    "n_b": pl.Int64(),
    # how many more minutes of measuring would likely decide an open pair; empty where it is decided, or nobody knows
    "minutes_more": pl.Float64(),
    # why a pair is open, in words, with what kind of reason it is before the colon; empty where it is decided
    "because": pl.String(),
}
"""A row per pair, test and condition, in the order of `pairwise`."""

TOO_FEW, NOTHING, SLOW_START, TOO_CLOSE = (
    "too few figures",
    "nothing measured",
    "slow start",
    "too close",
)
"""The kinds of reasons why a pair is open: what `because` begins with."""
_MORE_AT_LEAST = 1.2
"""A pair that stayed open by chance, though it has as many figures as it should need, is measured a fifth longer."""


@dataclass(frozen=True, slots=True)
class MeasuredCells:
    """The figures that pairs are judged by: each cell's summary, and the seconds that a repetition of it takes."""

    summaries: Mapping[CellKey, Summary]
    seconds: Mapping[CellKey, float] = field(default_factory=dict)

    @classmethod
    def of(cls, cells: Mapping[CellKey, CellSample], samples: pl.DataFrame) -> "MeasuredCells":
        """From a study's cells, and the repetitions that say how long each took."""
        return cls({key: cell.tally.summary() for key, cell in cells.items()}, seconds_by_cell(samples))


def seconds_by_cell(samples: pl.DataFrame) -> dict[CellKey, float]:
    """How long a measured repetition of each cell took with its checks, where that was recorded."""
    return {cell: seconds for cell, seconds in means_by_cell(samples, "elapsed_s").items() if seconds}


@dataclass(frozen=True, slots=True)
class _Pair:
    """One row of `pairwise` with the summaries of both sides, and the rule that judges it."""

    row: Mapping[str, object]
    a: Summary
    b: Summary
    margin: float
    pairs: int
    open_pairs: int

    @property
    def fewest(self) -> int:
        """The figures of the side that has fewer."""
        return min(self.a.n, self.b.n)

    @property
    def verdict(self) -> PairVerdict:
        """What the fixed rule says."""
        if self.row["reject_holm"]:
            return PairVerdict.DIFFER
        return PairVerdict.EQUIVALENT if self._equivalent else PairVerdict.UNDECIDED

    @property
    def _equivalent(self) -> bool:
        enough = not self.unfit and self.fewest >= fewest_for_interval()
        return enough and is_within_margin(self.a, self.b, self.margin)

    @property
    def unfit(self) -> str:
        """Why more figures of the same kind decide nothing, "" where they would."""
        withheld = str(self.row["withheld"] or "")
        return "" if FEW_FOR_TEST in withheld else withheld

    @property
    def _too_few(self) -> bool:
        return self.row["p"] is None or self.fewest < fewest_for_interval()

    @property
    def wanted(self) -> int | None:
        """How many figures of each side would likely decide it; None where these say nothing of that."""
        if self.unfit or self._too_few:
            return None
        ways = (
            repetitions_to_tell(self.a, self.b, ALPHA / max(self.open_pairs, 1)),
            repetitions_to_match(self.a, self.b, self.margin, EQUIVALENCE_CONFIDENCE),
        )
        found = [way for way in ways if way is not None]
        return max(min(found), math.ceil(_MORE_AT_LEAST * self.fewest)) if found else None

    @property
    def because(self) -> str:
        """Why an open pair is open."""
        if missing := [
            str(self.row[side]) for side, sample in (("a", self.a), ("b", self.b)) if not sample.n
        ]:
            return f"{NOTHING}: {', '.join(missing)}"
        if self.unfit:
            return self.unfit
        if self._too_few:
            needed = max(fewest_for_test(self.pairs), fewest_for_interval())
            return f"{TOO_FEW}: {self.a.n} and {self.b.n}, and {_pairs_need(self.pairs)} {needed} of each"
        return f"{TOO_CLOSE}: {self._reach}"

    @property
    def _reach(self) -> str:
        interval = difference_interval(self.a, self.b, EQUIVALENCE_CONFIDENCE)
        larger = max(self.a.mean or 0.0, self.b.mean or 0.0)
        if interval is None or not larger:
            return "no interval of the difference"
        low, high = (100 * limit / larger for limit in (interval.low, interval.high))
        more = f"; about {self.wanted} figures of each would likely decide it" if self.wanted else ""
        return f"the difference is {low:+.1f} to {high:+.1f} %, and the margin {100 * self.margin:g} %{more}"


def _pairs_need(count: int) -> str:
    return "1 pair needs" if count == 1 else f"{count} pairs need"


def verdicts(pairwise: pl.DataFrame, measured: MeasuredCells, margin_pct: float) -> pl.DataFrame:
    """A row per pair of the throughput tests by the fixed rule."""
    rows = []
    for family in pairwise.filter(pl.col("test").is_in(THROUGHPUT_TESTS)).partition_by(
        "test", "condition", maintain_order=True
    ):
        told = family.drop_nulls("p")
        pairs = family.filter(pl.col("n_a") > 0, pl.col("n_b") > 0).height
        still = told.height - int(told["reject_holm"].sum())
        rows += [_row(row, measured, margin_pct, pairs, still) for row in family.to_dicts()]
    return pl.DataFrame(rows, schema=VERDICTS, orient="row")


def _row(
    row: Mapping[str, object], measured: MeasuredCells, margin_pct: float, pairs: int, still: int
) -> dict[str, object]:
    keys = [(str(row[side]), str(row["condition"]), str(row["test"])) for side in ("a", "b")]
    nothing = Summary(0, None, None)
    a, b = (measured.summaries.get(key, nothing) for key in keys)
    pair = _Pair(row, a, b, margin_pct / 100, pairs, still)
    is_open = pair.verdict is PairVerdict.UNDECIDED
    return {
        **{name: row[name] for name in ("test", "condition", "a", "b", "ratio", "ratio_low", "ratio_high")},
        "verdict": pair.verdict.value,
        "margin_pct": margin_pct,
        "n_a": a.n,
        "n_b": b.n,
        "minutes_more": _minutes(pair, [measured.seconds.get(key) for key in keys]) if is_open else None,
        "because": pair.because if is_open else None,
    }


def _minutes(pair: _Pair, seconds: list[float | None]) -> float | None:
    """What the missing repetitions of both sides take; None where nobody knows how many, or how long one takes."""
    if (wanted := pair.wanted) is None:
        return None
    took = [
        max(wanted - sample.n, 0) * each
        for sample, each in zip((pair.a, pair.b), seconds, strict=True)
        if each is not None
    ]
    return sum(took) / 60 if len(took) == len(seconds) else None
