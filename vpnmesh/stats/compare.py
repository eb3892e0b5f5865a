"""Whether two samples differ, and how far: Mann-Whitney U, Cliff's delta, Holm's correction.

Mann-Whitney is the paper's test (section 4.1): two-sided, scipy's defaults, alpha 0.05. From how many values on it can
reject at all, alone or in a family under Holm's correction, follows from its exact distribution (`can_reject`); a p
from fewer values could only look like evidence of equality.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from vpnmesh.stats.describe import Tally

ALPHA = 0.05
_EXACT_UP_TO = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sample a against sample b: U counts the pairs in which a is larger, ties half; delta = 2U/(n_a n_b) - 1."""

    n_a: int
    n_b: int
    u: float | None
    p: float | None
    cliffs_delta: float | None


def mann_whitney(a: Tally, b: Tally) -> Comparison:
    """Two-sided Mann-Whitney U with scipy's defaults; p is None where a group is empty."""
    n_a, n_b = a.n, b.n
    if not n_a or not n_b:
        return Comparison(n_a, n_b, None, None, None)
    u, ties = _u_and_ties(a, b)
    return Comparison(n_a, n_b, u, _p_value(u, n_a, n_b, ties), cliffs_delta(u, n_a, n_b))


def can_reject(n_a: int, n_b: int, pairs: int, alpha: float = ALPHA) -> bool:
    """Whether a test of groups of these sizes can reject at all, as one of `pairs` under Holm.

    The most extreme order of n_a and n_b values has the two-sided exact p 2 / C(n_a + n_b, n_a); Holm's first step
    takes that times the number of pairs.
    """
    # a float, infinite for large groups: 50,000 requests have too many orders to write out
    return bool(2 * max(pairs, 1) / special.comb(n_a + n_b, n_a) < alpha)


def fewest_for_test(pairs: int, alpha: float = ALPHA) -> int:
    """From how many values in each of two equal groups on a test can reject at all, as one of `pairs` under Holm.

    One pair: 4 values; 10 pairs: 6; 28 pairs: 7. A smaller group can do beside a larger one: `can_reject`.
    """
    n = 1
    while not can_reject(n, n, pairs, alpha):
        n += 1
    return n


def cliffs_delta(u: float, n_a: int, n_b: int) -> float:
    """How often a is larger than b, less how often it is smaller: +1 always larger, -1 never, 0 even."""
    return 2 * u / (n_a * n_b) - 1


def _u_and_ties(a: Tally, b: Tally) -> tuple[float, float]:
    """U of a, and the sum of t^3 - t over the ties t of both samples together."""
    below = np.concatenate(([0], np.cumsum(b.counts)))
    less = below[np.searchsorted(b.values, a.values, side="left")]
    not_more = below[np.searchsorted(b.values, a.values, side="right")]
    # twice U is a whole number, so U is exact whatever the order of summation
    u = float(np.sum(a.counts * (less + not_more))) / 2
    values = np.concatenate((a.values, b.values))
    _, inverse = np.unique(values, return_inverse=True)
    together = np.bincount(inverse, weights=np.concatenate((a.counts, b.counts)).astype(np.float64))
    return u, float(np.sum(together**3 - together))


def _p_value(u: float, n_a: int, n_b: int, ties: float) -> float:
    """The exact distribution for small samples without ties, else normal with tie and continuity correction.

    The same choice as scipy's `method="auto"`; the tests compare both.
    """
    larger = max(u, n_a * n_b - u)
    if ties == 0 and min(n_a, n_b) <= _EXACT_UP_TO:
        ways = _ways(min(n_a, n_b), max(n_a, n_b))
        return min(1.0, float(2 * sum(ways[int(larger) :]) / sum(ways)))
    n = n_a + n_b
    sd = math.sqrt(n_a * n_b / 12 * ((n + 1) - ties / (n * (n - 1))))
    if sd == 0:
        return 1.0
    return min(1.0, 2 * float(special.ndtr(-(larger - n_a * n_b / 2 - 0.5) / sd)))


def _ways(m: int, n: int) -> list[int]:
    """In how many orders of m and n values each U from 0 to mn comes about (Gaussian binomial coefficients).

    Whole numbers throughout (Python's), so no size of sample rounds them.
    """
    ways = np.zeros(m * n + 1, dtype=object)
    ways[0] = 1
    for i in range(1, m + 1):
        if n + i < ways.size:
            ways[n + i :] = ways[n + i :] - ways[: -(n + i)]
        for start in range(i):
            ways[start::i] = np.add.accumulate(ways[start::i])
    return list(ways)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values in the given order; None is no member of the family."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted
