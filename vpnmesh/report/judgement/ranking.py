"""Who is best in a need's cells, and the ranks that follow.

A solution's score is the geometric mean, over the cells, of its share of the best solution there; two solutions whose
scores lie within `MATCHED` of each other share a rank. A solution that fails an essential criterion comes after those
that qualify.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import exp, log

from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue, DatedFact, Value
from vpnmesh.criteria.evaluate import Verdict
from vpnmesh.model import Path
from vpnmesh.report.comparable import Cells
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.requirements import UserNeed
from vpnmesh.report.judgement.scenario_kinds import has_tunnel, is_tcp_relay
from vpnmesh.study.scenarios import Catalogue

MATCHED = 0.05
"""Scores closer than this share a rank: a lead of less than five percent is none."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A solution's place in a need; `score` is 1 for the best in every cell, None where facts decide."""

    rank: int
    solution: str
    score: float | None
    qualifies: bool
    fails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that advice may rest on: a study's figures, and facts and verdicts of the criteria on a date."""

    readings: Readings
    criteria: CriteriaCatalogue
    on: date
    basis: Basis
    verdicts: Mapping[str, Verdict]
    cells: Cells

    @property
    def scenarios(self) -> Catalogue:
        """The scenarios that the study could choose from."""
        return self.readings.study.scenarios

    @property
    def solutions(self) -> tuple[str, ...]:
        """The solutions that the study measured, in its order."""
        return tuple(dict.fromkeys(map(self.solution_of, self.readings.study.scenario_order)))

    def solution_of(self, scenario: str) -> str:
        """The solution of a scenario of the study."""
        return self.scenarios.solution_of(scenario)

    def path_of(self, scenario: str) -> Path | None:
        """The path of a scenario of the study; None where nobody declared it and its name ends in no path."""
        return self.scenarios.path_of(scenario)

    def fact(self, solution: str, topic: str) -> DatedFact | None:
        """What is known of a solution on a topic on the date."""
        return self.criteria.fact(solution, topic, self.on)


@dataclass(frozen=True, slots=True)
class SolutionFigure:
    """A solution's figure in a cell, at the scenario that it was measured with; more is better."""

    solution: str
    scenario: str
    figure: float


@dataclass(frozen=True, slots=True)
class BestInCell:
    """The best scenario of each solution in one cell, the best solution first."""

    test: str
    condition: str
    best: tuple[SolutionFigure, ...]


@dataclass(frozen=True, slots=True)
class ComparisonGroup:
    """The scenarios that a need compares with each other in one cell, and those of them that can be compared."""

    test: str
    condition: str
    scenarios: tuple[str, ...]
    comparable: tuple[str, ...]


def tests_for(readings: Readings, need: UserNeed) -> list[str]:
    """The tests that decide a need: measured ones, and published means only where none was measured."""
    found = [name for name in need.tests if name in readings.tests()]
    measured = [name for name in found if not readings.published(name)]
    return measured or found


def is_lacking(known: Knowledge, group: ComparisonGroup) -> bool:
    """Whether two solutions or more were measured, and fewer than two can be compared."""
    return len(_solutions(known, group.scenarios)) > 1 >= len(_solutions(known, group.comparable))


def group_of(known: Knowledge, test: str, condition: str, scenarios: Sequence[str]) -> ComparisonGroup:
    """The scenarios of one cell as a group."""
    comparable = [name for name in scenarios if known.cells.lack((test, condition, name)) is None]
    return ComparisonGroup(test, condition, tuple(scenarios), tuple(comparable))


def groups_for(known: Knowledge, need: UserNeed, test: str) -> list[ComparisonGroup]:
    """What a need compares by a test: one group for each condition or, where the need says so, condition and path."""
    groups = []
    for condition in known.readings.conditions(test, *need.conditions):
        names = [name for name in known.readings.scenarios(test, condition) if _fits(known, need, name)]
        groups += [group_of(known, test, condition, part) for part in _by_path(known, need, names)]
    # a path that one solution alone has is no comparison, unless there is nothing else
    return [group for group in groups if len(_solutions(known, group.scenarios)) > 1] or groups


