"""How a claim of the paper is held against data: each check looks cells up and judges what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise

import polars as pl

from vpnmesh.criteria.catalogue import Basis, Catalogue, Value
from vpnmesh.frames.order import BASELINES
from vpnmesh.report.evidence import PUBLISHED, Evidence, Readings, cite_fact
from vpnmesh.report.look import condition_title
from vpnmesh.report.wording import p_text
from vpnmesh.stats.compare import ALPHA

VPNS = ("headscale", "netbird", "zerotier")
PATHS = ("direct", "relay")
LOSSES = ("loss-1pct", "loss-5pct", "loss-10pct")
DELAYS = ("delay-50ms", "delay-250ms", "delay-350ms")
_TEXT_ZEROTIER_50 = 193.11
_MATCHED = 0.05
_ALIKE = 0.005
_TEN_RPS = 10.5
_NAMED = 6


class Verdict(StrEnum):
    """What the data say to a claim."""

    HOLDS = "holds"
    PARTLY = "partly"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict, why, and what it rests on."""

    verdict: Verdict
    because: str
    evidence: tuple[Evidence, ...] = ()


_NO_DATA = Found(Verdict.UNDECIDED, "these data hold nothing that decides it")


def _judge(right: int, of: int, because: str, evidence: Sequence[Evidence] = ()) -> Found:
    """A claim that should be true in `of` places and is in `right` of them."""
    if not of:
        return _NO_DATA
    verdict = Verdict.HOLDS if right == of else Verdict.PARTLY if right else Verdict.CONTRADICTED
    return Found(verdict, because, tuple(evidence))


def all_but(r: Readings, test: str, conditions: Sequence[str], exception: frozenset[str] | None) -> Found:
    """All pairs of the paper's scenarios reject at 0.05 without correction, as the paper tested, but one."""
    found = r.study.tables["pairwise"].filter(
        pl.col("test") == test, pl.col("condition").is_in(list(conditions))
    )
    rows = found.drop_nulls("p").to_dicts()
    same = [row for row in rows if not row["reject"]]
    if not rows:
        return Found(Verdict.UNDECIDED, "too few in each sample for a test") if found.height else _NO_DATA
    others = [row for row in same if frozenset((row["a"], row["b"])) != exception]
    named = [
        f"{row['a']}/{row['b']} {condition_title(row['condition'])} (p {p_text(row['p'])})" for row in same
    ]
    holm = sum(not row["reject_holm"] for row in rows)
    text = f"{len(same)} of {len(rows)} pairs do not differ, {holm} after Holm's correction"
    text += f": {', '.join(named[:_NAMED])}{' and others' if len(named) > _NAMED else ''}" if named else ""
    wrong = len(others) + (exception is not None and len(others) == len(same))
    if not wrong:
        return Found(Verdict.HOLDS, text)
    return Found(Verdict.PARTLY if wrong < len(rows) / 2 else Verdict.CONTRADICTED, text)


def _pair(r: Readings, protocol: str, condition: str, a: str, b: str) -> list[Evidence]:
    """The two cells against each other; none where one is unknown, or samples are too small for a test."""
    if not (r.cell(protocol, condition, a) and r.cell(protocol, condition, b)):
        return []
    cited = r.cite_pair(protocol, condition, a, b)
    return [cited] if cited.table == PUBLISHED or "p_holm" in cited.figures else []


def order(r: Readings, protocol: str, conditions: Sequence[str], scenarios: Sequence[str]) -> Found:
    """The scenarios stand in this order of means, each before the next with a test that rejects."""
    cited = [
        pair
        for condition in conditions
        for a, b in pairwise(scenarios)
        for pair in _pair(r, protocol, condition, a, b)
    ]
    right = sum(_ahead(pair) for pair in cited)
    return _judge(right, len(cited), f"{right} of {len(cited)} steps hold", cited)


def _ahead(pair: Evidence) -> bool:
    """The first is larger, by the test after Holm's correction where there are samples (`_pair`)."""
    return pair.figures["ratio"] > 1 and pair.figures.get("p_holm", 0.0) < ALPHA


def relays_beat_baselines(r: Readings) -> Found:
    """Both TCP relays are ahead of both baselines at every loss."""
    cited = [
        pair
        for condition in LOSSES
        for relay in ("headscale-relay", "zerotier-relay")
        for baseline in BASELINES
        for pair in _pair(r, "tcp", condition, relay, baseline)
    ]
    right = sum(_ahead(pair) for pair in cited)
    low = [pair.text.split(", ratio")[0] for pair in cited if not _ahead(pair)]
    text = f"better than the baseline in {right} of {len(cited)} cells" + (
        f"; not so: {'; '.join(low)}" if low else ""
    )
    return _judge(right, len(cited), text, cited)


