"""Changes of level in a row of runs: found where they were made, and hardly ever where nothing changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.stats.change_points import FEWEST_FOR_CHANGE_POINT, FEWEST_IN_LEVEL, change_points

# the library brings scipy.stats: seconds to import
pytestmark = pytest.mark.slow


def series(*levels: tuple[int, float], sd: float = 0.02, seed: int = 1) -> np.ndarray:
    """So many figures around each level, one after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(mean, sd, n) for n, mean in levels])


def test_one_step_is_found_where_it_was_made() -> None:
    (found,) = change_points(series((10, 1.0), (10, 0.8)))
    assert found.index == 10
    assert (found.before, found.after) == pytest.approx((1.0, 0.8), abs=0.03)
    assert found.p < 1e-6


def test_several_steps_are_found_in_their_order() -> None:
    found = change_points(series((8, 1.0), (6, 0.7), (9, 0.95)))
    assert [point.index for point in found] == [8, 14]


def test_a_level_of_two_runs_is_an_oddity_and_no_change() -> None:
    assert change_points(series((10, 1.0), (FEWEST_IN_LEVEL - 1, 0.7))) == ()


def test_eight_runs_show_a_large_step_and_seven_show_nothing() -> None:
    assert FEWEST_FOR_CHANGE_POINT == 8
    assert [point.index for point in change_points(series((4, 1.0), (4, 0.5)))] == [4]
    assert change_points(series((4, 1.0), (3, 0.5))) == ()


def test_figures_without_spread_have_no_change() -> None:
    assert change_points(np.full(20, 3.5)) == ()


def test_two_levels_without_any_spread_are_one_change() -> None:
    (found,) = change_points(np.array([2.0] * 6 + [1.0] * 6))
    assert (found.index, found.p) == (6, 0.0)


@pytest.mark.parametrize("n", [8, 20, 60])
def test_figures_of_one_level_are_seldom_split(n: int) -> None:
    """At most 1 in 100 series; 200 series, and a limit that a true 1 % passes in all but 1 of 1,000 cases."""
    rng = np.random.default_rng(7)
    false = sum(bool(change_points(rng.normal(5.0, 0.2, n))) for _ in range(200))
    assert false <= 8


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(1.0, 1e4), min_size=0, max_size=40),
    factor=st.sampled_from([0.001, 1.0, 1000.0]),
)
def test_places_do_not_depend_on_the_unit(values: list[float], factor: float) -> None:
    """Mbit/s or kbit/s: the same places; every level is at least three runs long."""
    found = change_points(np.array(values))
    other = change_points(np.array(values) * factor)
    assert [point.index for point in found] == [point.index for point in other]
    borders = [0, *(point.index for point in found), len(values)]
    assert not found or min(np.diff(borders)) >= FEWEST_IN_LEVEL
