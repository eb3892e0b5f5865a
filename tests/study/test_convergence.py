"""Verdicts and times from probes: a solution is included or left out by what was seen, never by its name."""

import pytest

from vpnmesh.model import Path
from vpnmesh.study.convergence import (
    PathProbe,
    StabilityLimits,
    judge,
    longest_outage_s,
    longest_silence_s,
    settled_s,
)

DIRECT, RELAY = Path.DIRECT, Path.RELAY
LIMITS = StabilityLimits(probes=4, seconds=3, outage_s=1.0)


def steady(path: Path | None = DIRECT, count: int = 5) -> list[PathProbe]:
    """A probe a second, all answered."""
    return [PathProbe(float(second), path, answered=True) for second in range(count)]


def test_a_steady_direct_path_is_included() -> None:
    """All probes on the wanted path, no silence: included, with the evidence in words."""
    verdict = judge(steady(), DIRECT, LIMITS)
    assert (verdict.included, verdict.off_path, verdict.longest_outage_s) == (True, 0, 0.0)
    assert verdict.reason == "5 probes over 4.0 s, all direct"


def test_relaying_although_direct_works_is_excluded() -> None:
    """The paper's first finding about Netmaker: relayed although nothing blocks the direct path."""
    verdict = judge(steady(RELAY), DIRECT, LIMITS)
    assert not verdict.included
    assert verdict.reason == "5 of 5 probes were not on the direct path but relay"


def test_one_probe_off_the_path_excludes() -> None:
    """A path that changes is no steady path, even if packets pass all along."""
    probes = [*steady(), PathProbe(5.0, None, answered=True)]
    assert judge(probes, DIRECT, LIMITS).reason == "1 of 6 probes were not on the direct path but no path"


def test_an_overlay_that_flaps_is_excluded() -> None:
    """The paper's second finding: the named path stays, and packets are lost for seconds."""
    probes = [
        *steady(count=3),
        PathProbe(3.0, DIRECT, answered=False),
        *[PathProbe(7.5, DIRECT, answered=True)],
    ]
    verdict = judge(probes, DIRECT, LIMITS)
    assert (verdict.included, verdict.longest_outage_s) == (False, 4.5)
    assert verdict.reason == "no packet came back for 4.5 s, allowed are 1.0 s"


@pytest.mark.parametrize("probes", [[], steady(count=1), steady(count=3)])
def test_too_little_evidence_excludes(probes: list[PathProbe]) -> None:
    """Few probes, or probes over too short a time, prove nothing."""
    assert judge(probes, DIRECT, LIMITS).reason.startswith("only ")


def test_a_silence_at_the_end_counts() -> None:
    """What had not come back when the watch ended is an outage too."""
    probes = [
        *steady(count=2),
        PathProbe(2.0, DIRECT, answered=False),
        PathProbe(5.0, DIRECT, answered=False),
    ]
    assert longest_silence_s(probes) == 3.0
    assert longest_silence_s([]) == 0.0


def test_a_path_has_settled_when_it_held() -> None:
    """A path that came and went has not settled; the time is that of the beginning, not of the proof."""
    probes = [
        PathProbe(0.0, DIRECT, answered=False),
        PathProbe(1.0, RELAY, answered=True),
        PathProbe(1.5, RELAY, answered=False),
        PathProbe(2.0, RELAY, answered=True),
        PathProbe(3.9, RELAY, answered=True),
        PathProbe(4.1, RELAY, answered=True),
    ]
    assert settled_s(probes, RELAY, hold_s=2.0) == 2.0
    assert settled_s(probes[:5], RELAY, hold_s=2.0) is None
    assert settled_s(probes, DIRECT, hold_s=0.0) is None


@pytest.mark.parametrize(
    ("numbers", "outage_s"),
    [((), 0.0), ((1, 2, 3), 0.0), ((1, 5, 6), 0.3), ((4, 5), 0.3), ((2, 1, 1, 9), 0.6)],
)
def test_outages_are_counted_in_missing_numbers(numbers: tuple[int, ...], outage_s: float) -> None:
    """Replies out of order and doubled ones are no outage; what is missing at the start is one."""
    lines = [f"64 bytes from 10.213.0.3: icmp_seq={number} ttl=64 time=1.2 ms" for number in numbers]
    lines.append("From 10.213.0.2 icmp_seq=3 Destination Host Unreachable")
    assert longest_outage_s("\n".join(lines), 0.1) == pytest.approx(outage_s)


@pytest.mark.parametrize("number", ["65536", "1" + "0" * 400, "9" * 5000])
def test_a_reply_has_no_number_above_16_bits(number: str) -> None:
    """One that is too large for a float was a traceback, a smaller one an outage of years."""
    with pytest.raises(ValueError, match="is no number of a reply"):
        longest_outage_s(f"64 bytes from 10.213.0.3: icmp_seq={number} ttl=64 time=1.2 ms", 0.1)
