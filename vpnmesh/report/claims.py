"""The paper's own statements, each checked against data; the verdict is computed, never written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from vpnmesh.report.lookup import DELAYS, DIRECT, LOSSES, RELAYED, VPNS, Figures, all_of, ranking
from vpnmesh.stats.compare import ALPHA, mann_whitney

CLAIMS: dict[str, pl.DataType] = {
    "id": pl.String(),
    "section": pl.String(),
    "claim": pl.String(),
    "verdict": pl.String(),
    "evidence": pl.String(),
}


class Holds(StrEnum):
    """What the data say of a statement."""

    YES = "holds"
    PARTLY = "holds in part"
    NO = "contradicted"
    UNKNOWN = "no data"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict and the figures it rests on."""

    holds: Holds
    evidence: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of the paper with where it stands and how it is checked."""

    id: str
    section: str
    text: str
    check: Callable[[Figures], Finding]


NO_DATA = Finding(Holds.UNKNOWN, "this study has no such figures")


def claims(samples: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """A row per statement with its verdict on this study's data."""
    figures = Figures.of(samples, tables)
    rows = []
    for claim in ALL:
        finding = claim.check(figures)
        rows.append((claim.id, claim.section, claim.text, finding.holds.value, finding.evidence))
    return pl.DataFrame(rows, schema=CLAIMS, orient="row")


def _grade(hits: int, of: int) -> Holds:
    if not hits:
        return Holds.NO
    return Holds.YES if hits == of else Holds.PARTLY


def _open_pairs(figures: Figures, test: str, expected: set[tuple[str, str]]) -> Finding:
    """Exactly the expected undisturbed pairs do not reject, by plain p and after Holm."""
    family = figures.family(test, "none")
    if family.is_empty():
        return NO_DATA
    plain, corrected = (
        {(row["a"], row["b"]): row[column] for row in family.filter(~pl.col(flag)).iter_rows(named=True)}
        for column, flag in (("p", "reject"), ("p_holm", "reject_holm"))
    )
    told = ", ".join(f"{a} and {b} (p {p:.2f})" for (a, b), p in corrected.items()) or "none"
    evidence = (
        f"{family.height} pairs: not rejected {len(plain)} at alpha {ALPHA:g},"
        f" {len(corrected)} after Holm: {told}"
    )
    held = set(plain) == expected and set(corrected) == expected
    return Finding(Holds.YES if held else Holds.NO, evidence)


def _tcp_pairs(figures: Figures) -> Finding:
    return _open_pairs(figures, "tcp", {("native-1230", "netbird-direct")})


def _udp_pairs(figures: Figures) -> Finding:
    return _open_pairs(figures, "udp", set())


def _api_pairs(figures: Figures) -> Finding:
    """Per request as the paper; the evidence adds what is left when a run is one figure."""
    found = _open_pairs(figures, "api", {("native-1450", "native-1230")})
    runs = figures.family("api-runs", "none")
    if found is NO_DATA:
        return found
    open_runs = runs.filter(~pl.col("reject_holm")).height
    beside = f"; by run (requests of a run are not independent) {open_runs} of {runs.height} not rejected"
    return Finding(found.holds, found.evidence + (beside if runs.height else ""))


def _relays_at_loss(figures: Figures) -> Finding:
    """Both TCP relays above every other scenario at 1 % loss, and near twice as fast."""
    names = ("native-1450", "native-1230", *VPNS)
    means = all_of(lambda name: figures.rate(name, "loss-1pct", "tcp"), names)
    if means is None:
        return NO_DATA
    relays = ("headscale-relay", "zerotier-relay")
    best_other = max((name for name in names if name not in relays), key=means.__getitem__)
    ratios = {name: means[name] / means[best_other] for name in relays}
    told = "; ".join(f"{name} is x{ratio:.2f} of {best_other}" for name, ratio in ratios.items())
    return Finding(
        _grade(sum(ratio > 1 for ratio in ratios.values()), 2), f"{ranking(means, 'Mbit/s')}; {told}"
    )


