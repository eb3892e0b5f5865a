"""Mean, spread and quantiles, of samples and of tallies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.stats.describe import Summary, Tally, describe

FIGURES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=60)


def test_known_answer() -> None:
    """2, 4, 4, 4, 5, 5, 7, 9 have the mean 5 and the sample variance 32/7."""
    summary = describe([2, 4, 4, 4, 5, 5, 7, 9])
    assert (summary.n, summary.mean) == (8, 5.0)
    assert math.isclose(math.sqrt(32 / 7), summary.sd or 0)
    assert math.isclose(math.sqrt(32 / 7) / 5, summary.cv or 0)


def test_one_value_has_no_spread() -> None:
    """One figure has a mean and no standard deviation; none has neither."""
    assert Summary(1, 3.0, None) == describe([3])
    assert Summary(0, None, None) == describe([])
    assert describe([3]).cv is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_figure_is_refused(bad: float) -> None:
    """NaN and infinities are errors, never figures."""
    with pytest.raises(InputError, match="finite"):
        describe([1.0, bad])


def test_unsorted_tally_is_refused() -> None:
    """A tally's values ascend without repeats, and each has a count."""
    with pytest.raises(InputError, match="ascending"):
        Tally(np.array([2.0, 1.0]), np.array([1, 1]))
    with pytest.raises(InputError, match="counts"):
        Tally(np.array([2.0, 1.0]), np.array([1]))


@settings(deadline=None)
@given(FIGURES, st.floats(0, 1))
def test_tally_agrees_with_numpy(sample: list[float], share: float) -> None:
    """A tally gives what numpy gives for the values written out."""
    tally = Tally.of(sample)
    scale = max(1.0, *map(abs, sample))
    assert sorted(sample) == tally.written_out().tolist()
    assert math.isclose(float(np.mean(sample)), tally.summary().mean or 0, rel_tol=1e-9, abs_tol=1e-9 * scale)
    assert math.isclose(float(np.quantile(sample, share)), tally.quantile(share) or 0, abs_tol=1e-9 * scale)
    if len(sample) > 1:
        sd = float(np.std(sample, ddof=1))
        assert math.isclose(sd, tally.summary().sd or 0, rel_tol=1e-6, abs_tol=1e-7 * scale)


def test_quantile_of_nothing() -> None:
    """An empty sample has no quantile."""
    assert Tally.of([]).quantile(0.5) is None