def _by_path(known: Knowledge, need: UserNeed, names: Sequence[str]) -> list[list[str]]:
    """The scenarios in one part, or direct and relayed ones apart where the need says so."""
    if not need.per_path:
        return [list(names)]
    parts = ([name for name in names if known.path_of(name) is path] for path in Path)
    return [part for part in parts if part]


def choices_for(known: Knowledge, groups: Sequence[ComparisonGroup]) -> list[BestInCell]:
    """The best comparable scenario of each solution in each group."""
    found = (BestInCell(group.test, group.condition, _best_of_each(known, group)) for group in groups)
    return [choice for choice in found if choice.best]


def _solutions(known: Knowledge, scenarios: Sequence[str]) -> set[str]:
    return {known.solution_of(name) for name in scenarios}


def _fits(known: Knowledge, need: UserNeed, scenario: str) -> bool:
    """Whether a scenario may answer a need: a VPN's, over TCP where asked, and without a fact that it cannot."""
    if not has_tunnel(known.scenarios, scenario):
        return False
    if need.only_tcp_relays and not is_tcp_relay(known.scenarios, scenario):
        return False
    fact = known.fact(known.solution_of(scenario), need.topic) if need.topic else None
    return fact is None or fact.value(Basis.VERIFIED) is not Value.UNMET


def _best_of_each(known: Knowledge, group: ComparisonGroup) -> tuple[SolutionFigure, ...]:
    best: dict[str, SolutionFigure] = {}
    for scenario in group.comparable:
        found = known.readings.cell(group.test, group.condition, scenario)
        solution = known.solution_of(scenario)
        if found and (solution not in best or found.mean_mbit_s > best[solution].figure):
            best[solution] = SolutionFigure(solution, scenario, found.mean_mbit_s)
    return tuple(sorted(best.values(), key=lambda one: -one.figure))


def rank(known: Knowledge, cells: Sequence[Sequence[SolutionFigure]]) -> tuple[Ranked, ...]:
    """Ranks by score; only solutions that were measured in every cell are comparable, others are left out."""
    if not cells:
        return ()
    best = [_best_figures(cell) for cell in cells]
    common = set.intersection(*(set(figures) for figures in best))
    scores = dict.fromkeys(common, 0.0)
    for figures in best:
        top = max((figures[solution] for solution in common), default=1.0)
        for solution in common:
            scores[solution] += log(figures[solution] / top) / len(cells)
    return _ranked(known, {solution: exp(score) for solution, score in scores.items()})


def _best_figures(cell: Sequence[SolutionFigure]) -> dict[str, float]:
    """Each solution's best figure: a scenario and its variants are of one solution."""
    found: dict[str, float] = {}
    for one in cell:
        found[one.solution] = max(one.figure, found.get(one.solution, one.figure))
    return found


def _ranked(known: Knowledge, scores: Mapping[str, float]) -> tuple[Ranked, ...]:
    order = sorted(scores, key=lambda name: (not qualifies(known, name), -scores[name], name))
    ranked: list[Ranked] = []
    for place, solution in enumerate(order, start=1):
        found = Ranked(place, solution, scores[solution], qualifies(known, solution), fails(known, solution))
        shared = bool(ranked) and _are_matched(ranked[-1], found)
        ranked.append(replace(found, rank=ranked[-1].rank) if shared else found)
    return tuple(ranked)


def _are_matched(better: Ranked, worse: Ranked) -> bool:
    """Whether the second shares the first's rank: both qualify or neither does, and scores are close."""
    if better.score is None or worse.score is None or better.qualifies != worse.qualifies:
        return False
    return worse.score >= better.score * (1 - MATCHED)


def qualifies(known: Knowledge, solution: str) -> bool:
    """Whether Table 1 has the solution, and it meets all essential criteria."""
    verdict = known.verdicts.get(solution)
    return verdict is not None and verdict.qualifies


def fails(known: Knowledge, solution: str) -> tuple[str, ...]:
    """The essential criteria that are not met or not known."""
    verdict = known.verdicts.get(solution)
    if verdict is None:
        return ("not in Table 1",)
    return tuple(answer.criterion.id for answer in (*verdict.failed, *verdict.unknown))