def _least_cpu(
    figures: Figures, protocol: str, conditions: tuple[str, ...], wanted: tuple[str, ...]
) -> Finding:
    """Whether a wanted solution has the client's lowest CPU: direct against direct, relay against relay."""
    told, hits, seen = [], 0, 0
    for condition in conditions:
        for path in (DIRECT, RELAYED):
            loads = all_of(lambda name, c=condition: figures.cpu(name, c, protocol), path)  # type: ignore[misc]
            if loads is None:
                continue
            seen += 1
            hits += min(loads, key=loads.__getitem__).startswith(wanted)
            told.append(f"{condition}: {ranking(loads, '%', highest_first=False)}")
    return Finding(_grade(hits, seen), f"{hits} of {seen}: {'; '.join(told)}") if seen else NO_DATA


def _zerotier_cpu(figures: Figures) -> Finding:
    return _least_cpu(figures, "tcp", DELAYS, ("zerotier",))


def _udp_least_cpu(figures: Figures) -> Finding:
    return _least_cpu(figures, "udp", ("none", *LOSSES, *DELAYS), ("zerotier", "netbird"))


def _netbird_udp_cpu(figures: Figures) -> Finding:
    return _least_cpu(figures, "udp", ("none", *LOSSES, *DELAYS), ("netbird",))


def _most_cpu(figures: Figures, protocol: str, conditions: tuple[str, ...], solution: str) -> Finding:
    told, hits, seen = [], 0, 0
    for condition in conditions:
        loads = all_of(lambda name, c=condition: figures.cpu(name, c, protocol), VPNS)  # type: ignore[misc]
        if loads is None:
            continue
        seen += 1
        most = max(loads, key=loads.__getitem__)
        hits += most.startswith(solution)
        told.append(f"{condition}: {ranking(loads, '%')}")
    return Finding(_grade(hits, seen), "; ".join(told)) if seen else NO_DATA


def _netbird_relay_most_cpu(figures: Figures) -> Finding:
    return _most_cpu(figures, "tcp", ("none",), "netbird-relay")


def _headscale_delay_cpu(figures: Figures) -> Finding:
    return _most_cpu(figures, "tcp", DELAYS, "headscale")


def _headscale_udp_cpu(figures: Figures) -> Finding:
    return _most_cpu(figures, "udp", ("none", *LOSSES, *DELAYS), "headscale")


def _udp_like_tcp(figures: Figures) -> Finding:
    """The baselines' UDP against their TCP, undisturbed."""
    told, alike = [], 0
    for name in ("native-1450", "native-1230"):
        tcp, udp = (figures.cells.get((name, "none", protocol)) for protocol in ("tcp", "udp"))
        if tcp is None or udp is None or not udp.measured or not tcp.measured:
            return NO_DATA
        p = mann_whitney(tcp.tally, udp.tally).p
        alike += p is not None and p >= ALPHA
        means = [float(cell.rates.mean()) for cell in (udp, tcp)]
        told.append(
            f"{name}: UDP {means[0]:.2f}, TCP {means[1]:.2f} Mbit/s" + ("" if p is None else f" (p {p:.2g})")
        )
    return Finding(_grade(alike, 2), "; ".join(told))


def _typo_193(figures: Figures) -> Finding:
    mean = figures.rate("zerotier-direct", "delay-50ms", "udp")
    if mean is None:
        return NO_DATA
    holds = Holds.YES if round(mean, 2) == 193.11 else Holds.NO  # noqa: PLR2004 - the figure that is checked
    return Finding(holds, f"mean {mean:.2f} Mbit/s; Table A2 prints 183.11")


def _ten_rps(figures: Figures) -> Finding:
    rates = figures.api.filter(pl.col("mode") == "hey").drop_nulls("achieved_rps")
    if rates.is_empty():
        return NO_DATA
    rps = {row["scenario"]: row["achieved_rps"] for row in rates.iter_rows(named=True)}
    saturated = rates.filter(pl.col("saturated").fill_null(value=False)).height
    evidence = f"{ranking(rps, 'requests/s')}; {saturated} of {rates.height} scenarios had a saturated server"
    return Finding(_grade(sum(value <= 10.5 for value in rps.values()), len(rps)), evidence)  # noqa: PLR2004


