"""The need for little CPU: ranked by the CPU of both ends on direct paths, as the paper, and per Mbit/s beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from vpnmesh.model import Path
from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.judgement.ranking import (
    ComparisonGroup,
    Knowledge,
    Ranked,
    SolutionFigure,
    group_of,
    rank,
)
from vpnmesh.report.judgement.requirements import UserNeed
from vpnmesh.report.judgement.scenario_kinds import has_tunnel
from vpnmesh.report.judgement.sentences import NeedAdvice, Sentence, nothing, to_measure


def by_cpu(known: Knowledge, need: UserNeed) -> NeedAdvice:
    """Ranks by CPU of both ends, as the paper; and says where CPU per Mbit/s would rank otherwise."""
    groups = _cpu_groups(known, need)
    if missing := to_measure(known, groups):
        return NeedAdvice(need.id, need.question, (), (missing,))
    cells = [cell for group in groups if _compares(cell := _cpu_cell(known, group))]
    if not cells:
        return NeedAdvice(need.id, need.question, (), (nothing(need),))
    cited = tuple(one.cited for cell in cells for one in cell)
    ranking = rank(known, [[one.less_cpu for one in cell] for cell in cells])
    per_rate = rank(known, [[one.more_per_cpu for one in cell] for cell in cells])
    sentences = (
        Sentence(
            "Least CPU of client and server together, on direct paths (1 = least in every cell):"
            f" {_order(ranking)}.",
            cited,
        ),
        Sentence(
            f"By CPU per Mbit/s carried the order is: {_order(per_rate)}."
            " Plain CPU favours whoever carries little.",
            cited,
        ),
    )
    return NeedAdvice(need.id, need.question, ranking, sentences)


def _order(ranking: Sequence[Ranked]) -> str:
    return ", ".join(f"{found.solution} ({found.score:.2f})" for found in ranking)


def _cpu_groups(known: Knowledge, need: UserNeed) -> list[ComparisonGroup]:
    """Per measured cell the direct scenarios of VPNs whose CPU is known."""
    readings = known.readings
    groups = []
    for test in (name for name in readings.tests() if not readings.published(name)):
        for condition in readings.conditions(test, *need.conditions):
            names = [
                name
                for name in readings.scenarios(test, condition)
                if _is_direct_tunnel(known, name) and _busy_pct(known, test, condition, name)
            ]
            groups.append(group_of(known, test, condition, names))
    return groups


def _is_direct_tunnel(known: Knowledge, scenario: str) -> bool:
    return known.path_of(scenario) is Path.DIRECT and has_tunnel(known.scenarios, scenario)


def _busy_pct(known: Knowledge, test: str, condition: str, scenario: str) -> float | None:
    load = known.readings.load(test, condition, scenario)
    return load.both_pct if load and load.both_pct > 0 else None


@dataclass(frozen=True, slots=True)
class _CpuFigures:
    """A solution's CPU in a cell as figures of which more is better: 1/CPU, and Mbit/s per CPU."""

    less_cpu: SolutionFigure
    more_per_cpu: SolutionFigure
    cited: Citation


def _compares(cell: Sequence[_CpuFigures]) -> bool:
    """Whether the cell has two solutions or more."""
    return len({one.less_cpu.solution for one in cell}) > 1


def _cpu_cell(known: Knowledge, group: ComparisonGroup) -> list[_CpuFigures]:
    """The figures of each comparable scenario of a cell."""
    found = []
    for name in group.comparable:
        key = (group.test, group.condition, name)
        busy_pct, mean = _busy_pct(known, *key), known.readings.cell(*key)
        if busy_pct and mean:
            solution = known.solution_of(name)
            less = SolutionFigure(solution, name, 1 / busy_pct)
            more = SolutionFigure(solution, name, mean.mean_mbit_s / busy_pct)
            found.append(_CpuFigures(less, more, known.readings.cite_load(*key)))
    return found
