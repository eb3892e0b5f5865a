"""Where a flow is steady: on made-up series whose start is known, and on captured ones of the lab."""

from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.stats.steady import SeriesInterval, mean_from, steady_part, still_rising, truncation
from vpnmesh.tools.iperf3_series import series_of

RATES = st.floats(1, 1000)


def series(values: list[float], step_s: float = 0.1) -> list[SeriesInterval]:
    """Values as intervals one after the other."""
    edges = [step_s * n for n in range(len(values) + 1)]
    return [SeriesInterval(*edge, value) for edge, value in zip(pairwise(edges), values, strict=True)]


def captured_flow(captured: Path, name: str, seconds: float) -> list[SeriesInterval]:
    """The first seconds of a captured TCP flow."""
    found = series_of((captured / "iperf3-series" / f"{name}.txt").read_text())
    return [
        SeriesInterval(one.start_s, one.end_s, one.rate_mbit_s)
        for one in found
        if one.start_s < seconds - 0.05
    ]


@given(RATES, st.integers(4, 40))
def test_a_constant_flow_is_steady_from_its_start(rate: float, n: int) -> None:
    """Nothing is cut, the mean is the rate, and the pipe is full after the first interval."""
    found = steady_part(series([rate] * n), round_trip_s=0.0, keep_s=0.2)
    assert (found.at_s, found.from_s, found.rising) == (0, 0, False)
    assert found.mean == pytest.approx(rate)
    assert found.filled_s == pytest.approx(0.1)


@given(RATES, st.integers(1, 10), st.integers(0, 8))
def test_a_doubling_start_is_cut_off(rate: float, rounds: int, more: int) -> None:
    """Slow start, then a rate: exactly the doubling intervals are cut, however many they are."""
    start = [rate / 2 ** (rounds - n + 1) for n in range(rounds)]
    found = steady_part(series([*start, *[rate] * (rounds + 4 + more)]), round_trip_s=0.0, keep_s=0.4)
    assert found.at_s == pytest.approx(0.1 * rounds)
    assert found.mean == pytest.approx(rate)
    assert not found.rising


@given(st.lists(RATES, min_size=4, max_size=60), st.integers(1, 20))
def test_a_cut_is_in_the_first_half_and_keeps_enough(values: list[float], keep: int) -> None:
    """Whatever the series, and however much is asked to be kept."""
    cut = truncation(values, keep)
    assert 0 <= cut <= len(values) // 2
    assert cut == 0 or len(values) - cut >= keep


@given(st.lists(RATES, min_size=20, max_size=40), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_omitted_seconds_never_count(values: list[float], omit_s: float) -> None:
    """The counted part begins after them, lasts to the end, and its mean is that of its intervals."""
    flow = series(values)
    found = steady_part(flow, round_trip_s=0.0, keep_s=0.5, omit_s=omit_s)
    assert found.from_s >= omit_s
    counted = [one.value for one in flow if one.start_s >= found.from_s - 0.05]
    assert found.mean == pytest.approx(fmean(counted))
    assert min(values) <= found.mean <= max(values)


@given(st.lists(RATES, min_size=20, max_size=40), st.floats(0.01, 100))
def test_the_unit_does_not_matter(values: list[float], factor: float) -> None:
    """The rule has no threshold in Mbit/s: a scaled series is cut at the same place."""
    assert truncation(values, 5) == truncation([value * factor for value in values], 5)


@given(st.floats(1.3, 3), st.integers(4, 12))
def test_a_flow_that_only_grows_never_got_steady(growth: float, n: int) -> None:
    """Exponential growth to the end is rising, wherever it is cut."""
    assert still_rising([growth**k for k in range(n)])


def test_a_series_that_is_too_short_is_refused() -> None:
    """A second to omit and one to count do not fit in one."""
    with pytest.raises(ValueError, match=r"1\.0 s of intervals"):
        steady_part(series([1.0] * 10), round_trip_s=0.0, keep_s=1, omit_s=1)
    with pytest.raises(ValueError, match=r"0\.0 s of intervals"):
        steady_part([], round_trip_s=0.0, keep_s=1)


def test_intervals_weigh_by_their_length() -> None:
    """The last interval of a flow is often a part of one."""
    assert mean_from([SeriesInterval(0, 0.1, 10), SeriesInterval(0.1, 0.4, 20)], 0) == pytest.approx(17.5)


@pytest.mark.parametrize(
    ("name", "seconds", "round_trip_s", "earliest_s", "latest_s"),
    [
        ("none-tcp", 2, 0.0, 0.0, 0.2),
        ("delay-50ms-tcp", 2, 0.05, 0.4, 1.0),
        ("delay-250ms-tcp", 7, 0.25, 2.0, 3.3),
        ("delay-350ms-tcp", 9, 0.35, 3.0, 4.5),
        ("delay-250ms-lossy-start-tcp", 7, 0.25, 2.0, 3.5),
    ],
)
def test_captured_flows_get_steady_when_their_curve_bends(
    name: str, seconds: float, round_trip_s: float, earliest_s: float, latest_s: float, captured: Path
) -> None:
    """The start of slow start, by eye in the curve of throughput over time, and by the rule."""
    flow = captured_flow(captured, name, seconds)
    found = steady_part(flow, round_trip_s=round_trip_s, keep_s=1, omit_s=1)
    assert earliest_s <= found.at_s <= latest_s
    assert found.filled_s is not None
    assert not found.rising


@pytest.mark.parametrize("seconds", [1.5, 2.0, 2.5])
def test_a_captured_slow_start_is_rising_at_every_length(seconds: float, captured: Path) -> None:
    """A test that ends before the pipe is full."""
    for name, round_trip_s in (("delay-250ms-tcp", 0.25), ("delay-350ms-tcp", 0.35)):
        flow = captured_flow(captured, name, seconds)
        assert steady_part(flow, round_trip_s=round_trip_s, keep_s=0.5).rising, name


@pytest.mark.parametrize("name", ["loss-1pct-tcp-0", "loss-1pct-tcp-1", "loss-5pct-tcp", "loss-10pct-tcp"])
def test_lossy_flows_are_steady_from_the_omitted_second_on(name: str, captured: Path) -> None:
    """Noise moves nothing: two seconds of which one counts are counted from the first second on."""
    found = steady_part(captured_flow(captured, name, 2), round_trip_s=0.0, keep_s=1, omit_s=1)
    assert found.from_s == pytest.approx(1.0, abs=0.01)
    assert not found.rising
