"""From when on a flow is steady, found in its own series of intervals.

The start of a flow (slow start, buffers that fill) tells of the round trip, not of what the path carries. Where it ends
is the truncation point of MSER: of all cuts the one after which the mean is known best, that is, after which
the squared deviations over the squared count are smallest (White 1997, "An effective truncation heuristic for bias
reduction in simulation output", Simulation 69:6). White, Cobb and Spratt (2000, "A comparison of five steady-state
truncation heuristics for simulation", Winter Simulation Conference) found it best on batches; a batch is a round trip
here, because what a window sends arrives in bursts. The rule needs no threshold. As there, no cut is looked for in the
second half: of a few values left the spread is small by chance.

Two things are added. A cut must set the start apart from the rest: MSER prefers a quiet end, so that of noise alone it
would keep what is low. And what is kept must not rise as slow start rises, else the flow never got steady.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

FILLED = 0.9
"""The share of the steady rate from which a pipe counts as filled."""
RISES = 1.5
"""Slow start with delayed acknowledgements grows by half each round trip (RFC 3465); halves of several more so."""
KEPT_ROUND_TRIPS = 4
"""The fewest that are kept after the start, so that each half of them has two."""
_FEWEST_BATCHES = 4
_ROUNDING = 1e-12
_EDGE = 0.1
"""The share of the kept batches that may be as low (or as high) as the start was, and it is still set apart."""


@dataclass(frozen=True, slots=True)
class SeriesInterval:
    """The mean `value` between two times, in seconds since the flow's start."""

    start_s: float
    end_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Steady:
    """A flow that got steady `at_s` and is counted from `from_s` on, with the mean since; seconds since its start.

    `rising` says that it never did: what is left still grows as slow start does. `filled_s` is when a round trip at
    nine tenths of the mean was there, None where the mean is 0.
    """

    at_s: float
    from_s: float
    mean: float
    filled_s: float | None
    rising: bool


def steady_part(
    series: Sequence[SeriesInterval], *, round_trip_s: float, keep_s: float, omit_s: float = 0.0
) -> Steady:
    """Find the steady part of a whole flow; at least `keep_s` at its end are kept, at least `omit_s` are not counted.

    ValueError where the series is shorter than both together.
    """
    length_s = series[-1].end_s if series else 0.0
    if length_s < omit_s + keep_s - _tolerance(series):
        raise ValueError(f"{length_s:.1f} s of intervals for {omit_s:g} s and {keep_s:g} s")
    batches = _batches(series, round_trip_s)
    keep = sum(one.start_s >= length_s - keep_s - _tolerance(series) for one in batches)
    cut = truncation([one.value for one in batches], max(keep, _FEWEST_BATCHES))
    at_s = batches[cut].start_s
    from_s = max(at_s, omit_s)
    mean = mean_from(series, from_s)
    kept = [one.value for one in batches if one.start_s >= from_s - _tolerance(series)]
    return Steady(at_s, from_s, mean, filled_s(series, mean, round_trip_s), still_rising(kept))


def truncation(values: Sequence[float], keep: int) -> int:
    """How many values belong to the start: MSER over cuts in the first half that keep enough and set it apart."""
    best, least = 0, _error(values) if values else 0.0
    for cut in range(1, min(max(len(values) - keep, 0), len(values) // 2) + 1):
        kept = values[cut:]
        # of equal ones the earliest: what rounding makes of equal values is no difference
        if least - (error := _error(kept)) > _ROUNDING * fmean(kept) ** 2 and _apart(values[:cut], kept):
            best, least = cut, error
    return best


def _error(kept: Sequence[float]) -> float:
    """White's statistic: the squared deviations over the squared count."""
    centre = fmean(kept)
    return sum((value - centre) ** 2 for value in kept) / len(kept) ** 2


def still_rising(values: Sequence[float]) -> bool:
    """Whether the second half is half again as much as the first, each of it above each; False for fewer than two."""
    if len(values) < 2:  # noqa: PLR2004 - a half each
        return False
    first, second = values[: len(values) // 2], values[len(values) // 2 :]
    return fmean(second) > RISES * fmean(first) and min(second) > max(first)


def mean_from(series: Sequence[SeriesInterval], from_s: float) -> float:
    """The mean over the intervals that begin at that time or later, weighted by their lengths; 0 without any."""
    counted = [one for one in series if one.start_s >= from_s - _tolerance(series)]
    seconds = sum(one.end_s - one.start_s for one in counted)
    return sum(one.value * (one.end_s - one.start_s) for one in counted) / seconds if seconds else 0.0


def filled_s(series: Sequence[SeriesInterval], mean: float, round_trip_s: float) -> float | None:
    """When for the first time a round trip had nine tenths of the mean: its end; None where that never was."""
    size = _batch_size(series, round_trip_s)
    if mean <= 0:
        return None
    for last in range(size, len(series) + 1):
        window = series[last - size : last]
        if mean_from(window, window[0].start_s) >= FILLED * mean:
            return window[-1].end_s
    return None


def _apart(start: Sequence[float], kept: Sequence[float]) -> bool:
    """Whether half of the start is below nearly all that is kept, or above."""
    return median(start) < _low(kept) or median(start) > -_low([-value for value in kept])


def _low(values: Sequence[float]) -> float:
    """What nine tenths of the values reach."""
    return sorted(values)[int(_EDGE * len(values))]


def _batches(series: Sequence[SeriesInterval], round_trip_s: float) -> list[SeriesInterval]:
    """Means over a round trip each, from the start; what is left at the end is no whole one."""
    size = _batch_size(series, round_trip_s)
    cuts = range(0, len(series) + 1, size)
    parts = [series[first:last] for first, last in pairwise(cuts)]
    return [
        SeriesInterval(part[0].start_s, part[-1].end_s, mean_from(part, part[0].start_s))
        for part in parts
        if part
    ]


def _batch_size(series: Sequence[SeriesInterval], round_trip_s: float) -> int:
    """Intervals in a round trip, one at least, and so few that there are several batches."""
    length_s = median([one.end_s - one.start_s for one in series])
    wanted = math.ceil(round_trip_s / length_s - 0.01) if length_s > 0 else 1
    return max(1, min(wanted, len(series) // _FEWEST_BATCHES))


def _tolerance(series: Sequence[SeriesInterval]) -> float:
    """Half of an interval: times are rounded."""
    return median([one.end_s - one.start_s for one in series]) / 2 if series else 0.0
