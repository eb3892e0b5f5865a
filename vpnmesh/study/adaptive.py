"""What an adaptive run measures next: only what could still decide a pair of scenarios.

The first rounds are those of the plan: every scenario once a round, every cell at each visit. After every round each
pair of scenarios is judged anew, each test and condition by itself (`vpnmesh.stats.sequential`), and the next round
visits only scenarios of pairs that are open, for the cells that are open. Everything here follows from the journal, so
a run that was interrupted goes on with the round that it was in.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from vpnmesh.documents.numbers import finite
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.model import Cell, Condition, Pair
from vpnmesh.stats.describe import describe
from vpnmesh.stats.intervals import Interval, fewest_for_interval, mean_interval
from vpnmesh.stats.levels import in_both, log_visits
from vpnmesh.stats.sequential import (
    Progress,
    Rules,
    ScenarioPair,
    Visits,
    begin,
    decide,
    likely_needed,
    ratio_limits,
)
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, VisitStarted, of_kind
from vpnmesh.study.matrix import MatrixPlan
from vpnmesh.study.visits import Job, Visit, shuffled


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """What is judged together: the scenarios' pairs in one test under one condition, between the same two nodes."""

    test: str
    condition: str
    pair: Pair

    def cell(self, scenario: str) -> Cell:
        """The scenario's cell."""
        return Cell(scenario, self.condition, self.test, self.pair)


@dataclass(frozen=True)
class Standing:
    """What is known of a stratum: figures by scenario and round, and the verdict on every pair of scenarios.

    `precision_pct`, where there is one, is how near the limits of a ratio must come to it before its pair is done.
    """

    progress: Progress
    visits: Mapping[str, Visits]
    rules: Rules
    precision_pct: float | None = None

    @cached_property
    def ratios(self) -> Mapping[ScenarioPair, Interval | None]:
        """Level of a / level of b of every pair, with limits; None below the figures that they need."""
        return ratio_limits(self.progress, self.rules)

    def ratio(self, pair: ScenarioPair) -> float | None:
        """Level of a / level of b at the latest look; None before a look had figures of both."""
        logs = self.progress.evidence[pair].estimate
        return math.exp(logs) if math.isfinite(logs) else None

    @cached_property
    def needed(self) -> Mapping[ScenarioPair, int | None]:
        """Of every pair worth going on with: how many more visits of both would likely do; None = nobody can say."""
        if self.precision_pct is not None:
            return self._for_precision(self.precision_pct)
        needed = likely_needed(self.progress, self.visits, self.rules)
        return {pair: needed.get(pair) for pair in self.progress.open}

    def figures(self, scenario: str) -> int:
        """How many figures a scenario has."""
        return sum(len(mine) for mine in self.visits[scenario])

    def _for_precision(self, wanted_pct: float) -> dict[ScenarioPair, int | None]:
        """Pairs whose ratio is not known well enough; a width falls with the square root of the visits."""
        known = {pair: self._known(pair) for pair in self.progress.verdicts}
        return {
            pair: _more(visits, width_pct / wanted_pct)
            for pair, (visits, width_pct) in known.items()
            if width_pct > wanted_pct
        }

    def _known(self, pair: ScenarioPair) -> tuple[int, float]:
        """Rounds that both have, and half the width of the ratio's 95 % interval in percent; infinite with too few.

        The interval is Student's of the differences of visits' logs. To stop by its width alone leaves its
        confidence what it is (Chow and Robbins 1965, Ann. Math. Statist. 36:457, doi 10.1214/aoms/1177700156).
        """
        a, b = in_both(*(log_visits(self.visits[name]) for name in pair))
        differences = describe(a - b)
        interval = mean_interval(differences) if differences.n >= fewest_for_interval() else None
        return differences.n, 100 * math.expm1((interval.high - interval.low) / 2) if interval else math.inf


def _more(visits: int, times_too_wide: float) -> int | None:
    """How many more visits make an interval so many times narrower; None where there is none yet."""
    return None if math.isinf(times_too_wide) else max(1, math.ceil(visits * (times_too_wide**2 - 1)))


FEW_VISITS = 2
"""Pairs that will be decided by so few more visits are not put off for cheaper ones."""
GIVEN_UP_AFTER = 3
"""Attempts at a cell that failed one after the other."""
WITHOUT_BUDGET = 4
"""How many times its first rounds a run without a budget is expected to take."""
ROOM = 1.1
"""Later rounds are cheaper than the first, since decided cells are left out."""


def expected_rounds(plan: MatrixPlan) -> int:
    """About how many rounds the budget allows: how the chance of an error is spread over the looks follows from it."""
    budget_min, blocks = plan.profile.budget_min, plan.profile.blocks
    if budget_min is None:
        return WITHOUT_BUDGET * blocks
    return max(blocks + 1, math.ceil(ROOM * blocks * 60 * budget_min / max(plan.judged_s, 1.0)))


def rules_of(plan: MatrixPlan, count: int) -> Rules:
    """The rules of a look after so many rounds; a run that goes on beyond those it expected expects twice as many."""
    rounds = expected_rounds(plan)
    while count > rounds:
        rounds *= 2
    return Rules.for_visits(rounds, margin=plan.profile.margin_pct / 100)


def rounds_of(events: Iterable[JournalEvent]) -> dict[int, int]:
    """The round of every visit that was begun, by its number."""
    return {one.visit: one.round for one in of_kind(events, VisitStarted) if one.round is not None}


