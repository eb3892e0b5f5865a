"""How fast and how steadily a mesh has the path that it should have: from probes to times and verdicts.

A probe asks a node's own solution for its path to a peer and pings that peer through the tunnel at the same
moment. Nothing here touches a host.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vpnmesh.model import Path

_REPLY = re.compile(r"icmp_seq=(\d+) ttl=")
_LAST_SEQUENCE = 2**16 - 1


@dataclass(frozen=True, slots=True)
class PathProbe:
    """What was so `at_s` seconds after the watch began: the path that the node named, and whether a ping came back."""

    at_s: float
    path: Path | None
    answered: bool

    def good(self, wanted: Path) -> bool:
        """On the wanted path, and carrying packets."""
        return self.answered and self.path is wanted


@dataclass(frozen=True, slots=True)
class StabilityLimits:
    """What a steady path is: `probes` in a row over at least `seconds`, no outage above `outage_s`."""

    probes: int = 20
    seconds: float = 10.0
    outage_s: float = 1.0

    def enough(self, probes: Sequence[PathProbe]) -> bool:
        """Whether there are as many probes, over as long, as a judgement needs."""
        return len(probes) >= self.probes and probes[-1].at_s - probes[0].at_s >= self.seconds


@dataclass(frozen=True, slots=True)
class Stability:
    """Whether a solution may be measured on a path, and the evidence in one sentence."""

    included: bool
    reason: str
    probes: int
    off_path: int
    longest_outage_s: float


DEFAULT_LIMITS = StabilityLimits()


def judge(probes: Sequence[PathProbe], wanted: Path, limits: StabilityLimits = DEFAULT_LIMITS) -> Stability:
    """Include a solution only by evidence: every probe on the wanted path, no outage above the limit."""
    off = [probe for probe in probes if probe.path is not wanted]
    outage_s = longest_silence_s(probes)
    watched_s = probes[-1].at_s - probes[0].at_s if probes else 0.0
    if len(probes) < limits.probes or watched_s < limits.seconds:
        reason = f"only {len(probes)} probes over {watched_s:.1f} s"
    elif off:
        found = ", ".join(sorted({str(probe.path or "no path") for probe in off}))
        reason = f"{len(off)} of {len(probes)} probes were not on the {wanted} path but {found}"
    elif outage_s > limits.outage_s:
        reason = f"no packet came back for {outage_s:.1f} s, allowed are {limits.outage_s:.1f} s"
    else:
        reason = f"{len(probes)} probes over {watched_s:.1f} s, all {wanted}"
        return Stability(
            included=True, reason=reason, probes=len(probes), off_path=0, longest_outage_s=outage_s
        )
    return Stability(
        included=False, reason=reason, probes=len(probes), off_path=len(off), longest_outage_s=outage_s
    )


def judge_ends(
    probes: Mapping[str, Sequence[PathProbe]], wanted: Path, limits: StabilityLimits = DEFAULT_LIMITS
) -> Stability:
    """Judge both ends of a pair, by node name; the worse end decides."""
    found = [judge(seen, wanted, limits) for seen in probes.values()]
    return min(found, key=lambda one: (one.included, -one.off_path, -one.longest_outage_s))


def longest_silence_s(probes: Sequence[PathProbe]) -> float:
    """The longest time between a probe that was answered and the next one that was, the ends counted as answered."""
    longest, since = 0.0, None
    for probe in probes:
        if probe.answered:
            longest = max(longest, probe.at_s - since) if since is not None else longest
            since = None
        elif since is None:
            since = probe.at_s
    return max(longest, probes[-1].at_s - since) if since is not None else longest


def settled_s(probes: Sequence[PathProbe], wanted: Path, hold_s: float) -> float | None:
    """When the wanted path was there and stayed for `hold_s`; None if it never did."""
    since: float | None = None
    for probe in probes:
        if not probe.good(wanted):
            since = None
        elif since is None:
            since = probe.at_s
        if since is not None and probe.at_s - since >= hold_s:
            return since
    return None


def longest_outage_s(ping: str, interval_s: float) -> float:
    """The longest run of unanswered requests in the lines of one running ping, in seconds.

    What is missing after the last reply is not counted: the ping was ended there. ValueError where a reply's number
    is none that 16 bits hold (RFC 792).
    """
    numbers = sorted({_sequence(number) for number in _REPLY.findall(ping)})
    gaps = [after - before - 1 for before, after in pairwise(numbers)]
    if numbers:
        gaps.append(numbers[0] - 1)
    return max(gaps, default=0) * interval_s


def _sequence(digits: str) -> int:
    if len(digits) > len(str(_LAST_SEQUENCE)) or (number := int(digits)) > _LAST_SEQUENCE:
        raise ValueError(f"icmp_seq={digits[:20]} is no number of a reply")
    return number
