"""Statistical power: the smallest effect that a number of repetitions finds, and the repetitions an effect needs.

Noether (1987), Sample size determination for some common nonparametric tests, JASA 82:645.
"""

import math

from scipy import special

POWER = 0.8


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
