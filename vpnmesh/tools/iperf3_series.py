"""The receiver's series: the interval lines that iperf3's server prints, as values.

The server's text is taken and not the client's: only the server knows what arrived, and its lines are flushed as they
are made, so that a test that was cut off still has those before. Written against iperf 3.12, `-f k`:
`[  5]   0.10-0.20   sec  11.0 MBytes  926165 Kbits/sec  0.012 ms  0/86 (0%)  (omitted)`, from the jitter on for UDP.
"""

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"^\[ *\d+\] +(?P<start>\d+\.\d+)-(?P<end>\d+\.\d+) +sec +\S+ \w+ +(?P<rate>\d+(?:\.\d+)?) Kbits/sec"
    r"(?: +\S+ ms +(?P<lost>-?\d+)/(?P<all>\d+) \(\S+\))?(?P<omitted> +\(omitted\))? *$"
)
_SUMMARY = "- - - -"


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
        if end_s > start_s:
            lost, datagrams = int(match["lost"] or 0), int(match["all"] or 0)
            found.append(Arrived(start_s, end_s, float(match["rate"]) / 1000, lost, datagrams))
    return tuple(found)


def something_arrived(text: str) -> bool:
    """Whether any interval of the text carried something: the stream is open in both directions."""
    return any(one.rate_mbit_s > 0 for one in series_of(text))
