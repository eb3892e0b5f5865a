"""What an adaptive run decided, as the table `VERDICTS`: from its plan and its journal, as the run itself did it."""

from collections.abc import Mapping, Sequence

import polars as pl

from vpnmesh.model import Condition
from vpnmesh.report.verdicts import TOO_CLOSE, TOO_FEW, VERDICTS
from vpnmesh.stats.sequential import PairVerdict, ScenarioPair
from vpnmesh.study.adaptive import Standing, Stratum, judge
from vpnmesh.study.journal import JournalEvent
from vpnmesh.study.matrix import MatrixPlan, visit_s
from vpnmesh.study.profile import Profile
from vpnmesh.study.visits import Job, Visit


def adaptive_verdicts(plan: MatrixPlan, events: Sequence[JournalEvent]) -> pl.DataFrame:
    """A row per pair, test and condition, of the scenarios that have any figure there."""
    judged = judge(plan, events)
    rows = [
        _row(plan.profile, stratum, one, pair)
        for stratum, one in judged.items()
        for pair in one.progress.verdicts
    ]
    return pl.DataFrame(rows, schema=VERDICTS, orient="row")


def _row(profile: Profile, stratum: Stratum, judged: Standing, pair: ScenarioPair) -> Mapping[str, object]:
    verdict, ratio, needed = judged.progress.verdicts[pair], judged.ratios[pair], judged.needed.get(pair)
    undecided = verdict is PairVerdict.UNDECIDED
    return {
        "test": stratum.test,
        "condition": stratum.condition,
        "a": pair[0],
        "b": pair[1],
        "verdict": str(verdict),
        "ratio": ratio.estimate if ratio else judged.ratio(pair),
        "ratio_low": ratio.low if ratio else None,
        "ratio_high": ratio.high if ratio else None,
        "margin_pct": profile.margin_pct,
        "n_a": judged.figures(pair[0]),
        "n_b": judged.figures(pair[1]),
        "minutes_more": needed * _both_visits_min(profile, stratum)
        if undecided and needed is not None
        else None,
        "because": _because(judged, pair) if undecided else None,
    }


def _both_visits_min(profile: Profile, stratum: Stratum) -> float:
    """Minutes that one visit more of both scenarios takes for this cell alone."""
    figures = profile.of_a_visit(Condition.parse(stratum.condition))
    job = Job(stratum.cell("a"), tuple(range(figures)))
    return 2 * visit_s(profile, Visit(1, "a", (job,))) / 60


def _because(judged: Standing, pair: ScenarioPair) -> str:
    """Why the pair is open, in words."""
    visits = {name: sum(map(bool, judged.visits[name])) for name in pair}
    if few := [
        f"{name} has figures of {count} visits"
        for name, count in visits.items()
        if count < judged.rules.first
    ]:
        return f"{TOO_FEW}: {' and '.join(few)}, a verdict needs {judged.rules.first}"
    if (needed := judged.needed.get(pair)) is not None:
        return f"{TOO_CLOSE}: about {needed} visits more of both would likely decide it"
    return f"{TOO_CLOSE}: the spread, or how near the difference is to the margin, leaves no estimate"
