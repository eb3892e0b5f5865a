"""iperf3: pod-to-pod throughput as the paper's tool asked for it, judged by the receiver's side.

The paper's k8s-bench-suite ran `iperf3 -c IP -O 1 -f m -t 60` and `iperf3 -u -b 0 -c IP -O 1 -w 2M -f m -t 60`
and read the receiver's line; we keep the JSON. Written against iperf 3.12 (Debian 12).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from vpnmesh.errors import ToolError
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


@dataclass(frozen=True, slots=True)
class Iperf3:
    """How iperf3 is asked; durations in seconds, `udp_window` as iperf3 writes sizes."""

    duration_s: int
    omit_s: int = 1
    congestion: str = "cubic"
    udp_rate: str = "0"
    udp_window: str = ""

    def client(self, transport: Transport, server: IPv4Address) -> tuple[str, ...]:
        """The argv of the asking side."""
        head = (
            "iperf3",
            "-c",
            str(server),
            "-p",
            str(PORT),
            "-O",
            str(self.omit_s),
            "-t",
            str(self.duration_s),
        )
        tail = ("--connect-timeout", str(CONNECT_TIMEOUT_MS), "-J", "--get-server-output")
        if transport == "tcp":
            return (*head, *(("-C", self.congestion) if self.congestion else ()), *tail)
        window = ("-w", self.udp_window) if self.udp_window else ()
        return (*head, "-u", "-b", self.udp_rate, *window, *tail)

    def server(self, address: IPv4Address) -> tuple[str, ...]:
        """The argv of the answering side: one client, then it ends."""
        return ("iperf3", "-s", "-1", "-B", str(address), "-p", str(PORT), "--forceflush")

    def limit_s(self, condition: Condition) -> float:
        """How long the client may take at most, from the specification: streams, control round trips, slack.

        The control connection is impaired too: a lost segment of it costs a retransmission timeout, which doubles.
        """
        streams = self.omit_s + self.duration_s
        control = EXCHANGE_ROUND_TRIPS * condition.delay_ms / 1000 + LOSS_S_PER_PCT * condition.loss_pct
        return streams + SLACK_S + control


def parse(raw: str, transport: Transport) -> Measured:
    """Figures from the client's JSON: `rate_mbit_s` is the receiver's.

    Raises ToolError with iperf3's own words for an error, for output that is no JSON (cut, or with `-nan` in it)
    and for a run in which nothing arrived.
    """
    end = _end(raw)
    received, sent = _sum(end, "sum_received"), _sum(end, "sum_sent")
    if not received.get("bytes"):
        raise ToolError("iperf3", f"nothing arrived ({sent.get('bytes', 0):.0f} bytes sent)")
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
    if not raw.strip():
        raise ToolError("iperf3", "no output")
    try:
        report = json.loads(raw, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, ValueError) as error:
        raise ToolError("iperf3", f"no JSON: {error}") from error
    if not isinstance(report, dict):
        raise ToolError("iperf3", "no JSON object")
    if report.get("error"):
        raise ToolError("iperf3", str(report["error"]))
    end = report.get("end")
    if not isinstance(end, dict) or not end:
        raise ToolError("iperf3", "no end of test in the report")
    return end


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _sum(end: Mapping[str, object], key: str) -> dict[str, float]:
    found = end.get(key)
    if not isinstance(found, dict):
        raise ToolError("iperf3", f"no {key} in the report")
    figures = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    if "bytes" not in figures or "bits_per_second" not in figures:
        raise ToolError("iperf3", f"no bytes in {key}")
    return figures
