"""Dependence and trend of figures in the order they were measured."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from vpnmesh.stats.drift import FEWEST_FOR_TREND, Drift, drift, lag1_autocorrelation, mann_kendall


@settings(deadline=None)
@given(st.lists(st.integers(0, 15).map(float), min_size=8, max_size=60).filter(lambda v: len(set(v)) > 1))
def test_mann_kendall_as_scipy(values: list[float]) -> None:
    """Tau and p are those of scipy's asymptotic Kendall against the order."""
    wanted = stats.kendalltau(np.arange(len(values)), values, method="asymptotic")
    assert [wanted.statistic, wanted.pvalue] == pytest.approx(
        mann_kendall(np.array(values)), rel=1e-9, abs=1e-12
    )


def test_a_long_series_as_scipy(rng: np.random.Generator) -> None:
    """Thousands of figures with ties, counted by halves, give scipy's tau and p."""
    values = np.round(rng.normal(size=5001) + np.linspace(0, 0.1, 5001), 1)
    wanted = stats.kendalltau(np.arange(values.size), values, method="asymptotic")
    assert [wanted.statistic, wanted.pvalue] == pytest.approx(mann_kendall(values), rel=1e-9)


def test_no_trend_without_spread() -> None:
    """Equal figures have no trend to test."""
    with pytest.raises(ValueError, match="equal"):
        mann_kendall(np.full(9, 3.0))


def test_lag1_is_the_correlation_of_neighbours(rng: np.random.Generator) -> None:
    """The lag-1 autocorrelation is Pearson's correlation of each figure with the next."""
    values = rng.normal(size=50).cumsum()
    assert np.corrcoef(values[:-1], values[1:])[0, 1] == pytest.approx(lag1_autocorrelation(values))


def test_a_random_walk_is_dependent_and_worth_little(rng: np.random.Generator) -> None:
    """Neighbours of a random walk resemble each other: flagged, and worth a few independent figures."""
    found = drift(rng.normal(size=100).cumsum())
    assert found.dependent
    assert found.effective_n is not None
    assert found.effective_n < 20


def test_a_slope_drifts(rng: np.random.Generator) -> None:
    """A rise of one standard deviation over the cell is found as a trend."""
    found = drift(rng.normal(size=100) + np.linspace(0, 2, 100))
    assert found.drifting
    assert (found.tau or 0) > 0


def test_independent_figures_are_seldom_flagged(rng: np.random.Generator) -> None:
    """Both warnings are tests at 1 %: independent figures raise each in about one case of a hundred."""
    found = [drift(rng.normal(size=60)) for _ in range(2000)]
    assert sum(one.dependent for one in found) / 2000 < 0.02
    assert sum(one.drifting for one in found) / 2000 < 0.02


@pytest.mark.parametrize(
    ("n", "least", "most"), [(5, 0, 0), (7, 0.0004, 0.003), (8, 0.005, 0.01), (10, 0.005, 0.01)]
)
def test_the_approximation_keeps_its_promise_from_eight_on(n: int, least: float, most: float) -> None:
    """The exact chance that independent figures are flagged at 1 %, over all orders of n by their inversions."""
    ways = np.ones(1)
    for k in range(2, n + 1):
        ways = np.convolve(ways, np.ones(k))
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    scores = ways.size - 1 - 2 * np.arange(ways.size)
    flagged = 2 * special.ndtr(-np.abs(scores) / deviation) < 0.01
    assert least <= float(ways[flagged].sum() / ways.sum()) <= most
    assert (n >= FEWEST_FOR_TREND) == (most == 0.01)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], [3.0, 1.0, 4.0, 1.0, 5.0], [5.0] * 50])
def test_too_little_to_tell(values: list[float]) -> None:
    """Few figures, or none that differ, are not tested and never flagged."""
    found = drift(np.array(values))
    assert Drift(len(values)) == found
    assert not found.dependent
    assert not found.drifting
