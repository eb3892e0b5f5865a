"""The receiver's series: the interval lines that iperf3's server prints, as values.

The server's text is taken and not the client's: only the server knows what arrived, and its lines are flushed as they
are made, so that a test that was cut off still has those before. Written against iperf 3.12, `-f k`:
`[  5]   0.10-0.20   sec  11.0 MBytes  926165 Kbits/sec  0.012 ms  0/86 (0%)  (omitted)`, from the jitter on for UDP.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vpnmesh.errors import ToolError

_LINE = re.compile(
    r"^\[ *\d+\] +(?P<start>\d+\.\d+)-(?P<end>\d+\.\d+) +sec +\S+ \w+ +(?P<rate>\d+(?:\.\d+)?) Kbits/sec"
    r"(?: +\S+ ms +(?P<lost>-?\d{1,15})/(?P<all>\d{1,15}) \(\S+\))?(?P<omitted> +\(omitted\))? *$"
)
_SUMMARY = "- - - -"
_ROUNDED_S = 0.025
"""Times are printed in hundredths of a second: those of two neighbours may differ by two of them."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What arrived between two times (seconds since the flow's start); `lost` of `datagrams` for UDP, else 0."""

    start_s: float
    end_s: float
    rate_mbit_s: float
    lost: int = 0
    datagrams: int = 0

    @property
    def carried_bytes(self) -> float:
        """What arrived, as far as rounded times say."""
        return self.rate_mbit_s * 1e6 / 8 * (self.end_s - self.start_s)


def series_of(text: str) -> tuple[Arrived, ...]:
    """The intervals in order; times go on after the omitted ones, where iperf3 begins at 0 again.

    The summary at the end is no interval, nor is a line that was cut off.
    """
    found: list[Arrived] = []
    omitted_s = 0.0
    for line in text.partition(_SUMMARY)[0].split("\n")[:-1]:
        if (match := _LINE.match(line)) is None:
            continue
        start_s, end_s = float(match["start"]), float(match["end"])
        if match["omitted"]:
            omitted_s = end_s
        else:
            start_s, end_s = start_s + omitted_s, end_s + omitted_s
        rate_mbit_s = float(match["rate"]) / 1000
        lost, datagrams = int(match["lost"] or 0), int(match["all"] or 0)
        # a line whose figures cannot be is as good as cut off
        if end_s > start_s and math.isfinite(rate_mbit_s) and lost <= datagrams:
            found.append(Arrived(start_s, end_s, rate_mbit_s, lost, datagrams))
    return tuple(found)


def unbroken(series: Sequence[Arrived]) -> Sequence[Arrived]:
    """The same series; ToolError where an interval is missing in it, or there twice."""
    for before, after in pairwise(series):
        if abs(after.start_s - before.end_s) > _ROUNDED_S:
            told = f"after {before.start_s:.2f} to {before.end_s:.2f} s {after.start_s:.2f} to {after.end_s:.2f} s"
            raise ToolError("iperf3", f"the server's intervals are not one after another: {told}")
    return series


def something_arrived(text: str) -> bool:
    """Whether any interval of the text carried something: the stream is open in both directions."""
    return any(one.rate_mbit_s > 0 for one in series_of(text))
