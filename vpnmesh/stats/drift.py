"""Whether repetitions in the order they were measured are independent, or follow one another or the clock."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vpnmesh.stats.describe import Floats

FEWEST = 8
ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Drift:
    """Of one cell's figures in order: lag-1 autocorrelation, and Mann-Kendall's trend.

    `dependent` = the autocorrelation is larger than independent figures show in 99 % of cases; `drifting` = the
    trend's p is below 0.01. `effective_n` = how many independent figures the mean is worth (None if not tested).
    """

    n: int
    lag1: float | None
    tau: float | None
    p: float | None
    effective_n: float | None

    @property
    def dependent(self) -> bool:
        """Whether neighbours resemble each other more than chance allows."""
        return self.lag1 is not None and abs(self.lag1 + 1 / self.n) > lag1_limit(self.n)

    @property
    def drifting(self) -> bool:
        """Whether the figures rise or fall over the cell's time."""
        return self.p is not None and self.p < ALPHA


def lag1_limit(n: int) -> float:
    """The 99 % limit of the lag-1 autocorrelation of n independent figures, about its mean of -1/n (Bartlett)."""
    return float(stats.norm.ppf(1 - ALPHA / 2)) / math.sqrt(n)


def lag1_autocorrelation(values: Floats) -> float | None:
    """The correlation of each figure with the one before; None below three values or without any spread."""
    if values.size < 3:
        return None
    deviations = values - values.mean()
    total = float(np.sum(deviations**2))
    if total <= 1e-20 * float(np.sum(values**2)):
        return None
    return float(np.sum(deviations[1:] * deviations[:-1])) / total


def drift(values: Floats) -> Drift:
    """The drift of figures given in the order they were measured; untested below eight or without spread."""
    n = int(values.size)
    lag1 = lag1_autocorrelation(values)
    if n < FEWEST or lag1 is None:
        return Drift(n, lag1 if n >= FEWEST else None, None, None, None)
    trend = stats.kendalltau(np.arange(n), values)
    rho = min(max(lag1, 0.0), 0.99)
    return Drift(n, lag1, float(trend.statistic), float(trend.pvalue), n * (1 - rho) / (1 + rho))
