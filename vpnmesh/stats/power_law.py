"""How a figure grows with a size: y = factor * x^exponent, by least squares over the logarithms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from vpnmesh.stats.intervals import CONFIDENCE, fewest_for_interval


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """The fitted curve; the exponent's interval is Student's, None below six points. `n` = how many points."""

    exponent: float
    factor: float
    n: int
    low: float | None = None
    high: float | None = None

    def at(self, x: float) -> float:
        """The curve's value there."""
        return self.factor * float(x**self.exponent)


def power_law(x: Sequence[float], y: Sequence[float], confidence: float = CONFIDENCE) -> PowerLaw | None:
    """The curve through the points; None below three sizes, and where a figure is zero, which has no logarithm.

    Scatter is taken to be a factor that does not depend on the size. Points of one session that drift together are
    worth fewer than they are, and the interval knows nothing of that.
    """
    if len(set(x)) < 3 or min(*x, *y) <= 0:  # noqa: PLR2004 - two sizes fit every curve
        return None
    points = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True)]
    n = len(points)
    mean_a, mean_b = (sum(column) / n for column in zip(*points, strict=True))
    spread = sum((a - mean_a) ** 2 for a, _ in points)
    exponent = sum((a - mean_a) * (b - mean_b) for a, b in points) / spread
    start = mean_b - exponent * mean_a
    if n < fewest_for_interval(confidence):
        return PowerLaw(exponent, math.exp(start), n)
    left = sum((b - start - exponent * a) ** 2 for a, b in points)
    half = float(special.stdtrit(n - 2, (1 + confidence) / 2)) * math.sqrt(left / (n - 2) / spread)
    return PowerLaw(exponent, math.exp(start), n, exponent - half, exponent + half)