def _loads(r: Readings, protocol: str, condition: str, path: str) -> dict[str, float]:
    found = {name: r.load(protocol, condition, f"{name}-{path}") for name in VPNS}
    return {name: load.both_pct for name, load in found.items() if load}


def cpu_extreme(
    r: Readings, protocol: str, conditions: Sequence[str], solution: str, *, least: bool
) -> Found:
    """In every condition, direct and relayed, the solution has the least (or most) CPU of client plus server."""
    right = of = 0
    cited: list[Evidence] = []
    others: list[str] = []
    for condition in conditions:
        for path in PATHS:
            loads = _loads(r, protocol, condition, path)
            if solution not in loads or len(loads) < len(VPNS):
                continue
            extreme = (min if least else max)(loads, key=lambda name: loads[name])
            of += 1
            right += extreme == solution
            cited += [
                r.cite_load(protocol, condition, f"{name}-{path}")
                for name in dict.fromkeys((solution, extreme))
            ]
            if extreme != solution:
                others.append(f"{condition_title(condition)} {path}: {extreme}")
    word = "least" if least else "most"
    text = f"{word} CPU of both ends in {right} of {of} cells" + (
        f"; otherwise {', '.join(others)}" if others else ""
    )
    return _judge(right, of, text, cited)


def highest_cpu(r: Readings, protocol: str, conditions: Sequence[str], scenario: str) -> Found:
    """The scenario has the most CPU of both ends of all scenarios."""
    right = of = 0
    cited: list[Evidence] = []
    names: list[str] = []
    for condition in conditions:
        found = {name: r.load(protocol, condition, name) for name in r.scenarios(protocol, condition)}
        loads = {name: load.both_pct for name, load in found.items() if load}
        if scenario in loads:
            top = max(loads, key=lambda name: loads[name])
            of, right = of + 1, right + (top == scenario)
            names.append(top)
            cited += [r.cite_load(protocol, condition, name) for name in dict.fromkeys((scenario, top))]
    return _judge(right, of, f"most CPU of both ends: {', '.join(names)}", cited)


def _baseline_udp(r: Readings, baseline: str) -> float | None:
    """The baseline's undisturbed UDP mean: measured, else from the ratios that Table A2 prints."""
    own = r.cell("udp", "none", baseline)
    if own:
        return own.mean_mbit_s
    if not r.published("udp") or r.reference is None:
        return None
    row = r.reference.filter(protocol="udp", condition="none", scenario="headscale-direct").to_dicts()[0]
    ratio = float(row[f"ratio_{baseline.replace('-', '_')}"])
    return ratio * float(row["mean_mbit_s"])


def udp_as_tcp(r: Readings) -> Found:
    """The baselines carry as much UDP as TCP, to half a percent."""
    right = of = 0
    texts = []
    for baseline in BASELINES:
        tcp, udp = r.cell("tcp", "none", baseline), _baseline_udp(r, baseline)
        if tcp and udp:
            of, right = of + 1, right + (abs(udp / tcp.mean_mbit_s - 1) < _ALIKE)
            texts.append(f"{baseline}: UDP {udp:.0f}, TCP {tcp.mean_mbit_s:.0f} Mbit/s")
    source = " (UDP from Table A2's ratios)" if r.published("udp") else ""
    return _judge(right, of, "; ".join(texts) + source)


def text_or_table(r: Readings) -> Found:
    """Table A2 prints the ratio to the baseline too: it fits one of the two figures."""
    if r.reference is None or not r.is_the_papers:
        return _NO_DATA
    rows = r.reference.filter(protocol="udp", condition="delay-50ms")
    zerotier = rows.filter(scenario="zerotier-direct").to_dicts()[0]
    headscale = rows.filter(scenario="headscale-direct").to_dicts()[0]
    baseline = headscale["mean_mbit_s"] * headscale["ratio_native_1230"]
    printed = zerotier["ratio_native_1230"]
    fits = [
        figure
        for figure in (_TEXT_ZEROTIER_50, zerotier["mean_mbit_s"])
        if round(baseline / figure, 2) == printed
    ]
    verdict = Verdict.HOLDS if _TEXT_ZEROTIER_50 in fits else Verdict.CONTRADICTED
    named = ", ".join(f"{figure:g}" for figure in fits) or "neither"
    text = f"the printed ratio to native-1230, {printed}, fits {named}"
    return Found(verdict, f"{text} (baseline {baseline:.1f} Mbit/s)")


