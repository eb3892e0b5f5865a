"""The fitted exponent is the true one within its interval, and nothing is claimed from too few points."""

import math

import numpy as np
import pytest
from scipy import stats

from vpnmesh.stats.power_law import power_law

SIZES = [3.0, 6.0, 12.0, 24.0] * 2


def test_an_exact_curve_is_found() -> None:
    """y = 0.5 x^2, without scatter."""
    fit = power_law(SIZES, [0.5 * x**2 for x in SIZES])
    assert fit is not None
    assert (fit.exponent, fit.factor, fit.at(48)) == pytest.approx((2.0, 0.5, 0.5 * 48**2))
    assert (fit.low, fit.high) == pytest.approx((2.0, 2.0))


def test_it_is_scipys_regression_of_the_logarithms() -> None:
    """Slope and Student's interval."""
    chance = np.random.default_rng(1)
    y = [x**1.3 * math.exp(chance.normal(0, 0.2)) for x in SIZES]
    fit, known = power_law(SIZES, y), stats.linregress(np.log(SIZES), np.log(y))
    assert fit is not None
    half = stats.t.ppf(0.975, 6) * known.stderr
    assert (fit.exponent, fit.low, fit.high) == pytest.approx(
        (known.slope, known.slope - half, known.slope + half)
    )


def test_intervals_hold_the_true_exponent() -> None:
    """In 95 of 100 studies."""
    chance, hits = np.random.default_rng(2), 0
    for _ in range(400):
        fit = power_law(SIZES, [x**0.7 * math.exp(chance.normal(0, 0.3)) for x in SIZES])
        assert fit is not None
        assert fit.low is not None
        assert fit.high is not None
        hits += fit.low <= 0.7 <= fit.high
    assert 0.91 <= hits / 400 <= 0.99


def test_few_points_have_no_interval_and_two_sizes_no_curve() -> None:
    """Six points for an interval, three sizes for a curve; what is zero has no logarithm."""
    fit = power_law([3, 6, 12, 24], [1, 2, 4, 8])
    assert fit is not None
    assert (fit.n, fit.low) == (4, None)
    assert power_law([3, 3, 6, 6], [1, 1, 2, 2]) is None
    assert power_law(SIZES, [0.0, *[1.0] * 7]) is None
