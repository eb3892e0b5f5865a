"""Reads the JSON that vpn-bench publishes of one test between two machines: iperf3's own, or why there is none.

A file holds `status`: with `success`, `data` is iperf3's JSON of one test in both directions at once, and `meta` names
the two machines; otherwise `error` says what went wrong. The figure is what the target received from the source.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from vpnmesh.documents.numbers import amount, percentage
from vpnmesh.errors import NO_JSON, ToolError

TOOL = "vpn-bench"
TESTS = {"tcp_iperf3.json": "tcp", "udp_iperf3.json": "udp"}
"""The files that hold throughput between two machines, and the test of each."""
SETTINGS = "tc_settings.json"
"""What was impaired in a profile's folder."""
_LONGEST_REASON = 160


@dataclass(frozen=True, slots=True)
class BenchRepetition:
    """One test; `problem` says why it is no measurement, None when it is one."""

    pair: str
    rate_mbit_s: float | None = None
    lost_pct: float | None = None
    retransmits: float | None = None
    started_at: datetime | None = None
    duration_s: float | None = None
    facts: frozenset[tuple[str, str]] = frozenset()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """A profile's impairment: its alias, and what it set, in words; "" where nothing was impaired."""

    alias: str
    told: str


def parse(text: str) -> BenchRepetition:
    """The test in a file; ToolError where the file is no such test at all (cut off, another tool's)."""
    document = _document(text)
    if "status" not in document or not ("data" in document or "error" in document):
        raise ToolError(
            TOOL,
            f"not a vpn-bench result (found: {', '.join(key[:20] for key in sorted(document)[:4]) or 'nothing'})",
        )
    meta = _mapping(document.get("meta"))
    pair = f"{meta.get('source', '')}>{meta.get('target', '')}"
    if document["status"] != "success":
        return BenchRepetition(pair, problem=_problem(document))
    return _measured(pair, _mapping(document.get("data")))


def parse_settings(text: str) -> BenchSettings:
    """What `tc_settings.json` says; ToolError where it is none."""
    document = _document(text)
    settings = _mapping(document.get("settings"))
    told = [
        f"{name} {value:g}" for name, value in settings.items() if isinstance(value, int | float) and value
    ]
    if "alias" not in document:
        raise ToolError(TOOL, "no alias in it")
    return BenchSettings(str(document["alias"]), ", ".join(told))


def _document(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except NO_JSON as error:
        raise ToolError(TOOL, f"no JSON, or cut off: {str(error)[:80]}") from error
    if not isinstance(found, dict):
        raise ToolError(TOOL, f"not a vpn-bench result (found: {type(found).__name__})")
    return found


def _measured(pair: str, data: Mapping[str, object]) -> BenchRepetition:
    start, end = _mapping(data.get("start")), _mapping(data.get("end"))
    received, sent = _mapping(end.get("sum_received")), _mapping(end.get("sum_sent"))
    rate = amount(received.get("bits_per_second"))
    test = _mapping(start.get("test_start"))
    return BenchRepetition(
        pair,
        rate_mbit_s=rate / 1e6 if rate else None,
        lost_pct=percentage(received.get("lost_percent")),
        retransmits=amount(sent.get("retransmits")),
        started_at=_time(_mapping(start.get("timestamp")).get("timesecs")),
        duration_s=amount(test.get("duration")),
        facts=frozenset(_facts(start, end)),
        problem=None if rate else "the target received nothing, or iperf3 did not say how much",
    )


def _facts(start: Mapping[str, object], end: Mapping[str, object]) -> list[tuple[str, str]]:
    """Kernel, iperf3 and congestion control; the machine's own name is left out, or every pair would differ."""
    words = str(start.get("system_info", "")).split()
    known = {
        "kernel": " ".join(words[2:]) or None,
        "iperf3": start.get("version"),
        "TCP congestion control": end.get("sender_tcp_congestion"),
    }
    return [(name, str(value)) for name, value in known.items() if value]


def _problem(document: Mapping[str, object]) -> str:
    """Why a test gave nothing: what iperf3 said, or the error's own words; never the command, which has a password."""
    error = _mapping(document.get("error"))
    said = _said_by_iperf3(str(error.get("stdout", ""))) or error.get("msg")
    if not said and error.get("returncode") is not None:
        said = f"exit {error['returncode']}"
    kind = str(document.get("error_type") or document.get("status"))
    return f"{kind}: {said or 'without a reason'}"[:_LONGEST_REASON]


def _said_by_iperf3(stdout: str) -> str:
    try:
        return str(_mapping(json.loads(stdout)).get("error", ""))
    except NO_JSON:
        return ""


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _time(seconds: object) -> datetime | None:
    value = amount(seconds)
    try:
        return None if value is None else datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