def api_rate(r: Readings) -> Found:
    """No scenario was asked more often than ten times a second."""
    rows = [row for row in r.study.tables["api"].to_dicts() if row["achieved_rps"] is not None]
    right = sum(row["achieved_rps"] <= _TEN_RPS for row in rows)
    rates = [row["achieved_rps"] for row in rows]
    text = f"achieved {min(rates):.0f} to {max(rates):.0f} requests per second" if rates else ""
    return _judge(right, len(rows), text)


def _cells(
    r: Readings, protocols: Sequence[str], conditions: Sequence[str], a: str, b: str
) -> list[Evidence]:
    return [
        pair
        for protocol in protocols
        for condition in conditions
        for path in PATHS
        for pair in _pair(r, protocol, condition, f"{a}-{path}", f"{b}-{path}")
    ]


def best_solution(
    r: Readings,
    protocols: Sequence[str],
    conditions: Sequence[str],
    winners: Sequence[str],
    losers: Sequence[str],
) -> Found:
    """The winners are ahead of the losers on the same path in every cell; no difference is no lead."""
    cited = [pair for a in winners for b in losers for pair in _cells(r, protocols, conditions, a, b)]
    right = [pair for pair in cited if _ahead(pair)]
    behind = [pair for pair in cited if pair.figures["ratio"] < 1]
    text = f"ahead in {len(right)} of {len(cited)} cells"
    even = len(cited) - len(right) - sum(pair not in right for pair in behind)
    text += f", no difference shown in {even}" if even else ""
    text += f"; behind: {'; '.join(pair.text for pair in behind)}" if behind else ""
    return _judge(len(right), len(cited), text, cited)


def matched(r: Readings, protocols: Sequence[str], conditions: Sequence[str]) -> Found:
    """Headscale and ZeroTier lie within five percent of each other, or no test tells them apart."""
    cited = _cells(r, protocols, conditions, "headscale", "zerotier")
    apart = [
        pair
        for pair in cited
        if abs(pair.figures["ratio"] - 1) > _MATCHED and pair.figures.get("p_holm", 0.0) < ALPHA
    ]
    text = f"within 5 % or without a difference in {len(cited) - len(apart)} of {len(cited)} cells"
    text += f"; apart: {'; '.join(pair.text for pair in apart)}" if apart else ""
    return _judge(len(cited) - len(apart), len(cited), text, cited)


def winners(r: Readings, expected: Sequence[tuple[str, str, str]]) -> Found:
    """In each (protocol, condition) the best solution, at its better path, is the expected one."""
    cited: list[Evidence] = []
    right = of = 0
    unsure: list[str] = []
    for protocol, condition, solution in expected:
        means = {
            f"{name}-{path}": r.cell(protocol, condition, f"{name}-{path}") for name in VPNS for path in PATHS
        }
        known = {name: cell.mean_mbit_s for name, cell in means.items() if cell}
        others = [name for name in known if not name.startswith(solution)]
        own = [name for name in known if name.startswith(solution)]
        if not own or not others:
            continue
        best, rival = (max(names, key=lambda n: known[n]) for names in (own, others))
        for pair in _pair(r, protocol, condition, best, rival):
            of, right = of + 1, right + (pair.figures["ratio"] > 1)
            unsure += [] if _ahead(pair) else [pair.text]
            cited.append(pair)
    text = f"the best mean in {right} of {of} cells" + (f"; not shown: {'; '.join(unsure)}" if unsure else "")
    found = _judge(right, of, text, cited)
    return Found(Verdict.PARTLY, text, tuple(cited)) if found.verdict is Verdict.HOLDS and unsure else found


def relay_beats_direct(r: Readings) -> Found:
    """The TCP relays are ahead of the same solution's direct path at every loss."""
    cited = [
        pair
        for condition in LOSSES
        for name in ("headscale", "zerotier")
        for pair in _pair(r, "tcp", condition, f"{name}-relay", f"{name}-direct")
    ]
    right = sum(_ahead(pair) for pair in cited)
    return _judge(right, len(cited), f"the relay is ahead in {right} of {len(cited)} cells", cited)


def facts(catalogue: Catalogue, on: date, topic: str, expected: dict[str, Value]) -> Found:
    """Each solution's fact on the date is the expected one; what somebody found counts before what is claimed."""
    found = {name: catalogue.fact(name, topic, on) for name in expected}
    known = {name: fact for name, fact in found.items() if fact}
    right = sum(fact.value(Basis.VERIFIED) is expected[name] for name, fact in known.items())
    cited = [cite_fact(name, fact) for name, fact in known.items()]
    text = "; ".join(
        f"{name} {fact.value(Basis.VERIFIED)}: {fact.evidence()}" for name, fact in known.items()
    )
    return _judge(right, len(known), text, cited)