def _netbird_fastest(figures: Figures) -> Finding:
    told, hits, seen = [], 0, 0
    for protocol in ("tcp", "udp"):
        means = all_of(lambda name, p=protocol: figures.rate(name, "none", p), DIRECT)  # type: ignore[misc]
        if means is not None:
            seen += 1
            hits += sorted(means, key=lambda name: -means[name]) == [
                "netbird-direct",
                "zerotier-direct",
                "headscale-direct",
            ]
            told.append(f"{protocol}: {ranking(means, 'Mbit/s')}")
    return Finding(_grade(hits, seen), "; ".join(told)) if seen else NO_DATA


def _zerotier_at_loss(figures: Figures) -> Finding:
    """ZeroTier (either path) first among VPNs at 1 and 5 %, Headscale at 10 %."""
    expected = {"loss-1pct": "zerotier", "loss-5pct": "zerotier", "loss-10pct": "headscale"}
    told, hits, seen = [], 0, 0
    for condition, solution in expected.items():
        means = all_of(lambda name, c=condition: figures.rate(name, c, "tcp"), VPNS)  # type: ignore[misc]
        if means is not None:
            seen += 1
            hits += max(means, key=means.__getitem__).startswith(solution)
            told.append(f"{condition}: {ranking(means, 'Mbit/s')}")
    return Finding(_grade(hits, seen), "; ".join(told)) if seen else NO_DATA


def _netbird_udp_loss(figures: Figures) -> Finding:
    told, hits, seen = [], 0, 0
    for condition in LOSSES:
        means = all_of(lambda name, c=condition: figures.rate(name, c, "udp"), VPNS)  # type: ignore[misc]
        if means is not None:
            seen += 1
            hits += max(means, key=means.__getitem__) == "netbird-direct"
            told.append(f"{condition}: {ranking(means, 'Mbit/s')}")
    return Finding(_grade(hits, seen), "; ".join(told)) if seen else NO_DATA


def _acl_reload(_: Figures) -> Finding:
    return Finding(
        Holds.NO,
        "not a matter of these data: Headscale reloads its policy on SIGHUP since 0.16; the paper used 0.21",
    )


ALL = (
    Claim(
        "tcp-pairs", "4.1", "Undisturbed, all TCP pairs differ but native-1230 and NetBird direct", _tcp_pairs
    ),
    Claim("udp-pairs", "4.2", "Undisturbed, all UDP pairs differ", _udp_pairs),
    Claim("api-pairs", "4.3", "All API response times differ but those of the two baselines", _api_pairs),
    Claim(
        "netbird-fastest", "4.1, 4.2", "NetBird is fastest, then ZeroTier, then Headscale", _netbird_fastest
    ),
    Claim(
        "tcp-relays-1pct",
        "4.1",
        "At 1 % loss the TCP relays of Headscale and ZeroTier are drastically better than all others,"
        " baselines included",
        _relays_at_loss,
    ),
    Claim("loss-tcp", "5", "With TCP under loss ZeroTier is best, at 10 % Headscale", _zerotier_at_loss),
    Claim("loss-udp", "4.2, 5", "With UDP NetBird takes the lead at 1, 5 and 10 % loss", _netbird_udp_loss),
    Claim("zerotier-cpu", "4.1", "ZeroTier needs the least CPU across all three delays (TCP)", _zerotier_cpu),
    Claim(
        "netbird-relay-cpu", "4.1", "NetBird's relay has the highest CPU use (TCP)", _netbird_relay_most_cpu
    ),
    Claim(
        "headscale-delay-cpu", "4.1", "Headscale is the most taxing under delay (TCP)", _headscale_delay_cpu
    ),
    Claim("udp-least-cpu", "4.2", "ZeroTier and NetBird need the least CPU in UDP", _udp_least_cpu),
    Claim("netbird-udp-cpu", "4.2", "NetBird has the lowest CPU use in UDP", _netbird_udp_cpu),
    Claim(
        "headscale-udp-cpu",
        "4.2",
        "Headscale consistently has the highest CPU use in UDP",
        _headscale_udp_cpu,
    ),
    Claim("udp-as-tcp", "4.2", "The baselines' UDP is exactly identical to the TCP case", _udp_like_tcp),
    Claim("text-193", "4.2", "ZeroTier's UDP at 50 ms is 193.11 Mbit/s (text)", _typo_193),
    Claim("ten-rps", "3.3, 4.3", "The API is asked at most 10 requests per second", _ten_rps),
    Claim("acl-restart", "5", "A change of Headscale's ACL needs a restart", _acl_reload),
)
