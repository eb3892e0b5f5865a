"""iputils ping: the argv, and what its summary says. Source: ping(8), iputils 20221126 (Debian 12)."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from vpnmesh.errors import ToolError

_START = re.compile(r"^PING ", re.MULTILINE)
_HEAD = re.compile(r"^--- .* ping statistics ---$", re.MULTILINE)
_COUNTS = re.compile(r"^(\d{1,12}) packets transmitted, (\d{1,12}) received\b", re.MULTILINE)
_TWICE = re.compile(r", \+(\d+) duplicates")
_TIMES = re.compile(r"^rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms", re.MULTILINE)
_SENDING = re.compile(r", time (\d{1,9})ms$", re.MULTILINE)
_ANSWER = re.compile(
    r"^\d+ bytes from \S+ icmp_seq=(\d{1,9}) (?:ttl|hlim)=\d+ time=(\d{1,9}(?:\.\d+)?) ms$", re.MULTILINE
)
_ROUNDED_MS = 0.002
_REASON = re.compile(
    r"(Destination \w+ \w+|Time to live exceeded|Network is unreachable|Operation not permitted)"
)


@dataclass(frozen=True, slots=True)
class Rtt:
    """Round-trip times in milliseconds; `mdev` is ping's standard deviation."""

    min_ms: float
    avg_ms: float
    max_ms: float
    mdev_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: the number of its request, from 1, and its round trip."""

    sequence: int
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class PingSummary:
    """What ping counted; `rtt` is None when nothing came back. `text` is what it printed, to be kept as it is."""

    sent: int
    received: int
    rtt: Rtt | None
    text: str = field(default="", repr=False, compare=False)

    @property
    def rtt_avg_ms(self) -> float | None:
        """The mean round trip, None when nothing came back."""
        return self.rtt.avg_ms if self.rtt else None

    @property
    def sending_ms(self) -> float:
        """How long sending took, from the first to the last request; 0 where it is not said."""
        found = _SENDING.search(self.text)
        return float(found[1]) if found else 0.0

    @property
    def lost(self) -> int:
        """Sent and never answered in time."""
        return self.sent - self.received


def argv(
    address: IPv4Address | str,
    count: int,
    interval_s: float = 0.2,
    wait_s: float = 1.0,
    payload_bytes: int = 56,
    *,
    quiet: bool = True,
) -> tuple[str, ...]:
    """`count` echo requests; the last ones get `wait_s` to come back. Intervals below 2 ms need root.

    A quiet one prints its summary only, else a line for every answer too (`answers`).

    Never `-w`: with it `-c` counts answers, and what is under way at the end counts as lost.
    """
    return (
        *("ping", "-n", *(("-q",) if quiet else ()), "-i", f"{interval_s:g}", "-c", str(count)),
        *("-s", str(payload_bytes), "-W", f"{wait_s:g}", str(address)),
    )


def seconds(count: int, interval_s: float = 0.2, wait_s: float = 1.0) -> float:
    """How long `argv` takes at the most: ping waits two round trips for the last answers, or `wait_s`."""
    return count * interval_s + 2 * wait_s


def answers(text: str) -> tuple[Answer, ...]:
    """Every answer that a ping printed which was not quiet; ToolError if they are not as many as its summary counts."""
    found = tuple(Answer(int(number), float(time)) for number, time in _ANSWER.findall(text))
    if len(found) != (counted := parse_all(text).received):
        raise ToolError("ping", f"{len(found)} answers are printed, {counted} counted")
    return found


def parse_all(text: str) -> PingSummary:
    """Read the summaries of pings that ran side by side as if they were one; ToolError if one is missing.

    min and max are those of all, the average is weighted; mdev is the greatest, as they cannot be joined.
    """
    started, parts = len(_START.findall(text)), _HEAD.split(text)[1:]
    if started != len(parts):
        raise ToolError("ping", f"{len(parts)} summaries of {started} pings")
    summaries = [parse(part) for part in parts] or [parse(text)]
    rtts = [(summary.received, summary.rtt) for summary in summaries if summary.rtt]
    sent, received = sum(summary.sent for summary in summaries), sum(count for count, _ in rtts)
    if not rtts:
        return PingSummary(sent, 0, None, text)
    return PingSummary(
        sent,
        received,
        Rtt(
            min(rtt.min_ms for _, rtt in rtts),
            sum(count * rtt.avg_ms for count, rtt in rtts) / received,
            max(rtt.max_ms for _, rtt in rtts),
            max(rtt.mdev_ms for _, rtt in rtts),
        ),
        text,
    )


def parse(text: str) -> PingSummary:
    """Read ping's output; ToolError with ping's own reason where there is no summary to read.

    Answers that came twice are refused: ping counts them into the mean, and a path that doubles packets is broken.
    """
    counts, times, reason = _COUNTS.search(text), _TIMES.search(text), _REASON.search(text)
    if counts is None:
        tail = text.strip().splitlines()[-1:] or ["no output"]
        raise ToolError("ping", reason[0] if reason else f"no summary: {tail[0][:120]}")
    sent, received = int(counts[1]), int(counts[2])
    if received and times is None:
        raise ToolError("ping", "summary without round-trip times")
    if twice := _TWICE.search(text):
        raise ToolError("ping", f"{twice[1]} answers came twice")
    if not sent:
        raise ToolError("ping", reason[0] if reason else "sent nothing")
    if received > sent:
        raise ToolError("ping", f"{received} answers to {sent} pings")
    return PingSummary(sent, received, _rtt(times.groups()) if received and times else None, text)


def _rtt(words: Sequence[str]) -> Rtt:
    """The four times; ToolError where they are no numbers, or not in the order that such times have."""
    try:
        rtt = Rtt(*map(float, words))
    except ValueError:
        raise ToolError("ping", f"no round-trip times: {'/'.join(words)[:80]}") from None
    # printed with three decimals each, the mean of equal times may be a thousandth off
    in_order = rtt.min_ms <= rtt.avg_ms + _ROUNDED_MS and rtt.avg_ms <= rtt.max_ms + _ROUNDED_MS
    if not (in_order and math.isfinite(rtt.max_ms) and math.isfinite(rtt.mdev_ms)):
        raise ToolError("ping", f"no round-trip times: {'/'.join(words)[:80]}")
    return rtt
