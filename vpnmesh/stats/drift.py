"""Whether repetitions in the order they were measured are independent: autocorrelation and trend."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from vpnmesh.stats.describe import Floats

FEWEST_FOR_TREND = 8
"""From here on the normal approximation errs as promised: flagged at 1 %, its exact error is 0.5 to 0.9 % (counted
over all orders, tests/stats). With 7 or fewer it is below 0.3 %: only a row with hardly a pair out of order could be
flagged, so "no trend" would say nothing; with 5 or fewer nothing can be.
"""
FEWEST_FOR_DEPENDENCE = 20
"""Below this a lag-1 autocorrelation is not tested: two odd neighbours decide it."""
ALPHA = 0.01
FEWEST_PAIRS = 3
NO_SPREAD = 1e-20
MOST_DEPENDENT = 0.99
_COUNTED_DIRECTLY = 256


@dataclass(frozen=True, slots=True)
class Drift:
    """Of one cell's figures in order: lag-1 autocorrelation, Mann-Kendall's trend; None = not tested.

    `dependent` = the autocorrelation is beyond what independent figures show in 99 % of cases; `drifting` =
    the trend's p is below 0.01. `effective_n` = how many independent figures the mean is worth.
    """

    n: int
    lag1: float | None = None
    tau: float | None = None
    p: float | None = None
    effective_n: float | None = None

    @property
    def dependent(self) -> bool:
        """Whether neighbours resemble each other more than chance allows."""
        if self.lag1 is None or self.n < FEWEST_FOR_DEPENDENCE:
            return False
        return abs(self.lag1 + 1 / self.n) > lag1_limit(self.n)

    @property
    def drifting(self) -> bool:
        """Whether the figures rise or fall over the cell's time."""
        return self.p is not None and self.p < ALPHA


def lag1_limit(n: int) -> float:
    """The 99 % limit of the lag-1 autocorrelation of n independent figures about -1/n (Bartlett)."""
    return float(special.ndtri(1 - ALPHA / 2)) / math.sqrt(n)


def lag1_autocorrelation(values: Floats) -> float | None:
    """The correlation (Pearson) of each figure with the one before; None below three pairs or no spread."""
    if values.size < FEWEST_PAIRS + 1:
        return None
    before, after = values[:-1] - values[:-1].mean(), values[1:] - values[1:].mean()
    scale = math.sqrt(float(np.sum(before**2)) * float(np.sum(after**2)))
    if scale <= NO_SPREAD * float(np.sum(values**2)):
        return None
    return float(np.sum(before * after)) / scale


def drift(values: Floats) -> Drift:
    """The drift of figures given in the order they were measured."""
    n = int(values.size)
    lag1 = lag1_autocorrelation(values) if n >= FEWEST_FOR_TREND else None
    if lag1 is None:
        return Drift(n)
    tau, p = mann_kendall(values)
    rho = min(max(lag1, 0.0), MOST_DEPENDENT)
    worth = n * (1 - rho) / (1 + rho) if n >= FEWEST_FOR_DEPENDENCE else None
    return Drift(n, lag1, tau, p, worth)


def mann_kendall(values: Floats) -> tuple[float, float]:
    """Kendall's tau-b of figures with their order, and its two-sided p by the normal approximation.

    The same as `scipy.stats.kendalltau(range(n), values, method="asymptotic")`, ties corrected for.
    ValueError where all figures are equal.
    """
    n = values.size
    score = float(_score(values)[0])
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    pairs, tied = n * (n - 1) / 2, float(np.sum(ties * (ties - 1))) / 2
    if pairs == tied:
        raise ValueError("no trend in figures that are all equal")
    variance = (n * (n - 1) * (2 * n + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18
    return score / math.sqrt(pairs * (pairs - tied)), 2 * float(
        special.ndtr(-abs(score) / math.sqrt(variance))
    )


def _score(values: Floats) -> tuple[int, Floats]:
    """How many later figures are larger than an earlier one, less how many are smaller; and the figures sorted.

    Halves are counted apart and then against each other, so that ten thousand figures need no square of memory.
    """
    if values.size <= _COUNTED_DIRECTLY:
        signs = np.sign(values[None, :] - values[:, None])
        return int(np.sum(np.triu(signs, 1))), np.sort(values)
    middle = values.size // 2
    (first, before), (second, after) = _score(values[:middle]), _score(values[middle:])
    smaller, not_larger = (np.searchsorted(before, after, side=side) for side in ("left", "right"))
    across = int(np.sum(smaller + not_larger)) - before.size * after.size
    return first + second + across, np.sort(np.concatenate((before, after)), kind="stable")
