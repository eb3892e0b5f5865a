"""The paper's own claims, one by one, against the data.

Verdicts on figures are computed from the study. Verdicts on features rest on dated facts: where the paper itself is
the only source of one, the verdict is "as the paper says". Claims about UDP rest on the means of Table A2 where the
study has no UDP samples and is the paper's; a claim that no data here can decide says so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import polars as pl

from vpnmesh.criteria.catalogue import Catalogue, Value
from vpnmesh.frames.order import BASELINES
from vpnmesh.report.judgement import claim_checks as checks
from vpnmesh.report.judgement.claim_checks import DELAYS, LOSSES, Found, Verdict
from vpnmesh.report.judgement.evidence import Evidence, Readings

_NATIVE_PAIR = frozenset(BASELINES)
_KERNEL_PAIR = frozenset({"native-1230", "netbird-direct"})
_LOSSY_TCP_BEST = ("zerotier", "zerotier", "headscale")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the paper, where it stands there, the verdict, and why."""

    id: str
    section: str
    claim: str
    verdict: Verdict
    because: str
    evidence: tuple[Evidence, ...]


def claims(readings: Readings, catalogue: Catalogue, on: date) -> tuple[Claim, ...]:
    """Every claim with its verdict on these data, in the order of the paper."""
    asked = (*_measured_checks(readings), *_fact_checks(catalogue, on))
    return tuple(
        Claim(name, section, text, *_parts(_same_planes(readings, check())))
        for name, section, text, check in asked
    )


def _same_planes(readings: Readings, found: Found) -> Found:
    """No ranking is held against the paper's where it rests on a scenario that another data plane carried."""
    scenarios = found.compared.union(*(evidence.row.values() for evidence in found.evidence))
    other = {name: text for name, text in readings.other_planes.items() if name in scenarios}
    if not other:
        return found
    named = "; ".join(f"{name}: {text}" for name, text in sorted(other.items()))
    return Found(Verdict.UNDECIDED, f"another data plane than the paper's ({named})", found.evidence)


