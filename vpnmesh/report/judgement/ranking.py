"""Who is best in a need's cells, and the ranks that follow.

A solution's score is the geometric mean, over the cells, of its share of the best solution there; two solutions whose
scores lie within `MATCHED` of each other share a rank. What fails an essential criterion comes after what qualifies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import exp, log

from vpnmesh.criteria.catalogue import Basis, Catalogue, Fact, Value
from vpnmesh.criteria.evaluate import Verdict
from vpnmesh.model import Path
from vpnmesh.report.comparable import Cells
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.requirements import TCP_RELAYS, UserNeed
from vpnmesh.study.scenarios import path_of, solution_of

MATCHED = 0.05
"""Scores closer than this are called matched: no ranking is worth less than five percent."""


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
    """All that an advice may rest on."""

    readings: Readings
    catalogue: Catalogue
    on: date
    basis: Basis
    verdicts: Mapping[str, Verdict]
    cells: Cells

    def fact(self, solution: str, topic: str) -> Fact | None:
        """What is known of a solution on a topic on the date."""
        return self.catalogue.fact(solution, topic, self.on)


@dataclass(frozen=True, slots=True)
class BestInCell:
    """In one cell: the best scenario of each solution, best first, by a figure of which more (or less) is better."""

    test: str
    condition: str
    best: tuple[tuple[str, str, float], ...]


def tests_for(readings: Readings, need: UserNeed) -> list[str]:
    """Measured tests decide; published means do so only where nothing of the need was measured."""
    found = [name for name in need.tests if name in readings.tests()]
    measured = [name for name in found if not readings.published(name)]
    return measured or found


@dataclass(frozen=True, slots=True)
class ComparisonGroup:
    """The scenarios that a need holds against each other in one cell, and those of them that can be compared."""

    test: str
    condition: str
    scenarios: tuple[str, ...]
    comparable: tuple[str, ...]

    @property
    def lacking(self) -> bool:
        """Whether two solutions or more were measured, and fewer than two can be compared."""
        measured, left = (
            {solution_of(name) for name in names} for names in (self.scenarios, self.comparable)
        )
        return len(measured) > 1 and len(left) < 2  # noqa: PLR2004 - a comparison


def groups_for(known: Knowledge, need: UserNeed, test: str) -> list[ComparisonGroup]:
    """What a need compares: per test, condition and, where asked, path."""
    readings = known.readings
    groups = []
    for condition in (name for kind in need.conditions for name in readings.conditions(test, kind)):
        names = [name for name in readings.scenarios(test, condition) if _fits(known, need, name)]
        paths = [path for path in Path if path in map(path_of, names)] if need.per_path else [None]
        for path in paths:
            mine = tuple(name for name in names if path is None or path_of(name) is path)
            fit = tuple(name for name in mine if known.cells.lack((test, condition, name)) is None)
            groups.append(ComparisonGroup(test, condition, mine, fit))
    # a path that one solution alone has is no comparison, unless there is nothing else
    return [group for group in groups if len({solution_of(name) for name in group.scenarios}) > 1] or groups


def choices_for(known: Knowledge, groups: Sequence[ComparisonGroup]) -> list[BestInCell]:
    """The best comparable scenario of each solution in each group."""
    return [
        BestInCell(group.test, group.condition, best)
        for group in groups
        if (best := _best_of_each(known.readings, group.test, group.condition, group.comparable))
    ]


def _fits(known: Knowledge, need: UserNeed, scenario: str) -> bool:
    solution = solution_of(scenario)
    if solution == "native" or (need.only_tcp_relays and scenario not in TCP_RELAYS):
        return False
    fact = known.fact(solution, need.topic) if need.topic else None
    return fact is None or fact.value(Basis.VERIFIED) is not Value.UNMET


def _best_of_each(
    readings: Readings, test: str, condition: str, scenarios: Sequence[str]
) -> tuple[tuple[str, str, float], ...]:
    best: dict[str, tuple[str, str, float]] = {}
    for scenario in scenarios:
        reading = readings.cell(test, condition, scenario)
        solution = solution_of(scenario)
        if reading and (solution not in best or reading.mean_mbit_s > best[solution][2]):
            best[solution] = (solution, scenario, reading.mean_mbit_s)
    return tuple(sorted(best.values(), key=lambda found: -found[2]))


def rank(known: Knowledge, cells: Sequence[Sequence[tuple[str, str, float]]]) -> tuple[Ranked, ...]:
    """Ranks by score; only solutions that were measured in every cell are comparable, others are left out."""
    if not cells:
        return ()
    common = set.intersection(*({solution for solution, _, _ in cell} for cell in cells))
    scores = dict.fromkeys(common, 0.0)
    for cell in cells:
        top = max(figure for solution, _, figure in cell if solution in common) if common else 1.0
        for solution, _, figure in cell:
            if solution in common:
                scores[solution] += log(figure / top) / len(cells)
    return _ranked(known, {solution: exp(score) for solution, score in scores.items()})


def _ranked(known: Knowledge, scores: Mapping[str, float]) -> tuple[Ranked, ...]:
    order = sorted(scores, key=lambda name: (not qualifies(known, name), -scores[name], name))
    ranked: list[Ranked] = []
    for place, solution in enumerate(order, start=1):
        last = ranked[-1] if ranked else None
        matched = (
            last is not None
            and last.score is not None
            and last.qualifies == qualifies(known, solution)
            and scores[solution] >= last.score * (1 - MATCHED)
        )
        shared = last.rank if matched and last else place
        ranked.append(
            Ranked(shared, solution, scores[solution], qualifies(known, solution), fails(known, solution))
        )
    return tuple(ranked)


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
