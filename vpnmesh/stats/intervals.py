"""Intervals: of a ratio of means (Fieller), of a mean (Student), a median (sign test), a share (Clopper-Pearson).

Why Fieller for the ratio: it needs no resampling (28 pairs x 7 conditions stay instant and need no seed), it
does not pretend that a ratio is symmetric, and it says so when the baseline's mean is not clearly above zero
(no interval). Variances may differ; degrees of freedom are Satterthwaite's at the estimated ratio. Its weak
side, skewed samples of ten, is simulated in tests/stats (coverage) and described in docs/statistics.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from vpnmesh.stats.describe import Summary

CONFIDENCE = 0.95
EQUIVALENCE_CONFIDENCE = 0.9
"""Two one-sided tests at 5 % each are one interval of 90 %."""


def fewest_for_interval(confidence: float = CONFIDENCE) -> int:
    """From how many figures on an interval of their mean is worth showing: 6 for 95 %.

    The range of n independent figures holds their median with probability 1 - 2^(1 - n), whatever their distribution
    (the sign test's interval). From there on the figures themselves carry the confidence; with fewer it rests on the
    assumption of normality alone, and Student's factor turns two figures that differ into limits far outside both.
    """
    return math.ceil(1 - math.log2(1 - confidence))


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two limits; `method` names how they were made."""

    estimate: float
    low: float
    high: float
    confidence: float
    method: str

    def inside(self, low: float, high: float) -> bool:
        """Whether the whole interval lies strictly between the two."""
        return low < self.low and self.high < high


def ratio_interval(a: Summary, b: Summary, confidence: float = CONFIDENCE) -> Interval | None:
    """Mean of a over mean of b with Fieller's interval; None where it has no bounds or a spread is not known.

    Bounds do not exist when b's mean is not significantly different from zero at this confidence.
    """
    if a.mean is None or b.mean is None or a.sd is None or b.sd is None or b.mean == 0:
        return None
    ratio = a.mean / b.mean
    var_a, var_b = a.variance / a.n, b.variance / b.n
    if var_a == 0 and var_b == 0:
        return Interval(ratio, ratio, ratio, confidence, "Fieller")
    t = _t_quantile((1 + confidence) / 2, _satterthwaite(var_a, a.n, ratio**2 * var_b, b.n))
    g = t**2 * var_b / b.mean**2
    if g >= 1:
        return None
    half = t / abs(b.mean) * math.sqrt(var_a * (1 - g) + ratio**2 * var_b)
    return Interval(ratio, (ratio - half) / (1 - g), (ratio + half) / (1 - g), confidence, "Fieller")


def difference_interval(a: Summary, b: Summary, confidence: float = CONFIDENCE) -> Interval | None:
    """Mean of a less mean of b with Welch's interval; None where a spread is not known."""
    if a.mean is None or b.mean is None or a.sd is None or b.sd is None:
        return None
    difference = a.mean - b.mean
    var_a, var_b = a.variance / a.n, b.variance / b.n
    if var_a == 0 and var_b == 0:
        return Interval(difference, difference, difference, confidence, "Welch")
    t = _t_quantile((1 + confidence) / 2, _satterthwaite(var_a, a.n, var_b, b.n))
    half = t * math.sqrt(var_a + var_b)
    return Interval(difference, difference - half, difference + half, confidence, "Welch")


def is_within_margin(a: Summary, b: Summary, margin: float) -> bool:
    """Whether the 90 % interval of the difference lies within that share of the larger mean: equal for all we ask."""
    interval = difference_interval(a, b, EQUIVALENCE_CONFIDENCE)
    if interval is None or a.mean is None or b.mean is None:
        return False
    limit = margin * max(a.mean, b.mean)
    return interval.inside(-limit, limit)


def mean_interval(sample: Summary, confidence: float = CONFIDENCE) -> Interval | None:
    """The mean with Student's interval; None below two values."""
    if sample.mean is None or sample.sd is None:
        return None
    half = _t_quantile((1 + confidence) / 2, sample.n - 1) * sample.sd / math.sqrt(sample.n)
    return Interval(sample.mean, sample.mean - half, sample.mean + half, confidence, "Student")


def median_interval(figures: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The median between two of the figures themselves, by the sign test, whatever their distribution.

    A figure may be infinite: one that was not waited for to its end is greater than all others, and so may be a limit.
    None below `fewest_for_interval` figures.
    """
    n = len(figures)
    if n < fewest_for_interval(confidence):
        return None
    ordered = sorted(figures)
    # so many at either end lie outside of the limits: the most whose binomial tails stay below what is allowed
    outside = max(k for k in range(n // 2) if 2 * special.bdtr(k, n, 0.5) <= 1 - confidence)
    low, high = ordered[outside], ordered[n - 1 - outside]
    return Interval(_median(ordered), low, high, confidence, "sign test")


def _median(ordered: Sequence[float]) -> float:
    below, above = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return below if below == above else (below + above) / 2


def share_interval(hits: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """A share with Clopper and Pearson's interval, which covers at least as often as it says; ValueError at n = 0."""
    if n == 0:
        raise ValueError("a share of nothing")
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(special.betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(hits / n, low, high, confidence, "Clopper-Pearson")


def _t_quantile(share: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, share))


def _satterthwaite(var_a: float, n_a: int, var_b: float, n_b: int) -> float:
    """Degrees of freedom of the sum of two variances of means."""
    return (var_a + var_b) ** 2 / (var_a**2 / (n_a - 1) + var_b**2 / (n_b - 1))
