"""How long TCP takes to reach a path's rate, and how much of a measurement that is."""

import pytest

from vpnmesh.stats.slow_start import MOSTLY, share_in_slow_start, slow_start_s


@pytest.mark.parametrize(
    ("rate_mbit_s", "rtt_ms", "rounds"),
    [
        # 10 segments of 1398 bytes; 955 Mbit/s for 250 ms are 29.8 MB: 2,134 initial windows, 12 doublings
        (955, 250, 12),
        (955, 350, 12),
        (955, 50, 9),
        # one initial window per round trip needs none
        (0.1, 250, 0),
    ],
)
def test_the_window_doubles_per_round_trip(rate_mbit_s: float, rtt_ms: float, rounds: int) -> None:
    assert slow_start_s(rate_mbit_s, rtt_ms, 1450) == pytest.approx(rounds * rtt_ms / 1000)


def test_without_a_round_trip_there_is_no_slow_start() -> None:
    assert slow_start_s(955, 0, 1450) == 0


def test_a_second_after_a_second_under_long_delays_is_all_slow_start() -> None:
    """One second omitted, one measured: the whole of it at 250 and 350 ms, none of it at 50 ms."""
    shares = [share_in_slow_start(slow_start_s(955, rtt, 1450), 1, 1) for rtt in (50, 250, 350)]
    assert shares == [0.0, 1.0, 1.0]


def test_the_papers_minute_is_not() -> None:
    """Sixty seconds at 350 ms hold some three seconds of it: far below the half that makes a figure its own."""
    share = share_in_slow_start(slow_start_s(955, 350, 1450), 1, 60)
    assert share == pytest.approx(3.2 / 60)
    assert share < MOSTLY / 5


def test_what_is_omitted_counts_for_nothing() -> None:
    """Omitted long enough, even a short measurement is free of it; omitted nothing, it begins at once."""
    assert share_in_slow_start(3.0, 3, 1) == 0
    assert share_in_slow_start(3.0, 0, 6) == pytest.approx(0.5)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_measurement_of_no_seconds_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        share_in_slow_start(1.0, 0, seconds)
