"""Mean, spread and quantiles of one sample, given as single values or as values with their counts.

A `Tally` (distinct values and their counts) describes 10^8 requests in the memory of their distinct times;
every result is the same as for the values written out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vpnmesh.errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and sample standard deviation (n - 1); None where there are too few values for them."""

    n: int
    mean: float | None
    sd: float | None

    @property
    def cv(self) -> float | None:
        """The coefficient of variation, sd / mean; None without either or at a mean of zero."""
        if self.sd is None or not self.mean:
            return None
        return self.sd / self.mean

    @property
    def variance(self) -> float:
        """The sample variance; NaN where there is no standard deviation."""
        return math.nan if self.sd is None else self.sd**2


@dataclass(frozen=True, slots=True)
class Tally:
    """Distinct values in ascending order, and how often each occurred."""

    values: Floats
    counts: Counts

    def __post_init__(self) -> None:
        """Refuse what is not sorted, finite and of one length."""
        if self.values.shape != self.counts.shape:
            raise InputError("sample", f"{self.values.size} values but {self.counts.size} counts")
        if not np.isfinite(self.values).all():
            raise InputError("sample", "a value is not a finite number")
        if self.values.size > 1 and not (np.diff(self.values) > 0).all():
            raise InputError("sample", "values are not distinct and ascending")

    @classmethod
    def of(cls, sample: ArrayLike) -> "Tally":
        """The tally of values written out; InputError if one is no finite number."""
        values, counts = np.unique(np.asarray(sample, dtype=np.float64), return_counts=True)
        return cls(values, counts.astype(np.int64))

    @property
    def n(self) -> int:
        """How many values there are, repeats counted."""
        return int(self.counts.sum())

    def written_out(self) -> Floats:
        """Every value as often as it occurred, ascending."""
        return np.repeat(self.values, self.counts)

    def summary(self) -> Summary:
        """Mean and standard deviation of the values written out."""
        n = self.n
        if n == 0:
            return Summary(0, None, None)
        mean = math.fsum(self.values * self.counts) / n
        if n == 1:
            return Summary(1, mean, None)
        return Summary(n, mean, math.sqrt(math.fsum((self.values - mean) ** 2 * self.counts) / (n - 1)))

    def quantile(self, share: float) -> float | None:
        """The quantile by linear interpolation (numpy's and R's default, type 7); None of an empty sample."""
        n = self.n
        if n == 0:
            return None
        position = share * (n - 1)
        below = math.floor(position)
        ends = np.searchsorted(np.cumsum(self.counts), (below, min(below + 1, n - 1)), side="right")
        low, high = (float(self.values[end]) for end in ends)
        return low + (high - low) * (position - below)


def describe(sample: Sequence[float] | Floats) -> Summary:
    """Mean and standard deviation of a sample; InputError if a value is no finite number."""
    return Tally.of(sample).summary()
