"""Mann-Whitney, Cliff's delta and Holm against scipy and known answers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from vpnmesh.stats.compare import ALPHA, Comparison, can_reject, fewest_for_test, holm, mann_whitney
from vpnmesh.stats.describe import Tally

COARSE = st.lists(st.integers(0, 12).map(float), min_size=5, max_size=40)
FINE = st.lists(st.floats(0, 1000, allow_subnormal=False), min_size=5, max_size=40, unique=True)


@settings(deadline=None)
@given(COARSE, COARSE)
def test_ties_as_scipy(a: list[float], b: list[float]) -> None:
    """With ties, U and p are those of scipy's defaults."""
    assume(len({*a, *b}) > 1)
    wanted = stats.mannwhitneyu(a, b)
    found = mann_whitney(Tally.of(a), Tally.of(b))
    assert float(wanted.statistic) == found.u
    assert math.isclose(float(wanted.pvalue), found.p or 0, rel_tol=1e-9)


@settings(deadline=None)
@given(FINE, FINE)
def test_no_ties_as_scipy(a: list[float], b: list[float]) -> None:
    """Without ties, small samples use the exact distribution, as scipy does."""
    assume(not set(a) & set(b))
    wanted = stats.mannwhitneyu(a, b)
    found = mann_whitney(Tally.of(a), Tally.of(b))
    assert float(wanted.statistic) == found.u
    assert math.isclose(float(wanted.pvalue), found.p or 0, rel_tol=1e-9)


@settings(deadline=None)
@given(COARSE, COARSE)
def test_swapping_the_samples(a: list[float], b: list[float]) -> None:
    """Swapped samples share p, their U add up to n_a n_b, and delta changes its sign."""
    there, back = mann_whitney(Tally.of(a), Tally.of(b)), mann_whitney(Tally.of(b), Tally.of(a))
    assert len(a) * len(b) == (there.u or 0) + (back.u or 0)
    assert there.p == back.p
    assert math.isclose(there.cliffs_delta or 0, -(back.cliffs_delta or 0), abs_tol=1e-12)


def test_delta_is_positive_when_a_is_larger() -> None:
    """Always larger is +1, never is -1, the same sample is 0."""
    low, high = Tally.of([1, 2, 3, 4, 5]), Tally.of([6, 7, 8, 9, 10])
    assert [mann_whitney(a, b).cliffs_delta for a, b in ((high, low), (low, high), (low, low))] == [
        1.0,
        -1.0,
        0.0,
    ]


def test_delta_counts_every_pair() -> None:
    """Cliff's delta is the share of pairs with a larger less the share with a smaller."""
    a, b = [1.0, 3.0, 3.0, 8.0], [2.0, 3.0, 5.0]
    signs = [np.sign(x - y) for x in a for y in b]
    assert math.isclose(float(np.mean(signs)), mann_whitney(Tally.of(a), Tally.of(b)).cliffs_delta or 0)


def test_the_most_extreme_order_has_the_smallest_p() -> None:
    """Four above six: two of the C(10, 4) orders are as extreme."""
    found = mann_whitney(Tally.of([7, 8, 9, 10]), Tally.of([1, 2, 3, 4, 5, 6]))
    assert (found.u, found.cliffs_delta) == (24.0, 1.0)
    assert found.p == pytest.approx(2 / 210)


@pytest.mark.parametrize("pairs", [1, 2, 6, 10, 15, 28, 91])
def test_the_fewest_values_that_can_reject(pairs: int) -> None:
    """With that many the most extreme order rejects after Holm's correction over all pairs; one fewer never do."""
    n = fewest_for_test(pairs)
    least = [mann_whitney(Tally.of(range(k)), Tally.of(range(k, 2 * k))).p for k in (n - 1, n)]
    adjusted = [holm([p, *[1.0] * (pairs - 1)])[0] or 0.0 for p in least]
    assert adjusted[0] >= ALPHA > adjusted[1]


def test_the_fewest_values_by_hand() -> None:
    """2 / 70 = 0.029 for one pair; 2 x 10 / 924 = 0.022 for ten, 2 x 28 / 3432 = 0.016 for the paper's 28."""
    assert [fewest_for_test(pairs) for pairs in (0, 1, 10, 28)] == [4, 4, 6, 7]


@pytest.mark.parametrize(
    ("n_a", "n_b", "pairs"), [(6, 7, 28), (5, 8, 28), (3, 5, 1), (2, 30, 1), (4, 20, 91)]
)
def test_a_small_group_can_do_beside_a_larger_one(n_a: int, n_b: int, pairs: int) -> None:
    """What can reject says the most extreme order's p after Holm's correction, whichever group is the smaller."""
    p = mann_whitney(Tally.of(range(n_a)), Tally.of(range(n_a, n_a + n_b))).p
    rejects = (holm([p, *[1.0] * (pairs - 1)])[0] or 0.0) < ALPHA
    assert [rejects, rejects] == [can_reject(n_a, n_b, pairs), can_reject(n_b, n_a, pairs)]


def test_nothing_against_something() -> None:
    """An empty sample compares with nothing."""
    assert Comparison(0, 2, None, None, None) == mann_whitney(Tally.of([]), Tally.of([1, 2]))


def test_equal_constants_do_not_differ() -> None:
    """Two samples of one and the same figure have p 1."""
    assert mann_whitney(Tally.of([5] * 9), Tally.of([5] * 9)).p == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_by_definition(p_values: list[float]) -> None:
    """Each adjusted p is the largest (m - j) p(j) up to its rank, at most 1."""
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, p_values[i] * (len(p_values) - rank)))
        assert running == adjusted[i]


def test_holm_known_answer() -> None:
    """The textbook case: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert pytest.approx(holm([0.01, 0.04, 0.03, 0.005])) == [0.03, 0.06, 0.06, 0.02]


def test_holm_leaves_unknown_out_of_the_family() -> None:
    """A withheld p stays withheld and does not make the family larger."""
    assert pytest.approx(holm([None, 0.01, 0.04])) == [None, 0.02, 0.04]


@pytest.mark.parametrize("size", [30_000, 100_000])
def test_large_tallies_as_scipy(rng: np.random.Generator, size: int) -> None:
    """At the size of the API test the tally's p is that of scipy on the values written out."""
    a = np.round(rng.gamma(4, 0.06, size), 4)
    b = np.round(rng.gamma(4, 0.0604, size), 4)
    wanted = stats.mannwhitneyu(a, b)
    found = mann_whitney(Tally.of(a), Tally.of(b))
    assert float(wanted.statistic) == found.u
    assert math.isclose(float(wanted.pvalue), found.p or 0, rel_tol=1e-9)