def judge(
    plan: MatrixPlan, events: Sequence[JournalEvent], before: int | None = None
) -> dict[Stratum, Standing]:
    """Every stratum with what its figures say, a look after each round; `before` leaves out that round and later ones.

    Only figures count that were measured and are above zero. Scenarios without any are in no pair.
    """
    figures = _figures(events, before)
    return {
        stratum: _judged(figures[stratum], plan)
        for stratum in _strata(plan)
        if len(figures.get(stratum, {})) > 1
    }


def next_round(
    plan: MatrixPlan, events: Sequence[JournalEvent], judged: Mapping[Stratum, Standing], which: int
) -> tuple[Visit, ...]:
    """The visits of that round, `judged` from the rounds before it; none where nothing is open."""
    if which <= plan.profile.blocks:
        return tuple(visit for visit in plan.visits if visit.round == which)
    rounds = rounds_of(events)
    earlier = [one for one in of_kind(events, RepetitionEnded) if rounds.get(one.visit or 0, 0) < which]
    wanted = _wanted(judged) - _given_up(earlier)
    order = random.Random(f"{plan.seed} {which}")  # noqa: S311 - an order that can be repeated, no secret
    scenarios = [name for name in plan.profile.scenarios if any(cell.scenario == name for cell in wanted)]
    first = 1 + len(plan.visits) + len(plan.profile.scenarios) * (which - 1 - plan.profile.blocks)
    return tuple(
        Visit(first + place, name, shuffled(_jobs(plan, wanted, name, earlier), order), which)
        for place, name in enumerate(order.sample(scenarios, len(scenarios)))
    )


def beside_s(events: Iterable[JournalEvent]) -> float:
    """Seconds of repetitions of tests that no verdict is made of: they come on top of a budget."""
    ended = (one for one in of_kind(events, RepetitionEnded) if one.test not in THROUGHPUT_TESTS)
    return sum(finite(one.columns().get("elapsed_s")) or 0.0 for one in ended)


def _strata(plan: MatrixPlan) -> list[Stratum]:
    cells = [one.cell for one in plan.cells if one.cell.test in THROUGHPUT_TESTS]
    return list(dict.fromkeys(Stratum(cell.test, cell.condition, cell.pair) for cell in cells))


def rate_of(one: RepetitionEnded) -> float | None:
    """The rate in Mbit/s that a repetition measured; None where it failed, or measured something else."""
    rate = finite(one.columns().get("rate_mbit_s"))
    return rate if one.outcome == "measured" and rate and rate > 0 else None


def _figures(
    events: Sequence[JournalEvent], before: int | None
) -> dict[Stratum, dict[str, dict[int, list[float]]]]:
    """The rates of each stratum by scenario and round."""
    rounds = rounds_of(events)
    found: dict[Stratum, dict[str, dict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for one in of_kind(events, RepetitionEnded):
        round_of = rounds.get(one.visit or 0, 1)
        if (rate := rate_of(one)) is not None and (before is None or round_of < before):
            found[Stratum(one.test, one.condition, one.cell.pair)][one.scenario][round_of].append(rate)
    return found


def _judged(figures: Mapping[str, Mapping[int, list[float]]], plan: MatrixPlan) -> Standing:
    """One look after every round in which any of the scenarios was measured, from the first that a look can take."""
    rounds = sorted({number for mine in figures.values() for number in mine})
    names = tuple(name for name in plan.profile.scenarios if name in figures)
    visits: dict[str, Visits] = {name: [figures[name].get(n, []) for n in rounds] for name in names}
    rules = rules_of(plan, 1)
    progress = begin(names, rules)
    for count in range(rules.first, len(rounds) + 1):
        rules = rules_of(plan, count)
        progress = decide(progress, {name: mine[:count] for name, mine in visits.items()}, rules)
    return Standing(progress, visits, rules, plan.profile.precision_pct)


def _jobs(
    plan: MatrixPlan, wanted: AbstractSet[Cell], scenario: str, earlier: Sequence[RepetitionEnded]
) -> list[Job]:
    """The wanted cells of a scenario, numbered on from what was attempted or planned before."""
    last = Counter[Cell]()
    for one in earlier:
        last[one.cell] = max(last[one.cell], one.repetition)
    jobs = []
    for planned in plan.cells:
        if (cell := planned.cell) in wanted and cell.scenario == scenario:
            first = max(last[cell], planned.repetitions) + 1
            more = plan.profile.of_a_visit(Condition.parse(cell.condition))
            jobs.append(Job(cell, tuple(range(first, first + more))))
    return jobs


def _given_up(earlier: Sequence[RepetitionEnded]) -> set[Cell]:
    """The cells whose last attempts all failed: another round would most likely be spent for nothing."""
    outcomes: dict[Cell, list[bool]] = defaultdict(list)
    for one in earlier:
        outcomes[one.cell].append(one.outcome == "measured")
    return {cell for cell, mine in outcomes.items() if not any(mine[-GIVEN_UP_AFTER:])}


def _wanted(judged: Mapping[Stratum, Standing]) -> set[Cell]:
    """The cells of the open pairs that will likely be decided soonest: the cheapest verdicts come first."""
    needed = {
        (stratum, pair): math.inf if visits is None else visits
        for stratum, one in judged.items()
        for pair, visits in one.needed.items()
    }
    limit = max(FEW_VISITS, 2 * min(needed.values(), default=0))
    return {
        stratum.cell(scenario)
        for (stratum, pair), visits in needed.items()
        if visits <= limit
        for scenario in pair
    }
