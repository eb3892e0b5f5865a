"""The typical level of a scenario, on a log scale, and how far it can be trusted: what the sequential rules compare.

The level is the mean of log figures, from sixteen on trimmed by a tenth at each end (Yuen): what a scenario does
nearly always. A dip in one figure of fifty is no part of it, nor of its spread. The log makes ratios of differences,
and one margin fit a scenario of 5 Mbit/s and one of 700.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from vpnmesh.stats.describe import Floats

Visits = Sequence[Sequence[float] | Floats]
"""The figures of one scenario in the order they were taken, one sequence per visit.

Visit r of every scenario belongs to round r: a scenario that had no visit in a round, or a visit without a figure,
has an empty sequence there.
"""
TRIMMED = 0.1
TRIMMED_FROM = 16
"""With fewer, trimming would take away the only figure that shows a second mode of a scenario."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level in natural log of the figures' unit; `spread` is the standard deviation of one unit."""

    n: int
    level: float
    spread: float
    variance: float
    freedom: int


def level_of(logs: Floats) -> Level:
    """The level of two or more log figures; its variance is that of the level, not of a figure."""
    cut = int(TRIMMED * logs.size) if logs.size >= TRIMMED_FROM else 0
    if not cut:
        variance = float(logs.var(ddof=1))
        return Level(logs.size, float(logs.mean()), math.sqrt(variance), variance / logs.size, logs.size - 1)
    ordered, kept = np.sort(logs), logs.size - 2 * cut
    winsorised = np.clip(ordered, ordered[cut], ordered[-cut - 1])
    within = float(winsorised.var(ddof=1))
    variance = (logs.size - 1) * within / (kept - 1) / kept
    return Level(
        logs.size, float(ordered[cut:-cut].mean()), math.sqrt(variance * logs.size), variance, kept - 1
    )


def log_visits(visits: Visits) -> Floats:
    """The log of every visit's mean, NaN for a visit without a figure or with a mean that has no log."""
    return np.array([_log_mean(visit) for visit in visits], dtype=np.float64)


def log_figures(visits: Visits) -> Floats:
    """The log of every figure; empty if one has no log, since leaving it out would flatter the scenario."""
    figures = np.concatenate([np.empty(0), *(np.asarray(visit, dtype=np.float64) for visit in visits)])
    return np.log(figures) if bool((figures > 0).all()) else np.empty(0)


def in_both(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """What both have of the same rounds: a drift of the machine is then in both alike."""
    rounds = min(a.size, b.size)
    there = np.isfinite(a[:rounds]) & np.isfinite(b[:rounds])
    return a[:rounds][there], b[:rounds][there]


def _log_mean(visit: Sequence[float] | Floats) -> float:
    mean = fmean(visit) if len(visit) else 0.0
    return math.log(mean) if mean > 0 else math.nan
