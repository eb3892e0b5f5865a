"""Limits, caps, and what counts as held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import CheckError
from vpnmesh.impairment.engine import (
    Counters,
    Impairment,
    InstalledImpairment,
    auto_limit_packets,
    check_held,
    impairment_for,
    late_ms_between,
)
from vpnmesh.model import Condition, Placement
from vpnmesh.stats.caps import cap_mbit_s, near_cap

BOTH = Condition(loss_pct=5, delay_ms=50)


def test_auto_limit_holds_a_gigabit_for_the_delay() -> None:
    """1 Gbit/s for 350 ms in packets of 1230 bytes, with a fifth of room; never below netem's own default."""
    assert auto_limit_packets(Condition(delay_ms=350)) == 42683
    assert auto_limit_packets(Condition(loss_pct=5)) == 1000


@given(st.floats(min_value=1, max_value=1000), st.sampled_from([1230, 1450]))
def test_auto_limit_never_caps_the_port(delay_ms: float, packet_bytes: int) -> None:
    """With the automatic limit the cap lies above the port's rate at every delay and both MTUs."""
    limit = auto_limit_packets(Condition(delay_ms=delay_ms))
    cap = cap_mbit_s(delay_ms, packet_bytes, limit)
    assert cap is not None
    assert cap > 1000


def test_a_fixed_limit_is_kept() -> None:
    """A placement's own limit wins: 1000 in the `paper` profile."""
    assert impairment_for(BOTH, Placement(limit=1000), seed=7) == Impairment(BOTH, 1000, 7)
    assert impairment_for(BOTH, Placement()).limit_packets == 6098


@pytest.mark.parametrize(
    ("delay_ms", "packet_bytes", "measured"),
    [
        (50, 1450, 222.7),
        (250, 1450, 44.2),
        (350, 1450, 31.5),
        (50, 1230, 187.5),
        (250, 1230, 37.2),
        (350, 1230, 26.6),
    ],
)
def test_the_papers_delayed_udp_is_its_queue(delay_ms: float, packet_bytes: int, measured: float) -> None:
    """Table A2's baseline UDP under delay lies at what 1000 packets / delay let through, so it is flagged."""
    roomy = auto_limit_packets(Condition(delay_ms=delay_ms))
    assert near_cap(measured, cap_mbit_s(delay_ms, packet_bytes, 1000))
    assert not near_cap(measured, cap_mbit_s(delay_ms, packet_bytes, roomy))


def test_no_delay_no_cap() -> None:
    """Without delay a queue caps nothing."""
    assert cap_mbit_s(0, 1450, 1000) is None
    assert not near_cap(950, None)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (InstalledImpairment(Condition()), "kernel holds none"),
        (InstalledImpairment(Condition(loss_pct=5), 6098), "kernel holds loss-5pct"),
        (InstalledImpairment(BOTH, 1000), "limit of 6098 packets, kernel holds 1000"),
        (InstalledImpairment(BOTH, 6098, faults=("it is dead",)), "it is dead"),
    ],
)
def test_what_is_not_held_is_said(held: InstalledImpairment, reason: str) -> None:
    """Anything but the asked condition, limit and good order ends in a CheckError of stage impairment."""
    with pytest.raises(CheckError, match=reason) as caught:
        check_held(held, Impairment(BOTH, 6098))
    assert caught.value.stage == "impairment"


def test_what_is_held_passes() -> None:
    """The asked impairment passes; where nothing is delayed the limit is the engine's own matter."""
    check_held(InstalledImpairment(BOTH, 6098), Impairment(BOTH, 6098))
    check_held(InstalledImpairment(Condition(loss_pct=5), 10_000), Impairment(Condition(loss_pct=5), 1000))
    check_held(InstalledImpairment(Condition()), Impairment(Condition(), 1000))


def _counters(passed: int, late_ms_mean: float) -> Counters:
    return Counters(passed, 0, 0, 0, 0, late_ms_mean, late_ms_mean)


def test_lateness_between_two_readings() -> None:
    """100 packets at 1 ms, then 300 more: a mean of 4 ms over all is 5 ms for those."""
    assert late_ms_between(_counters(100, 1), _counters(400, 4)) == 5
    assert late_ms_between(_counters(100, 1), _counters(100, 1)) is None