def table(found: Iterable[Claim]) -> pl.DataFrame:
    """The claims as a frame for `claims.csv` and the page."""
    names = ("claim_id", "section", "claim", "verdict", "because", "evidence")
    rows = [
        (c.id, c.section, c.claim, str(c.verdict), c.because, "; ".join(e.text for e in c.evidence))
        for c in found
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _parts(found: Found) -> tuple[Verdict, str, tuple[Evidence, ...]]:
    return found.verdict, found.because, found.evidence


_Check = tuple[str, str, str, Callable[[], Found]]


def _measured_checks(r: Readings) -> tuple[_Check, ...]:
    return (
        (
            "tcp-pairs",
            "4.1",
            "Undisturbed, all TCP pairs but native-1230 and netbird-direct differ.",
            lambda: checks.all_but(r, "tcp", ("none",), _KERNEL_PAIR),
        ),
        (
            "tcp-pairs-impaired",
            "4.1",
            "In all other cases TCP pairs differ: also under loss and delay.",
            lambda: checks.all_but(r, "tcp", (*LOSSES, *DELAYS), None),
        ),
        (
            "tcp-best",
            "4.1",
            "Undisturbed, NetBird direct is the fastest VPN for TCP, then ZeroTier, then Headscale.",
            lambda: checks.order(
                r, "tcp", ("none",), ("netbird-direct", "zerotier-direct", "headscale-direct")
            ),
        ),
        (
            "tcp-relays-lossy",
            "4.1",
            "Under loss the TCP relays of Headscale and ZeroTier are drastically better than all else, also baselines.",
            lambda: checks.relays_beat_baselines(r),
        ),
        (
            "zerotier-least-cpu",
            "4.1",
            "ZeroTier needs the least CPU of the VPNs in all three delays (TCP).",
            lambda: checks.cpu_extreme(r, "tcp", DELAYS, "zerotier", least=True),
        ),
        (
            "zerotier-efficient",
            "4.1",
            "Undisturbed, ZeroTier needs the least CPU, direct and relayed (TCP).",
            lambda: checks.cpu_extreme(r, "tcp", ("none",), "zerotier", least=True),
        ),
        (
            "netbird-relay-cpu",
            "4.1",
            "Undisturbed, NetBird's relay needs the most CPU of all (TCP).",
            lambda: checks.highest_cpu(r, "tcp", ("none",), "netbird-relay"),
        ),
        (
            "headscale-most-cpu",
            "4.1",
            "Under delay Headscale needs the most CPU (TCP).",
            lambda: checks.cpu_extreme(r, "tcp", DELAYS, "headscale", least=False),
        ),
        (
            "udp-pairs",
            "4.2",
            "All UDP pairs differ.",
            lambda: checks.all_but(r, "udp", ("none", *LOSSES, *DELAYS), None),
        ),
        (
            "udp-identical",
            "4.2",
            "The best UDP figures, the baselines', are exactly identical to the TCP case.",
            lambda: checks.udp_as_tcp(r),
        ),
        (
            "udp-low-cpu",
            "4.2",
            "ZeroTier and NetBird need the least CPU in UDP.",
            lambda: checks.cpu_below(
                r, "udp", ("none", *LOSSES, *DELAYS), ("zerotier", "netbird"), "headscale"
            ),
        ),
        (
            "udp-high-cpu",
            "4.2",
            "Headscale needs the most CPU in UDP.",
            lambda: checks.cpu_extreme(r, "udp", ("none", *LOSSES, *DELAYS), "headscale", least=False),
        ),
        (
            "zerotier-193",
            "4.2",
            "ZeroTier reaches 193.11 Mbit/s at 50 ms in UDP (Table A2 prints 183.11).",
            lambda: checks.text_or_table(r),
        ),
        ("api-rate", "3.3", "The API is asked at most 10 times per second.", lambda: checks.api_rate(r)),
        (
            "api-pairs",
            "4.3",
            "All API pairs but the two baselines differ.",
            lambda: checks.all_but(r, "api", ("none",), _NATIVE_PAIR),
        ),
        (
            "api-pairs-runs",
            "4.3",
            "The same with runs for requests: those of one run depend on each other.",
            lambda: checks.all_but(r, "api-runs", ("none",), _NATIVE_PAIR),
        ),
        (
            "stable",
            "5",
            "On reliable links NetBird is the best.",
            lambda: checks.winners(r, [(name, "none", "netbird") for name in ("tcp", "udp")]),
        ),
        (
            "delay",
            "5",
            "Under delay Headscale and ZeroTier are better than NetBird.",
            lambda: checks.best_solution(r, ("tcp", "udp"), DELAYS, ("headscale", "zerotier"), ("netbird",)),
        ),
        (
            "delay-matched",
            "5",
            "Under delay Headscale and ZeroTier are closely matched, for TCP and UDP.",
            lambda: checks.matched(r, ("tcp", "udp"), DELAYS),
        ),
        (
            "loss-tcp",
            "5",
            "Under loss ZeroTier is the best for TCP, but at 10 % Headscale.",
            lambda: checks.winners(r, [("tcp", *pair) for pair in zip(LOSSES, _LOSSY_TCP_BEST, strict=True)]),
        ),
        (
            "loss-relay",
            "5",
            "Under loss it is better to relay TCP over Headscale or ZeroTier than to go direct.",
            lambda: checks.relay_beats_direct(r),
        ),
        (
            "loss-udp",
            "5",
            "Under loss NetBird is the best for UDP.",
            lambda: checks.winners(r, [("udp", loss, "netbird") for loss in LOSSES]),
        ),
    )


def _fact_checks(catalogue: Catalogue, on: date) -> tuple[_Check, ...]:
    def fact(topic: str, expected: dict[str, Value]) -> Callable[[], Found]:
        return lambda: checks.facts(catalogue, on, topic, expected)

    yes, no = Value.MET, Value.UNMET
    return (
        (
            "self-hosting",
            "5",
            "Headscale and NetBird are hosted without changes to source code, ZeroTier is not.",
            fact("unpatched-self-hosting", {"headscale": yes, "netbird": yes, "zerotier": no}),
        ),
        (
            "fallback",
            "5",
            "ZeroTier takes minutes to fall back to its relay, NetBird is unreliable in it, Headscale neither.",
            fact("fast-fallback", {"headscale": yes, "netbird": no, "zerotier": no}),
        ),
        ("granular-acl", "5", "Headscale supports granular ACLs.", fact("granular-acl", {"headscale": yes})),
        (
            "acl-restart",
            "5",
            "After an ACL change Headscale's control plane must be restarted.",
            fact("acl-reload", {"headscale": no}),
        ),
        (
            "web-ui",
            "5",
            "Only NetBird has a built-in web interface.",
            fact("web-ui", {"headscale": no, "netbird": yes, "zerotier": no}),
        ),
    )
