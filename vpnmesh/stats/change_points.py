"""Where a series of runs changed its level for good: optimal splits by `ruptures` (PELT), each then tested.

PELT (Killick, Fearnhead, Eckley 2012) finds the split with the least squares around the levels for a penalty per
change. It proposes; it does not test. Each proposal is held against its two neighbours by a t-test, whose p is
multiplied by the number of places where the split could have been (Bonferroni, after Worsley 1979), since the
largest of many t is no t. The weakest is taken away until all that are left stand.

The figures are taken as independent with one normal spread, so a slow drift looks like one or more steps.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from vpnmesh.stats.describe import Floats
from vpnmesh.stats.drift import FEWEST_FOR_TREND

FEWEST_FOR_CHANGE_POINT = FEWEST_FOR_TREND
"""A series of fewer runs has no change points: as for a trend."""
FEWEST_IN_LEVEL = 3
"""A level is one from this many runs on: one odd run, or two, are no change that lasts."""
ALPHA = 0.01
_PENALTY_PER_LOG = 2.0
_MAD_OF_NORMAL = 0.6745
_NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The first run of a new level (its index), the means on both sides, and the p of the step."""

    index: int
    before: float
    after: float
    p: float


def change_points(values: Floats) -> tuple[ChangePoint, ...]:
    """The changes of level of figures in their order; none in fewer than `FEWEST_FOR_CHANGE_POINT` figures."""
    if values.size < FEWEST_FOR_CHANGE_POINT or np.ptp(values) <= _NO_SPREAD * float(np.abs(values).max()):
        return ()
    places = _proposed(values)
    while places:
        found = _tested(values, places)
        weakest = max(found, key=lambda point: point.p)
        if weakest.p < ALPHA:
            return tuple(found)
        places.remove(weakest.index)
    return ()


def _proposed(values: Floats) -> list[int]:
    # importing it loads scipy's optimizers, which nothing else of a report needs
    import ruptures  # noqa: PLC0415

    scaled = (values - values.mean()) / values.std()
    penalty = _PENALTY_PER_LOG * math.log(values.size) * _noise(scaled) ** 2
    # squares around the levels, as its cost "l2" has them, but in C: a thousand runs take no seconds
    search = ruptures.KernelCPD(kernel="linear", min_size=FEWEST_IN_LEVEL).fit(scaled.reshape(-1, 1))
    # the last of its places is the end of the series
    return [int(place) for place in search.predict(pen=penalty)[:-1]]


def _noise(scaled: Floats) -> float:
    """The spread around the levels, from the differences of neighbours, which a few steps hardly touch."""
    steps = np.abs(np.diff(scaled))
    return max(float(np.median(steps)) / (_MAD_OF_NORMAL * math.sqrt(2)), 0.05)


def _tested(values: Floats, places: list[int]) -> list[ChangePoint]:
    borders = [0, *places, values.size]
    return [
        _step(values, *borders[place - 1 : place + 2])  # its own level's neighbours on both sides
        for place in range(1, len(borders) - 1)
    ]


def _step(values: Floats, first: int, index: int, end: int) -> ChangePoint:
    before, after = values[first:index], values[index:end]
    n, splits = before.size + after.size, max(end - first - 2 * FEWEST_IN_LEVEL + 1, 1)
    squares = float(np.sum((before - before.mean()) ** 2) + np.sum((after - after.mean()) ** 2))
    difference = float(after.mean() - before.mean())
    error = math.sqrt(squares / (n - 2) * (1 / before.size + 1 / after.size))
    p = 2 * float(special.stdtr(n - 2, -abs(difference) / error)) if error else 0.0
    return ChangePoint(index, float(before.mean()), float(after.mean()), min(1.0, p * splits))
