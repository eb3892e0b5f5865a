"""iperf3: how it is called, and the figures of its JSON, judged by the receiver's side.

The paper's k8s-bench-suite ran `iperf3 -c IP -O 1 -f m -t 60` and `iperf3 -u -b 0 -c IP -O 1 -w 2M -f m -t 60`
and read the receiver's line; we keep the JSON. `whole_flow` asks for one flow from its very start, with the sender's
intervals in the JSON; the server prints the receiver's either way (`iperf3_series`). Written against iperf 3.12.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from vpnmesh.documents.numbers import amount
from vpnmesh.errors import NO_JSON, ToolError
from vpnmesh.model import Condition
from vpnmesh.study.outcome import Measured, Sample

Transport = Literal["tcp", "udp"]
PROGRAM = "iperf3"
"""The tool's name, as a process has it too."""
PORT = 5201
LISTENING = "Server listening"
CONNECT_TIMEOUT_MS = 10_000
EXCHANGE_ROUND_TRIPS = 12
"""Round trips on the control connection before and after the streams, with room for lost ones."""


SLACK_S = 8
LOSS_S_PER_PCT = 1.5
"""At 10 % a segment in a thousand is lost three times over, after 1 + 2 + 4 seconds; and some more than one is."""
OPENINGS = 3
"""How often a UDP stream is opened at most: iperf3 sends the datagram that opens it once (its issue 351)."""
OPENING_S, HANDSHAKE_S = 3.0, 3.0
"""Until a stream carries something, without delay: a loaded machine takes its time. Under loss the
control connection's own opening may be sent three times, after 1 and 2 s (RFC 6298)."""
FINE_INTERVAL_S, COARSE_INTERVAL_S = 0.1, 0.5
FINE_UP_TO_S = 20
"""The longest flow whose series is fine: kept files stay small."""


@dataclass(frozen=True, slots=True)
class Iperf3:
    """How iperf3 is asked; durations in seconds, `udp_window` as iperf3 writes sizes.

    A `whole_flow` has no omitted seconds and tells the sender's intervals too.
    """

    duration_s: int
    omit_s: int = 1
    congestion: str = "cubic"
    udp_rate: str = "0"
    udp_window: str = ""
    whole_flow: bool = False

    @property
    def streams_s(self) -> int:
        """How long data flows, with what is omitted."""
        return self.duration_s if self.whole_flow else self.omit_s + self.duration_s

    @property
    def interval_s(self) -> float:
        """How long an interval of the series is."""
        return FINE_INTERVAL_S if self.streams_s <= FINE_UP_TO_S else COARSE_INTERVAL_S

    def client(self, transport: Transport, server: IPv4Address) -> tuple[str, ...]:
        """The argv of the asking side."""
        head = (
            "iperf3",
            "-c",
            str(server),
            "-p",
            str(PORT),
            *(("-i", f"{self.interval_s:g}") if self.whole_flow else ("-O", str(self.omit_s))),
            "-t",
            str(self.duration_s),
        )
        server_too = () if self.whole_flow else ("--get-server-output",)
        tail = ("--connect-timeout", str(CONNECT_TIMEOUT_MS), "-J", *server_too)
        if transport == "tcp":
            return (*head, *(("-C", self.congestion) if self.congestion else ()), *tail)
        window = ("-w", self.udp_window) if self.udp_window else ()
        return (*head, "-u", "-b", self.udp_rate, *window, *tail)

    def server(self, address: IPv4Address) -> tuple[str, ...]:
        """The argv of the answering side: one client, whose intervals it prints as they end, then it ends too."""
        series = ("-f", "k", "-i", f"{self.interval_s:g}")
        return ("iperf3", "-s", "-1", "-B", str(address), "-p", str(PORT), "--forceflush", *series)

    def limit_s(self, condition: Condition) -> float:
        """How long the client may take at most, from the specification: streams, control round trips, slack.

        The control connection is impaired too: a lost segment of it costs a retransmission timeout, which doubles.
        """
        return self.streams_s + SLACK_S + _control_s(condition)

    def opening_s(self, condition: Condition) -> float:
        """How long a stream may take from the client's start until it carries something; else it never will.

        The server does not show before that who connected: its words wait in a buffer until the first interval.
        """
        handshake_s = HANDSHAKE_S if condition.worst_loss_pct else 0.0
        return OPENING_S + handshake_s + EXCHANGE_ROUND_TRIPS * condition.round_trip_ms / 1000


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sender gave to its socket between two times, seconds since its start."""

    start_s: float
    end_s: float
    sent_bytes: float
    retransmits: float | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender's side of a whole flow; `round_trip_s` is the least that TCP saw, 0 for UDP."""

    series: tuple[Sent, ...]
    round_trip_s: float

    def rate_mbit_s(self, from_s: float) -> float:
        """What was sent per second in the intervals since; ToolError without any."""
        counted = self.since(from_s)
        if (seconds := sum(one.end_s - one.start_s for one in counted)) <= 0:
            raise ToolError(PROGRAM, f"the client tells no interval after {from_s:.1f} s")
        return sum(one.sent_bytes for one in counted) * 8 / 1e6 / seconds

    def since(self, from_s: float) -> Sequence[Sent]:
        """The intervals that begin then or later, give or take half of a fine one."""
        return [one for one in self.series if one.start_s >= from_s - FINE_INTERVAL_S / 2]


