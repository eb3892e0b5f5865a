"""The interval lines of iperf3's server become a series, cut anywhere, with omitted seconds or without."""

from pathlib import Path

import pytest

from vpnmesh.tools.iperf3_series import series_of, something_arrived


@pytest.fixture
def udp(captured: Path) -> str:
    return (captured / "iperf3-series" / "loss-10pct-udp.txt").read_text()


@pytest.fixture
def tcp(captured: Path) -> str:
    return (captured / "iperf3-series" / "none-tcp.txt").read_text()


def test_every_interval_is_there_and_the_summary_is_none(tcp: str) -> None:
    """Three seconds in tenths and what came after; the sum of all agrees with the tool's own."""
    found = series_of(tcp)
    assert len(found) == 31
    assert (found[0].start_s, found[0].end_s, found[0].rate_mbit_s) == (0.0, 0.1, 920.233)
    assert [one.start_s for one in found[1:]] == [one.end_s for one in found[:-1]]
    total = sum(one.carried_bytes for one in found)
    assert total * 8 / 1e6 / found[-1].end_s == pytest.approx(923.258, rel=0.01)


def test_udp_has_its_losses(udp: str) -> None:
    """Lost of all datagrams, per interval."""
    first, *_, last = series_of(udp)
    assert (first.lost, first.datagrams) == (2189, 4781)
    assert (last.lost, last.datagrams) == (0, 0) or last.datagrams > 0


def test_omitted_intervals_come_first_and_times_go_on() -> None:
    """With -O iperf3 counts from 0 again after them."""
    text = (
        "[  5]   0.00-0.50   sec  5.0 MBytes  80000 Kbits/sec                  (omitted)\n"
        "[  5]   0.50-1.00   sec  5.0 MBytes  90000 Kbits/sec                  (omitted)\n"
        "[  5]   0.00-0.50   sec  5.0 MBytes  95000 Kbits/sec                  \n"
    )
    assert [(one.start_s, one.end_s, one.rate_mbit_s) for one in series_of(text)] == [
        (0.0, 0.5, 80.0),
        (0.5, 1.0, 90.0),
        (1.0, 1.5, 95.0),
    ]


def test_a_text_that_is_cut_gives_the_lines_before(tcp: str) -> None:
    """At no place does a cut make a wrong interval."""
    whole = series_of(tcp)
    for length in range(0, len(tcp), 37):
        found = series_of(tcp[:length])
        assert found == whole[: len(found)]


def test_a_stream_is_open_once_something_arrived(udp: str) -> None:
    """Lines of nothing are those of a server whose client still waits for the answer."""
    nothing = "[  5]   0.00-0.10   sec  0.00 Bytes  0.00 Kbits/sec  0.000 ms  0/0 (0%)  \n"
    head = udp.partition("[ ID]")[0]
    assert not something_arrived("")
    assert not something_arrived(head + 5 * nothing)
    assert something_arrived(udp)
