"""Bursts and pings: what is sent, what is read, what is believed."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import CheckError, ToolError
from vpnmesh.impairment.burst import (
    SLOWER,
    burst,
    check_burst,
    goes_between_pods,
    loss_bounds,
    may_be_the_pace,
)
from vpnmesh.model import PAPER_CONDITIONS, Condition, End, Place, Placement
from vpnmesh.tools import ping
from vpnmesh.tools.ping import PingSummary, Rtt

UNDERLAY = Placement()
CLEAN = PingSummary(20, 20, Rtt(0.2, 0.3, 0.5, 0.1))


def seen(lost: int, rtt_ms: float, sent: int = 2000) -> PingSummary:
    """A burst with that loss and that least round trip."""
    return PingSummary(sent, sent - lost, Rtt(rtt_ms, rtt_ms + 1, rtt_ms + 9, 1.0))


def read(captured: Path, case: str) -> str:
    folder = captured / "ping" / case
    return (folder / "stdout").read_text() + (folder / "stderr").read_text()


def test_argv_of_a_burst() -> None:
    """Four pings side by side send 2,000 packets in half a second; `-w` would make ping count wrongly."""
    (command,) = burst(IPv4Address("192.88.99.18"), ("ip", "netns", "exec", "p")).commands
    expected = "ip netns exec p xargs -P 4 -n 1 ping -n -q -i 0.001 -c 500 -s 64 -W 1 -l 20"
    assert command.argv == tuple(expected.split())
    assert command.stdin == "192.88.99.18\n" * 4


@pytest.mark.parametrize(("slower", "interval", "takes_s"), [(4, "0.004", 2), (16, "0.016", 8)])
def test_a_slower_burst_is_as_many(slower: int, interval: str, takes_s: float) -> None:
    """The same pings further apart, with time enough: twice what they take, and what any command has."""
    (first,) = burst(IPv4Address("192.88.99.18")).commands
    (command,) = burst(IPv4Address("192.88.99.18"), slower=slower).commands
    assert command.argv == tuple(interval if word == "0.001" else word for word in first.argv)
    assert command.stdin == first.stdin
    assert command.timeout_s - first.timeout_s >= 1.5 * takes_s


LOSS, DELAY, JITTER = Condition(loss_pct=1), Condition(delay_ms=50), Condition(delay_ms=50, jitter_ms=5)


@pytest.mark.parametrize(("condition", "lost", "rtt_ms", "tried_again"), [
    (LOSS, 49, 0.2, True),
    (LOSS, 20, 5.3, True),
    (LOSS, 2, 0.2, False),
    (DELAY, 13, 50.2, True),
    (DELAY, 0, 55.3, True),
    (DELAY, 0, 49.1, False),
    (JITTER, 13, 45.3, False),
])  # fmt: skip
def test_what_a_slower_burst_may_refute(
    condition: Condition,
    lost: int,
    rtt_ms: float,
    tried_again: bool,  # noqa: FBT001
) -> None:
    """Too much lost, or all too late; never too little, or too early; nothing after the slowest."""
    with pytest.raises(CheckError) as caught:
        check_burst(seen(lost, rtt_ms), condition, UNDERLAY, CLEAN)
    assert may_be_the_pace(caught.value, condition, 1) == tried_again
    assert may_be_the_pace(caught.value, condition, SLOWER[-2]) == tried_again
    assert not may_be_the_pace(caught.value, condition, SLOWER[-1])


def test_a_captured_burst(captured: Path) -> None:
    """Four summaries become one: counts add up, the average is weighted."""
    summary = ping.parse_all(read(captured, "burst-side-by-side"))
    assert (summary.sent, summary.received, summary.lost) == (2000, 1810, 190)
    assert summary.rtt is not None
    assert (summary.rtt.min_ms, summary.rtt.max_ms) == (50.017, 50.683)
    assert summary.rtt.avg_ms == pytest.approx(50.081, abs=0.001)
    check_burst(summary, Condition(loss_pct=10, delay_ms=50), UNDERLAY, CLEAN)


def test_captured_pings(captured: Path) -> None:
    """A clean run and one with delay and loss give ping's own figures."""
    assert ping.parse(read(captured, "clean")) == PingSummary(5, 5, Rtt(0.047, 0.067, 0.084, 0.012))
    assert ping.parse(read(captured, "delay-and-loss")).lost == 5
    assert ping.parse(read(captured, "clean")).rtt_avg_ms == 0.067


@pytest.mark.parametrize("case", ["all-lost", "host-unreachable"])
def test_nothing_came_back(captured: Path, case: str) -> None:
    """100 % loss is a count without a round trip, not a zero."""
    summary = ping.parse(read(captured, case))
    assert (summary.received, summary.rtt, summary.rtt_avg_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("case", "reason"), [("network-unreachable", "Network is unreachable"), ("truncated", "no summary")]
)
def test_no_summary(captured: Path, case: str, reason: str) -> None:
    """Without a summary there is ping's reason, never a figure."""
    with pytest.raises(ToolError, match=reason):
        ping.parse(read(captured, case))


