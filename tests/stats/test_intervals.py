"""Intervals against scipy, against algebra, and by how often they hold."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from vpnmesh.stats.describe import Summary, describe
from vpnmesh.stats.intervals import (
    difference_interval,
    fewest_for_interval,
    mean_interval,
    median_interval,
    ratio_interval,
    share_interval,
)

SAMPLE = st.lists(st.floats(50, 150).map(lambda x: round(x, 2)), min_size=3, max_size=30).filter(
    lambda values: len(set(values)) > 1
)


@settings(deadline=None)
@given(SAMPLE)
def test_mean_as_scipy(sample: list[float]) -> None:
    """Student's interval of a mean is scipy's."""
    found = mean_interval(describe(sample))
    wanted = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert found is not None
    assert [wanted.low, wanted.high] == pytest.approx([found.low, found.high], rel=1e-6)


@settings(deadline=None)
@given(SAMPLE, SAMPLE)
def test_difference_as_scipy(a: list[float], b: list[float]) -> None:
    """Welch's interval of a difference is scipy's."""
    found = difference_interval(describe(a), describe(b), 0.9)
    wanted = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert found is not None
    assert [wanted.low, wanted.high] == pytest.approx([found.low, found.high], rel=1e-5, abs=1e-5)


@settings(deadline=None)
@given(SAMPLE, SAMPLE)
def test_fieller_limits_solve_their_equation(a: list[float], b: list[float]) -> None:
    """At a limit r, |mean a - r mean b| is exactly t standard errors: that is what Fieller's interval means."""
    left, right = describe(a), describe(b)
    found = ratio_interval(left, right)
    assume(found is not None)
    assert found is not None
    var_a, var_b = left.variance / left.n, right.variance / right.n
    t_values = [
        abs(left.mean - limit * right.mean) / math.sqrt(var_a + limit**2 * var_b)  # type: ignore[operator]
        for limit in (found.low, found.high)
    ]
    assert t_values[0] == pytest.approx(t_values[1], rel=1e-6)
    assert found.low <= found.estimate <= found.high


def test_ratio_known_answer() -> None:
    """Equal spreads of 10 figures about 200 and 100: textbook Fieller with t(0.975, 11.22)."""
    a, b = Summary(10, 200.0, 10.0), Summary(10, 100.0, 10.0)
    found = ratio_interval(a, b)
    freedom = (10 + 40) ** 2 / (10**2 / 9 + 40**2 / 9)
    t = stats.t.ppf(0.975, freedom)
    g = t**2 * 10 / 100**2
    half = t / 100 * math.sqrt(10 * (1 - g) + 4 * 10)
    assert found is not None
    assert [2.0, (2 - half) / (1 - g), (2 + half) / (1 - g)] == pytest.approx(
        [found.estimate, found.low, found.high]
    )


def test_ratio_of_constants_is_exact() -> None:
    """Without spread the interval is the ratio itself."""
    found = ratio_interval(describe([4, 4, 4]), describe([2, 2, 2]))
    assert found is not None
    assert (found.low, found.estimate, found.high) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("baseline", [[0.0, 0.0], [-1.0, 1.0, 0.5], [5.0], []])
def test_no_ratio_without_a_clear_baseline(baseline: list[float]) -> None:
    """A baseline around zero, or of one figure or none, gives no interval rather than an odd one."""
    assert ratio_interval(describe([1.0, 2.0, 3.0]), describe(baseline)) is None


@pytest.mark.parametrize(("n", "sigma", "least"), [(10, 0.02, 0.93), (10, 0.25, 0.91), (100, 0.1, 0.93)])
def test_ratio_interval_holds(rng: np.random.Generator, n: int, sigma: float, least: float) -> None:
    """Of skewed (log-normal) samples the 95 % interval holds the true ratio nearly as often as it says."""
    true_ratio = 1.3
    inside = 0
    for _ in range(1000):
        a = true_ratio * rng.lognormal(0, sigma, n)
        b = rng.lognormal(0, sigma, n)
        found = ratio_interval(describe(a), describe(b))
        inside += found is not None and found.low <= true_ratio <= found.high
    assert least <= inside / 1000 <= 0.975


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 1000), (10, 10), (5, 17)])
def test_share_as_scipy(hits: int, n: int) -> None:
    """Clopper and Pearson's interval is scipy's."""
    found = share_interval(hits, n)
    wanted = stats.binomtest(hits, n).proportion_ci()
    assert [wanted.low, wanted.high] == pytest.approx([found.low, found.high], rel=1e-8)


def test_share_of_nothing() -> None:
    """No trials, no share."""
    with pytest.raises(ValueError, match="nothing"):
        share_interval(0, 0)


@pytest.mark.parametrize("n", [6, 9, 20, 57])
def test_the_median_lies_between_the_figures_that_the_sign_test_allows(n: int) -> None:
    """As many lie outside at either end as scipy's quantile test leaves; so narrow that one more would be too many."""
    figures = [float(number) for number in range(n)]
    found = median_interval(figures[::-1])
    assert found is not None
    wanted = stats.quantile_test(figures, q=0, p=0.5).confidence_interval(0.95)
    assert (found.estimate, found.low) == (np.median(figures), wanted.low)  # type: ignore[attr-defined]
    assert found.high == figures[n - 1 - int(found.low)]


def test_a_median_of_few_figures_has_no_interval() -> None:
    """From six on; a figure without an end may be a limit, or the median itself."""
    assert median_interval([1.0] * (fewest_for_interval() - 1)) is None
    found = median_interval([1, 2, 3, 4, math.inf, math.inf])
    assert found is not None
    assert (found.estimate, found.low, found.high) == (3.5, 1, math.inf)
    most = median_interval([1, 2, *[math.inf] * 5])
    assert most is not None
    assert (most.estimate, most.low, most.high) == (math.inf, 1, math.inf)


def test_median_interval_holds(rng: np.random.Generator) -> None:
    """Of skewed samples of six it holds the true median at least as often as it says."""
    inside = 0
    for _ in range(2000):
        found = median_interval(list(rng.lognormal(0.0, 1.0, 6)))
        assert found is not None
        inside += found.low <= 1.0 <= found.high
    assert inside / 2000 > 0.95
