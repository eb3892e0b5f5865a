"""Reads what k8s-netperf writes: JSON (`--json`, a list of documents) or `result-*.csv`, a row per configuration.

A row is the mean of several samples, which are not in it. Where the tool could not work out a throughput it writes
0: that is a failed attempt. A configuration (driver, host network, message size, ...) decides what a figure means.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from vpnmesh.documents.numbers import percentage, written_amount
from vpnmesh.errors import NO_JSON, ToolError

TOOL = "k8s-netperf"
TESTS = {"TCP_STREAM": "tcp", "UDP_STREAM": "udp"}
"""The profiles that measure throughput; the others measure requests or latency."""
_UNIT = "Mb/s"
_FROM_CSV = {
    "Driver": "driver",
    "Profile": "profile",
    "Same node": "local",
    "Host Network": "hostNetwork",
    "VM mode": "virt",
    "Service": "service",
    "External Server": "externalServer",
    "UDN Info": "udnInfo",
    "Bridge Info": "bridgeInfo",
    "SR-IOV Info": "sriovInfo",
    "Macvlan Info": "macvlanInfo",
    "Localnet Info": "localnetInfo",
    "Duration": "duration",
    "Parallelism": "parallelism",
    "# of Samples": "samples",
    "Message Size": "messageSize",
    "Burst": "burst",
    "Avg Throughput": "throughput",
    "Throughput Metric": "tputMetric",
}
"""The headings of the CSV as the JSON calls them; older versions lack some."""
CONFIGURATION = (
    "driver", "hostNetwork", "service", "local", "acrossAZ", "virt", "externalServer", "udnInfo", "bridgeInfo",
    "sriovInfo", "macvlanInfo", "localnetInfo", "duration", "parallelism", "messageSize", "burst",
)  # fmt: skip
"""What sets one kind of figure apart from another."""


@dataclass(frozen=True, slots=True)
class Result:
    """One configuration's mean; `test` is None for what is no throughput, `problem` says why there is no figure."""

    profile: str
    configuration: tuple[tuple[str, str], ...]
    samples: int | None
    rate_mbit_s: float | None
    lost_pct: float | None
    retransmits: float | None
    started_at: datetime | None
    version: str
    problem: str | None

    @property
    def test(self) -> str | None:
        """`tcp` or `udp`, None for another kind of test."""
        return TESTS.get(self.profile)


def parse_json(text: str) -> tuple[Result, ...]:
    """The documents; ToolError where the text is cut off or no such list."""
    try:
        found = json.loads(text.lstrip("\ufeff"))
    except NO_JSON as error:
        raise ToolError(TOOL, f"no JSON, or cut off: {str(error)[:80]}") from error
    documents = found if isinstance(found, list) else [found]
    ours = [one for one in documents if isinstance(one, dict) and {"profile", "throughput"} <= set(one)]
    if not ours or len(ours) < len(documents):
        raise ToolError(TOOL, "not k8s-netperf's documents (profile and throughput are missing)")
    return tuple(map(_result, ours))


def parse_csv(text: str) -> tuple[Result, ...]:
    """The rows; ToolError where the head is another one, or there is no whole row."""
    try:
        return tuple(_result(row) for row in _rows(text))
    except csv.Error as error:
        raise ToolError(TOOL, f"no CSV: {error}") from error


def _rows(text: str) -> Iterator[Mapping[str, object]]:
    table = csv.reader(io.StringIO(text.lstrip("\ufeff")))
    head = next(table, [])
    if not {"Profile", "Avg Throughput", "Throughput Metric"} <= set(head):
        raise ToolError(TOOL, "not a result-*.csv of k8s-netperf (no columns Profile and Avg Throughput)")
    for number, cells in enumerate(table, start=2):
        if len(cells) != len(head):
            raise ToolError(TOOL, f"line {number} is cut off, or has other columns than the head")
        yield {_FROM_CSV.get(name, name): value for name, value in zip(head, cells, strict=True)}


def _result(row: Mapping[str, object]) -> Result:
    rate, problem = _rate(row)
    samples = written_amount(row.get("samples"))
    profile = str(row.get("profile", ""))
    return Result(
        profile,
        tuple((name, _shown(row[name])) for name in CONFIGURATION if _shown(row.get(name))),
        None if samples is None else int(samples),
        rate,
        percentage(row.get("udpLossPercent")) if "UDP" in profile else None,
        written_amount(row.get("tcpRetransmits")) if "TCP" in profile else None,
        _time(row.get("timestamp")),
        str(row.get("toolVersion") or ""),
        problem,
    )


def _rate(row: Mapping[str, object]) -> tuple[float | None, str | None]:
    unit, rate = str(row.get("tputMetric", "")), written_amount(row.get("throughput"))
    if not rate:
        return None, "throughput is 0: the tool had none" if rate == 0 else "throughput is no number"
    return (rate, None) if unit == _UNIT else (None, f"throughput in {unit or 'no unit'}, wanted {_UNIT}")


def _shown(value: object) -> str:
    """A part of the configuration as text; what is false, empty or missing is the usual and not said."""
    text = str(value).strip()
    return "" if value is None or text.lower() in {"", "false"} else text.lower() if text == "True" else text


def _time(value: object) -> datetime | None:
    """The time that Go writes: `2025-12-18T15:21:29.123456789Z`."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
