"""How a claim of the paper is held against data: each check looks cells up and judges what it finds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Any

import polars as pl

from vpnmesh.criteria.catalogue import Basis, Catalogue, Value
from vpnmesh.frames.order import BASELINES
from vpnmesh.report.formatting import p_text
from vpnmesh.report.judgement.evidence import PUBLISHED, Evidence, Readings, cite_fact
from vpnmesh.report.style import condition_title
from vpnmesh.stats.compare import ALPHA
from vpnmesh.study.scenarios import PAPER_SCENARIOS

VPNS = ("headscale", "netbird", "zerotier")
PATHS = ("direct", "relay")
LOSSES = ("loss-1pct", "loss-5pct", "loss-10pct")
DELAYS = ("delay-50ms", "delay-250ms", "delay-350ms")
_TEXT_ZEROTIER_50 = 193.11
_MATCHED = 0.05
_ALIKE = 0.005
_TEN_RPS = 10.5
_NAMED = 6
_PAIRS = len(PAPER_SCENARIOS) * (len(PAPER_SCENARIOS) - 1) // 2


class Verdict(StrEnum):
    """What the data say to a claim; `AS_SAID`: nothing but the paper's own word speaks for it."""

    HOLDS = "holds"
    PARTLY = "partly"
    CONTRADICTED = "contradicted"
    AS_SAID = "as the paper says"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict, why, and what it rests on; `compared` = all scenarios that were weighed, cited or not."""

    verdict: Verdict
    because: str
    evidence: tuple[Evidence, ...] = ()
    compared: frozenset[str] = frozenset()


_NO_DATA = Found(Verdict.UNDECIDED, "these data hold nothing that decides it")


def _judge(
    right: int, of: int, because: str, evidence: Sequence[Evidence] = (), compared: Iterable[str] = ()
) -> Found:
    """A claim that should be true in `of` places and is in `right` of them."""
    if not of:
        return _NO_DATA
    verdict = Verdict.HOLDS if right == of else Verdict.PARTLY if right else Verdict.CONTRADICTED
    return Found(verdict, because, tuple(evidence), frozenset(compared))


def all_but(r: Readings, test: str, conditions: Sequence[str], exception: frozenset[str] | None) -> Found:
    """All pairs of the paper's scenarios reject at 0.05 without correction, as the paper tested, but one.

    Where pairs are missing from a condition, a pair that does not differ still speaks against the claim, and nothing
    speaks for it.
    """
    ours = pl.col("a").is_in(PAPER_SCENARIOS) & pl.col("b").is_in(PAPER_SCENARIOS)
    table = r.study.tables["pairwise"].filter(
        pl.col("test") == test, pl.col("condition").is_in(conditions), ours
    )
    rows = table.drop_nulls("p").to_dicts()
    if not rows:
        return Found(Verdict.UNDECIDED, "too few in each sample for a test") if table.height else _NO_DATA
    same = [row for row in rows if not row["reject"]]
    wrong = sum(_is_wrong(row, exception) for row in rows)
    missing = _PAIRS * table["condition"].n_unique() - len(rows)
    text = _told(rows, same) + (f"; {missing} pairs are missing" if missing else "")
    cited = tuple(_cite_test(row) for row in same or [max(rows, key=lambda row: float(row["p"]))])
    compared = frozenset(row[end] for row in rows for end in ("a", "b"))
    return Found(_verdict(wrong, len(rows), missing), text, cited, compared)


def _is_wrong(row: Mapping[str, Any], exception: frozenset[str] | None) -> bool:
    """Whether a tested pair is not as claimed: alike, or different where it is the exception."""
    return bool(row["reject"]) == (frozenset((row["a"], row["b"])) == exception)


def _verdict(wrong: int, of: int, missing: int) -> Verdict:
    if wrong:
        return Verdict.PARTLY if wrong < of / 2 else Verdict.CONTRADICTED
    return Verdict.UNDECIDED if missing else Verdict.HOLDS


def _told(rows: Sequence[Mapping[str, Any]], same: Sequence[Mapping[str, Any]]) -> str:
    """How many pairs do not differ, in which condition, and which they are where they are few."""
    holm = sum(not row["reject_holm"] for row in rows)
    text = f"{len(same)} of {len(rows)} pairs do not differ, {holm} after Holm's correction"
    if len(same) > _NAMED:
        counts = Counter(row["condition"] for row in same)
        conditions = dict.fromkeys(row["condition"] for row in rows)
        return f"{text}: {', '.join(f'{condition_title(name)} {counts[name]}' for name in conditions)}"
    named = [
        f"{row['a']}/{row['b']} {condition_title(row['condition'])} (p {p_text(row['p'])})" for row in same
    ]
    return f"{text}: {', '.join(named)}" if named else text


def _cite_test(row: Mapping[str, Any]) -> Evidence:
    """A pair's test in words."""
    where = f"{row['test'].upper()}, {condition_title(row['condition'])}"
    text = f"{where}: {row['a']} against {row['b']}: U {row['u']:g}, p {p_text(row['p'])}"
    names = {name: str(row[name]) for name in ("test", "condition", "a", "b")}
    return Evidence("pairwise", names, {"u": row["u"], "p": row["p"]}, text)