@pytest.mark.parametrize("text", ["", "ping: bad number of packets to transmit: x"])
def test_no_ping_at_all(text: str) -> None:
    """An empty or a complaining output is a ToolError."""
    with pytest.raises(ToolError, match="no summary"):
        ping.parse(text)


def test_a_missing_summary_is_no_smaller_burst(captured: Path) -> None:
    """One of four pings that died is an error, not 1,500 packets."""
    cut = read(captured, "burst-side-by-side")
    with pytest.raises(ToolError, match="3 summaries of 4 pings"):
        ping.parse_all(cut[: cut.rindex("---", 0, cut.rindex("---")) - 1])


@pytest.mark.parametrize("condition", PAPER_CONDITIONS, ids=lambda condition: condition.name)
def test_the_condition_itself_passes(condition: Condition) -> None:
    """The expected loss and delay pass, from either end or both."""
    for end, crossed in ((End.CLIENT, 1), (End.SERVER, 1), (End.BOTH, 2)):
        lost = round(2000 * (1 - (1 - condition.loss_pct / 100) ** crossed))
        check_burst(seen(lost, 0.2 + crossed * condition.delay_ms), condition, Placement(end=end), CLEAN)


@pytest.mark.parametrize("asked", PAPER_CONDITIONS, ids=lambda condition: condition.name)
@pytest.mark.parametrize("real", PAPER_CONDITIONS, ids=lambda condition: condition.name)
def test_no_condition_passes_for_another(asked: Condition, real: Condition) -> None:
    """A burst tells all seven conditions apart: an impairment that is missing or wrong never passes."""
    if asked == real:
        return
    with pytest.raises(CheckError) as caught:
        check_burst(seen(round(20 * real.loss_pct), 0.2 + real.delay_ms), asked, UNDERLAY, CLEAN)
    assert caught.value.stage == "impairment"


BUSY = PingSummary(5, 5, Rtt(2.1, 3.0, 4.6, 1.0))
"""Clean pings while the machine was busy; the path takes 0.1 ms."""


@pytest.mark.parametrize("condition", PAPER_CONDITIONS, ids=lambda condition: condition.name)
def test_clean_pings_of_a_busy_moment_refuse_no_good_cell(condition: Condition) -> None:
    """The burst is faster than what came before it: by 2 ms, less than the clean pings differ among themselves."""
    check_burst(seen(round(20 * condition.loss_pct), 0.1 + condition.delay_ms), condition, UNDERLAY, BUSY)


def test_a_delay_that_is_missing_is_told_after_busy_clean_pings() -> None:
    """However far those were apart: half of the delay is the most that they excuse."""
    wild = PingSummary(5, 5, Rtt(2.1, 50.0, 900.0, 200.0))
    for clean in (BUSY, wild, CLEAN):
        for real_ms in (0.1, 25.0):
            with pytest.raises(CheckError, match="least round trip"):
                check_burst(seen(0, real_ms), Condition(delay_ms=50), UNDERLAY, clean)


def test_no_answers_at_all() -> None:
    """A path that carries nothing fails the check, whatever was asked."""
    for condition in PAPER_CONDITIONS:
        with pytest.raises(CheckError, match="2000 of 2000 packets lost"):
            check_burst(PingSummary(2000, 0, None), condition, UNDERLAY, CLEAN)


@given(st.integers(1000, 50_000), st.floats(0.5, 50), st.sampled_from([1, 2]))
def test_bounds_hold_the_expectation(packets: int, loss_pct: float, crossed: int) -> None:
    """The bounds hold the expected loss, and lie within the number of packets."""
    low, high = loss_bounds(packets, loss_pct, crossed)
    assert 0 <= low <= packets * (1 - (1 - loss_pct / 100) ** crossed) <= high <= packets


def test_bounds_by_hand() -> None:
    """5 % of 50,000 are 2500 +- 4.9 standard deviations (48.7); the upper one has room for 0.1 % stray loss."""
    low, high = loss_bounds(50_000, 5)
    assert 2260 < low < 2270
    assert 2780 < high < 2800


def test_which_addresses() -> None:
    """Inside the VPN the burst goes from pod to pod, below it from node to node."""
    assert [place for place in Place if goes_between_pods(Placement(place))] == [Place.VXLAN, Place.POD]


@pytest.mark.parametrize("case", ["clean", "delay-and-loss", "all-lost"])
def test_a_summary_keeps_what_ping_printed(captured: Path, case: str) -> None:
    """The text as printed, which read again is the same summary; a repr of the record shows figures only."""
    text = read(captured, case)
    assert ping.parse(text).text == text
    assert ping.parse(ping.parse(text).text) == ping.parse(text)
    assert "PING" not in repr(ping.parse(text))


def test_a_bursts_summary_keeps_all_four_pings(captured: Path) -> None:
    """All of it, since the figures are of all four."""
    text = read(captured, "burst-side-by-side")
    assert ping.parse_all(text).text == text