def is_whole(text: str) -> bool:
    """Whether the client has printed its report: JSON comes all at once, at the end."""
    try:
        json.loads(text)
    except NO_JSON:
        return False
    return True


def sender_of(raw: str) -> Sender:
    """The sender's series from the client's JSON; ToolError as `parse` does."""
    report = _report(raw)
    intervals = report.get("intervals")
    try:
        series = tuple(_sent(one["sum"]) for one in intervals)  # type: ignore[attr-defined]
        streams = report["end"]["streams"]  # type: ignore[index]
        least = (amount(one["sender"].get("min_rtt", 0)) for one in streams if "sender" in one)
        round_trip_s = min(one for one in least if one is not None) / 1e6
    except (AttributeError, KeyError, TypeError):
        raise ToolError(PROGRAM, "no intervals in the report") from None
    except ValueError:
        round_trip_s = 0.0
    return Sender(series, round_trip_s)


def _sent(found: Mapping[str, object]) -> Sent:
    start_s, end_s, sent_bytes = (amount(found[name]) for name in ("start", "end", "bytes"))
    if start_s is None or end_s is None or sent_bytes is None or end_s < start_s:
        raise ToolError(PROGRAM, "an interval of the report is none")
    return Sent(start_s, end_s, sent_bytes, amount(found.get("retransmits")))


def _control_s(condition: Condition) -> float:
    return EXCHANGE_ROUND_TRIPS * condition.round_trip_ms / 1000 + LOSS_S_PER_PCT * condition.worst_loss_pct


def parse(raw: str, transport: Transport) -> Measured:
    """Figures from the client's JSON: `rate_mbit_s` is the receiver's.

    Raises ToolError with iperf3's own words for an error, for output that is no JSON (cut, or with `-nan` in it)
    and for a run in which nothing arrived.
    """
    end = _end(raw)
    received, sent = _sum(end, "sum_received"), _sum(end, "sum_sent")
    if not (received["bytes"] and received["bits_per_second"]):
        raise ToolError("iperf3", f"nothing arrived ({sent['bytes']:.0f} bytes sent)")
    samples = [
        Sample("rate_mbit_s", received["bits_per_second"] / 1e6),
        Sample("sent_mbit_s", sent["bits_per_second"] / 1e6),
    ]
    if transport == "udp":
        # iperf 3.12 counts losses of the omitted second into lost_packets, so bytes of the window are compared;
        # packets still on their way at its start can make more arrive than was sent in it
        lost = max(0.0, 1 - received["bytes"] / sent["bytes"]) if sent.get("bytes") else 0.0
        samples.append(Sample("lost_pct", 100 * lost))
    elif "retransmits" in sent:
        samples.append(Sample("retransmits", sent["retransmits"]))
    return Measured(tuple(samples), carried_bytes=received["bytes"])


def _end(raw: str) -> Mapping[str, object]:
    end = _report(raw)["end"]
    assert isinstance(end, dict)
    return end


def _report(raw: str) -> dict[str, object]:
    """The whole report of a test that came to its end."""
    if not raw.strip():
        raise ToolError("iperf3", "no output")
    try:
        report = json.loads(raw, parse_constant=_refuse_constant)
    except NO_JSON as error:
        raise ToolError("iperf3", f"no JSON: {error}") from error
    if not isinstance(report, dict):
        raise ToolError("iperf3", "no JSON object")
    if report.get("error"):
        raise ToolError("iperf3", str(report["error"]).strip() or "an error without a word")
    end = report.get("end")
    if not isinstance(end, dict) or not end:
        raise ToolError("iperf3", "no end of test in the report")
    return report


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _sum(end: Mapping[str, object], key: str) -> dict[str, float]:
    found = end.get(key)
    if not isinstance(found, dict):
        raise ToolError("iperf3", f"no {key} in the report")
    figures = {name: number for name, value in found.items() if (number := amount(value)) is not None}
    for name in ("bytes", "bits_per_second"):
        if name not in figures:
            raise ToolError("iperf3", f"no bytes in {key}" if name == "bytes" else f"no rate in {key}")
    return figures