def _pair(r: Readings, test: str, condition: str, a: str, b: str) -> list[Evidence]:
    """The two cells against each other; none where one is unknown, or samples are too small for a test."""
    if not (r.cell(test, condition, a) and r.cell(test, condition, b)):
        return []
    cited = r.cite_pair(test, condition, a, b)
    return [cited] if cited.table == PUBLISHED or "p_holm" in cited.figures else []


def order(r: Readings, test: str, conditions: Sequence[str], scenarios: Sequence[str]) -> Found:
    """The scenarios stand in this order of means, each before the next with a test that rejects."""
    cited = [
        pair
        for condition in conditions
        for a, b in pairwise(scenarios)
        for pair in _pair(r, test, condition, a, b)
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


def _loads(r: Readings, test: str, condition: str, path: str) -> dict[str, float]:
    found = {name: r.load(test, condition, f"{name}-{path}") for name in VPNS}
    return {name: load.both_pct for name, load in found.items() if load}


def cpu_extreme(r: Readings, test: str, conditions: Sequence[str], solution: str, *, least: bool) -> Found:
    """In every condition, direct and relayed, the solution has the least (or most) CPU of client plus server."""
    right = of = 0
    cited: list[Evidence] = []
    others: list[str] = []
    compared: set[str] = set()
    for condition in conditions:
        for path in PATHS:
            loads = _loads(r, test, condition, path)
            if solution not in loads or len(loads) < len(VPNS):
                continue
            compared |= {f"{name}-{path}" for name in loads}
            extreme = (min if least else max)(loads, key=lambda name: loads[name])
            of += 1
            right += extreme == solution
            cited += [
                r.cite_load(test, condition, f"{name}-{path}") for name in dict.fromkeys((solution, extreme))
            ]
            if extreme != solution:
                others.append(f"{condition_title(condition)} {path}: {extreme}")
    word = "least" if least else "most"
    text = f"{word} CPU of both ends in {right} of {of} cells" + (
        f"; otherwise {', '.join(others)}" if others else ""
    )
    return _judge(right, of, text, cited, compared)


def cpu_below(r: Readings, test: str, conditions: Sequence[str], lower: Sequence[str], higher: str) -> Found:
    """In every condition, direct and relayed, each of the solutions needs less CPU of both ends than the other."""
    cited: list[Evidence] = []
    others: list[str] = []
    compared: set[str] = set()
    for condition in conditions:
        for path in PATHS:
            loads = _loads(r, test, condition, path)
            if len(loads) < len(VPNS):
                continue
            compared |= {f"{name}-{path}" for name in loads}
            cited += [r.cite_load(test, condition, f"{name}-{path}") for name in (*lower, higher)]
            above = [name for name in lower if loads[name] >= loads[higher]]
            others += [f"{condition_title(condition)} {path}: {name}" for name in above]
    of = len(lower) * len(cited) // (len(lower) + 1)
    text = f"less CPU of both ends than {higher} in {of - len(others)} of {of} cells"
    text += f"; not so {', '.join(others)}" if others else ""
    return _judge(of - len(others), of, text, cited, compared)


def highest_cpu(r: Readings, test: str, conditions: Sequence[str], scenario: str) -> Found:
    """The scenario has the most CPU of both ends of the paper's scenarios."""
    right = of = 0
    cited: list[Evidence] = []
    names: list[str] = []
    compared: set[str] = set()
    for condition in conditions:
        found = {name: r.load(test, condition, name) for name in PAPER_SCENARIOS}
        loads = {name: load.both_pct for name, load in found.items() if load}
        if scenario in loads and len(loads) > 1:
            compared |= set(loads)
            top = max(loads, key=lambda name: loads[name])
            of, right = of + 1, right + (top == scenario)
            names.append(top)
            cited += [r.cite_load(test, condition, name) for name in dict.fromkeys((scenario, top))]
    return _judge(right, of, f"most CPU of both ends: {', '.join(names)}", cited, compared)


def _baseline_udp(r: Readings, baseline: str) -> float | None:
    """The baseline's undisturbed UDP mean: measured, else from the ratios that Table A2 prints."""
    own = r.cell("udp", "none", baseline)
    if own:
        return own.mean_mbit_s
    if not r.published("udp") or r.reference is None:
        return None
    row = r.reference.filter(test="udp", condition="none", scenario="headscale-direct").to_dicts()[0]
    ratio = float(row[f"ratio_{baseline.replace('-', '_')}"])
    return ratio * float(row["mean_mbit_s"])


def udp_as_tcp(r: Readings) -> Found:
    """The baselines carry as much UDP as TCP, to half a percent."""
    right = of = 0
    texts = []
    cited: list[Evidence] = []
    for baseline in BASELINES:
        tcp, udp = r.cell("tcp", "none", baseline), _baseline_udp(r, baseline)
        if tcp and udp:
            of, right = of + 1, right + (abs(udp / tcp.mean_mbit_s - 1) < _ALIKE)
            texts.append(f"{baseline}: UDP {udp:.0f}, TCP {tcp.mean_mbit_s:.0f} Mbit/s")
            known = [test for test in ("tcp", "udp") if r.cell(test, "none", baseline)]
            cited += [r.cite_cell(test, "none", baseline) for test in known]
    source = " (UDP from Table A2's ratios)" if r.published("udp") else ""
    return _judge(right, of, "; ".join(texts) + source, cited)


def text_or_table(r: Readings) -> Found:
    """The text and Table A2 print two figures for one cell: the repetitions give one of them, to the printed digit.

    Without repetitions, Table A2's ratio to the baseline fits one of the two.
    """
    own = r.cell("udp", "delay-50ms", "zerotier-direct")
    if r.reference is None or not r.is_the_papers or own is None:
        return _NO_DATA
    rows = r.reference.filter(test="udp", condition="delay-50ms")
    printed = rows.filter(scenario="zerotier-direct").to_dicts()[0]
    figures = (_TEXT_ZEROTIER_50, float(printed["mean_mbit_s"]))
    cited = (r.cite_cell("udp", "delay-50ms", "zerotier-direct"),)
    if not own.published:
        fits = [figure for figure in figures if round(own.mean_mbit_s, 2) == figure]
        text = f"the mean of {own.measured} repetitions, {own.mean_mbit_s:.2f} Mbit/s, is {_named(fits)}"
        return Found(_of_the_text(fits), text, cited)
    headscale = rows.filter(scenario="headscale-direct").to_dicts()[0]
    baseline = headscale["mean_mbit_s"] * headscale["ratio_native_1230"]
    ratio = printed["ratio_native_1230"]
    fits = [figure for figure in figures if round(baseline / figure, 2) == ratio]
    text = f"the printed ratio to native-1230, {ratio}, fits {_named(fits)} (baseline {baseline:.1f} Mbit/s)"
    return Found(_of_the_text(fits), text, cited)


def _of_the_text(fits: Sequence[float]) -> Verdict:
    return Verdict.HOLDS if _TEXT_ZEROTIER_50 in fits else Verdict.CONTRADICTED


def _named(fits: Sequence[float]) -> str:
    return ", ".join(f"{figure:g}" for figure in fits) or "neither"


def api_rate(r: Readings) -> Found:
    """No scenario was asked more often than ten times a second."""
    rows = [row for row in r.study.tables["api"].to_dicts() if row["achieved_rps"] is not None]
    right = sum(row["achieved_rps"] <= _TEN_RPS for row in rows)
    rates = [row["achieved_rps"] for row in rows]
    text = f"achieved {min(rates):.0f} to {max(rates):.0f} requests per second" if rates else ""
    return _judge(right, len(rows), text, [_cite_rate(row) for row in rows])


def _cite_rate(row: Mapping[str, Any]) -> Evidence:
    """The rate at which a scenario's API was asked, in words."""
    names = {name: str(row[name]) for name in ("scenario", "condition", "mode")}
    rate = float(row["achieved_rps"])
    text = f"{row['scenario']}, API, {condition_title(row['condition'])}: {rate:.0f} requests per second"
    return Evidence("api", names, {"achieved_rps": rate}, text)


def _cells(r: Readings, tests: Sequence[str], conditions: Sequence[str], a: str, b: str) -> list[Evidence]:
    return [
        pair
        for test in tests
        for condition in conditions
        for path in PATHS
        for pair in _pair(r, test, condition, f"{a}-{path}", f"{b}-{path}")
    ]


def best_solution(
    r: Readings,
    tests: Sequence[str],
    conditions: Sequence[str],
    winners: Sequence[str],
    losers: Sequence[str],
) -> Found:
    """The winners are ahead of the losers on the same path in every cell; no difference is no lead."""
    cited = [pair for a in winners for b in losers for pair in _cells(r, tests, conditions, a, b)]
    right = [pair for pair in cited if _ahead(pair)]
    behind = [pair for pair in cited if pair.figures["ratio"] < 1]
    text = f"ahead in {len(right)} of {len(cited)} cells"
    even = len(cited) - len(right) - sum(pair not in right for pair in behind)
    text += f", no difference shown in {even}" if even else ""
    text += f"; behind: {'; '.join(pair.text for pair in behind)}" if behind else ""
    return _judge(len(right), len(cited), text, cited)


def matched(r: Readings, tests: Sequence[str], conditions: Sequence[str]) -> Found:
    """Headscale and ZeroTier lie within five percent of each other, or no test tells them apart."""
    cited = _cells(r, tests, conditions, "headscale", "zerotier")
    apart = [
        pair
        for pair in cited
        if abs(pair.figures["ratio"] - 1) > _MATCHED and pair.figures.get("p_holm", 0.0) < ALPHA
    ]
    text = f"within 5 % or without a difference in {len(cited) - len(apart)} of {len(cited)} cells"
    text += f"; apart: {'; '.join(pair.text for pair in apart)}" if apart else ""
    return _judge(len(cited) - len(apart), len(cited), text, cited)


def winners(r: Readings, expected: Sequence[tuple[str, str, str]]) -> Found:
    """In each (test, condition) the best solution, at its better path, is the expected one."""
    cited: list[Evidence] = []
    right = of = 0
    unsure: list[str] = []
    compared: set[str] = set()
    for test, condition, solution in expected:
        means = {
            f"{name}-{path}": r.cell(test, condition, f"{name}-{path}") for name in VPNS for path in PATHS
        }
        known = {name: cell.mean_mbit_s for name, cell in means.items() if cell}
        others = [name for name in known if not name.startswith(solution)]
        own = [name for name in known if name.startswith(solution)]
        if not own or not others:
            continue
        best, rival = (max(names, key=lambda n: known[n]) for names in (own, others))
        compared |= set(known)
        for pair in _pair(r, test, condition, best, rival):
            of, right = of + 1, right + (pair.figures["ratio"] > 1)
            unsure += [] if _ahead(pair) else [pair.text]
            cited.append(pair)
    text = f"the best mean in {right} of {of} cells" + (f"; not shown: {'; '.join(unsure)}" if unsure else "")
    found = _judge(right, of, text, cited, compared)
    return replace(found, verdict=Verdict.PARTLY) if found.verdict is Verdict.HOLDS and unsure else found


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
    """Each solution's fact on the date is the expected one; what somebody found counts before what is claimed.

    A claim that nothing contradicts holds only where every fact has another source than the paper itself.
    """
    found = {name: catalogue.fact(name, topic, on) for name in expected}
    known = {name: fact for name, fact in found.items() if fact}
    right = [name for name, fact in known.items() if fact.value(Basis.VERIFIED) is expected[name]]
    said = [name for name in right if known[name].source.is_the_paper]
    text = "; ".join(
        f"{name} {fact.value(Basis.VERIFIED)}: {fact.evidence()}" for name, fact in known.items()
    )
    judged = _judge(len(right), len(known), text, [cite_fact(name, fact) for name, fact in known.items()])
    return replace(judged, verdict=Verdict.AS_SAID) if judged.verdict is Verdict.HOLDS and said else judged
