"""iperf3's output becomes figures or a reason, never a stand-in number."""

import json
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from vpnmesh.errors import ToolError
from vpnmesh.model import Condition
from vpnmesh.tools.iperf3 import Iperf3, parse

POD = IPv4Address("10.136.0.129")


def test_tcp_reads_the_receivers_side(captured: Path) -> None:
    """The rate is what arrived, not what was sent."""
    raw = (captured / "iperf3" / "tcp-relayed.json").read_text()
    end = json.loads(raw)["end"]
    measured = parse(raw, "tcp")
    assert end["sum_received"]["bits_per_second"] / 1e6 == measured.get("rate_mbit_s")
    assert end["sum_sent"]["retransmits"] == measured.get("retransmits")
    assert measured.get("lost_pct") is None


def test_udp_records_sent_received_and_lost(captured: Path) -> None:
    """Unlimited UDP loses most on the way in: all three figures are kept."""
    raw = (captured / "iperf3" / "udp-unlimited.json").read_text()
    end = json.loads(raw)["end"]
    measured = parse(raw, "udp")
    share = end["sum_received"]["bytes"] / end["sum_sent"]["bytes"]
    assert end["sum_sent"]["bits_per_second"] / 1e6 == measured.get("sent_mbit_s")
    assert pytest.approx(100 * (1 - share)) == measured.get("lost_pct")


def _nothing_arrived(text: str) -> str:
    report = json.loads(text)
    report["end"]["sum_received"]["bytes"] = 0
    return json.dumps(report)


def _without_sum(text: str) -> str:
    report = json.loads(text)
    del report["end"]["sum_received"]
    return json.dumps(report)


UGLY: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "no JSON"),
    "empty": (lambda _: "", "no output"),
    "-nan": (lambda text: text.replace('"lost_percent":\t0', '"lost_percent":\t-nan'), "no JSON"),
    "NaN": (lambda text: text.replace('"seconds":', '"seconds": NaN, "s":', 1), "no JSON"),
    "zero bytes": (_nothing_arrived, "nothing arrived"),
    "no receiver": (_without_sum, "no sum_received"),
    "a list": (lambda _: "[]", "no JSON object"),
    "no end": (lambda _: '{"start": {}, "end": {}}', "no end of test"),
}


@pytest.mark.parametrize("case", UGLY)
def test_ugly_output_is_a_reason(case: str, captured: Path) -> None:
    """Whatever iperf3 leaves half done ends as ToolError with words."""
    make, said = UGLY[case]
    text = (captured / "iperf3" / "udp-unlimited.json").read_text()
    raw = make(text)
    assert raw != text
    with pytest.raises(ToolError, match=said):
        parse(raw, "udp")


def test_a_refused_connection_keeps_iperf3s_own_words(captured: Path) -> None:
    """The error in the JSON is the reason."""
    with pytest.raises(ToolError, match="Connection refused"):
        parse((captured / "iperf3" / "refused.json").read_text(), "tcp")


def test_argv_is_the_papers() -> None:
    """`iperf3 -O 1 -t 60` and `iperf3 -u -b 0 -O 1 -w 2M -t 60`, JSON instead of text."""
    tool = Iperf3(duration_s=60, udp_window="2M")
    tcp, udp = tool.client("tcp", POD), tool.client("udp", POD)
    assert ("iperf3", "-c", str(POD), "-p", "5201", "-O", "1", "-t", "60") == tcp[:9]
    assert tcp[9:11] == ("-C", "cubic")
    assert udp[9:14] == ("-u", "-b", "0", "-w", "2M")


def test_the_time_limit_follows_the_specification() -> None:
    """A timeout is computed: longer tests and longer ways get more."""
    clean = Condition()
    assert Iperf3(60).limit_s(clean) - Iperf3(10).limit_s(clean) == 50
    assert Iperf3(10).limit_s(Condition(delay_ms=350)) > Iperf3(10).limit_s(clean) + 4
    assert Iperf3(10).limit_s(Condition(loss_pct=10)) > Iperf3(10).limit_s(clean) + 7
