"""Statistical power: the smallest effect that a number of repetitions finds, and the repetitions an effect needs.

Noether (1987), Sample size determination for some common nonparametric tests, JASA 82:645.
"""

import math

from scipy import special

from vpnmesh.stats.describe import Summary

POWER = 0.8
_EFFICIENCY = 3 / math.pi
"""Of Mann-Whitney beside Student's t where figures are normal: it needs 5 % more of them."""


def detectable_delta(n_a: int, n_b: int, alpha: float, power: float = POWER) -> float | None:
    """The smallest Cliff's delta that Mann-Whitney finds with that power; None where even 1 is not found."""
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(power))
    delta = 2 * z * math.sqrt((n_a + n_b) / (12 * n_a * n_b))
    return delta if delta <= 1 else None


def repetitions_for(delta: float, alpha: float, power: float = POWER) -> int:
    """How many repetitions in each of two equal groups find a Cliff's delta; ValueError at 0 or beyond 1."""
    if not 0 < abs(delta) <= 1:
        raise ValueError(f"a delta of {delta} is never found")
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(power))
    return math.ceil(2 * z**2 / (3 * delta**2))


def repetitions_to_tell(a: Summary, b: Summary, alpha: float, power: float = POWER) -> int | None:
    """How many repetitions of each side likely show a difference of means as large as the one seen.

    None where none was seen, or no spread is known. The difference seen is taken for the true one, so this is a
    forecast and no promise: a difference that was overestimated takes longer.
    """
    if a.mean is None or b.mean is None or a.sd is None or b.sd is None or a.mean == b.mean:
        return None
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(power))
    return math.ceil(z**2 * (a.variance + b.variance) / (a.mean - b.mean) ** 2 / _EFFICIENCY)


def repetitions_to_match(
    a: Summary, b: Summary, margin: float, confidence: float, power: float = POWER
) -> int | None:
    """How many repetitions of each side likely put the interval of the difference within the margin.

    `margin` is a share of the larger mean. None where the difference seen is not smaller than that.
    """
    if a.mean is None or b.mean is None or a.sd is None or b.sd is None:
        return None
    room = margin * max(a.mean, b.mean) - abs(a.mean - b.mean)
    if room <= 0:
        return None
    z = float(special.ndtri((1 + confidence) / 2) + special.ndtri((1 + power) / 2))
    return math.ceil(z**2 * (a.variance + b.variance) / room**2)
