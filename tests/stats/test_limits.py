"""netem's ceiling, and what a number of repetitions can show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from vpnmesh.stats.caps import cap_mbit_s
from vpnmesh.stats.compare import mann_whitney
from vpnmesh.stats.describe import Tally
from vpnmesh.stats.power import detectable_delta, repetitions_for


@pytest.mark.parametrize(
    ("mtu", "delay_ms", "published"),
    [
        (1450, 50, 222.7),
        (1450, 250, 44.17),
        (1450, 350, 31.51),
        (1230, 50, 187.5),
        (1230, 250, 37.2),
        (1230, 350, 26.6),
    ],
)
def test_the_papers_udp_lies_at_the_ceiling(mtu: int, delay_ms: float, published: float) -> None:
    """Both baselines' published UDP means are 0.986 to 0.996 of limit x packet / delay."""
    cap = cap_mbit_s(delay_ms, mtu)
    assert cap is not None
    assert 0.985 < published / cap < 0.997


def test_no_ceiling_without_delay_or_with_a_sized_queue() -> None:
    """Without a delay, or with a queue made for the delay, nothing caps."""
    assert cap_mbit_s(0, 1450) is None
    assert cap_mbit_s(50, 1450, limit=None) is None


def test_a_limited_rate_is_a_ceiling_for_the_data_in_its_packets() -> None:
    """With or without a delay; the lower of two ceilings counts."""
    assert cap_mbit_s(0, 1450, rate_mbit_s=20) == pytest.approx(20 * 1398 / 1450)
    assert cap_mbit_s(50, 1450, limit=None, rate_mbit_s=20) == cap_mbit_s(50, 1450, rate_mbit_s=20)
    assert cap_mbit_s(350, 1230, rate_mbit_s=1000) == cap_mbit_s(350, 1230)


@given(st.floats(0.05, 0.95), st.floats(0.001, 0.05))
def test_power_inverts(delta: float, alpha: float) -> None:
    """The repetitions for an effect find that effect, and one fewer do not."""
    n = repetitions_for(delta, alpha)
    assert (detectable_delta(n, n, alpha) or 0) <= delta * (1 + 1e-9)
    assert n == 1 or (detectable_delta(n - 1, n - 1, alpha) or 2) > delta


def test_ten_repetitions_find_only_large_effects() -> None:
    """Ten against ten, corrected over 28 pairs, cannot be sure of any delta below 1 (none at all)."""
    assert detectable_delta(10, 10, 0.05 / 28) is None
    assert detectable_delta(10, 10, 0.05) == pytest.approx(0.7233, abs=1e-4)


def test_power_by_trial(rng: np.random.Generator) -> None:
    """Normal samples with the detectable delta are told apart about as often as promised."""
    delta = detectable_delta(50, 50, 0.05)
    assert delta is not None
    assert delta == pytest.approx(0.3235, abs=1e-3)
    # normal samples this far apart have P(X > Y) = (1 + delta) / 2
    shift = np.sqrt(2) * special.ndtri((1 + delta) / 2)
    hits = 0
    for _ in range(1000):
        found = mann_whitney(Tally.of(rng.normal(shift, 1, 50)), Tally.of(rng.normal(0, 1, 50)))
        hits += (found.p or 1) < 0.05
    assert 0.72 < hits / 1000 < 0.88


@pytest.mark.parametrize("delta", [0, 1.5])
def test_impossible_effects(delta: float) -> None:
    """No number of repetitions finds a delta of 0, and none is above 1."""
    with pytest.raises(ValueError, match="never"):
        repetitions_for(delta, 0.05)
