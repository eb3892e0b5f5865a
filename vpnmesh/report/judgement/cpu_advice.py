"""The need for little CPU: ranked by the CPU of both ends on direct paths, as the paper, and per Mbit/s beside it."""

from collections.abc import Sequence

from vpnmesh.frames.order import BASELINES
from vpnmesh.model import Path
from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.judgement.ranking import ComparisonGroup, Knowledge, Ranked, rank
from vpnmesh.report.judgement.requirements import UserNeed
from vpnmesh.report.judgement.sentences import NeedAdvice, Sentence, nothing, to_measure
from vpnmesh.study.scenarios import path_of, solution_of


def by_cpu(known: Knowledge, need: UserNeed) -> NeedAdvice:
    """Ranks by CPU of both ends, as the paper; and says where CPU per Mbit/s would rank otherwise."""
    groups = _cpu_groups(known, need)
    if missing := to_measure(known, groups):
        return NeedAdvice(need.id, need.question, (), (missing,))
    plain, each, cited = _cpu_cells(known, groups)
    if not plain:
        return NeedAdvice(need.id, need.question, (), (nothing(need),))
    ranking = rank(known, plain)
    per_rate = rank(known, each)
    sentences = [Sentence(_cpu_text(ranking), tuple(cited))]
    order = ", ".join(f"{found.solution} ({found.score:.2f})" for found in per_rate)
    sentences.append(
        Sentence(
            f"By CPU per Mbit/s carried the order is: {order}. Plain CPU favours whoever carries little.",
            tuple(cited),
        )
    )
    return NeedAdvice(need.id, need.question, ranking, tuple(sentences))


def _cpu_text(ranking: Sequence[Ranked]) -> str:
    order = ", ".join(f"{found.solution} ({found.score:.2f})" for found in ranking)
    return f"Least CPU of client and server together, on direct paths (1 = least in every cell): {order}."


def _cpu_groups(known: Knowledge, need: UserNeed) -> list[ComparisonGroup]:
    """Per measured cell the direct scenarios whose load is known, but for the baselines."""
    readings = known.readings
    groups = []
    for test in (name for name in readings.tests() if not readings.published(name)):
        for condition in (name for kind in need.conditions for name in readings.conditions(test, kind)):
            names = tuple(
                name
                for name in readings.scenarios(test, condition)
                if name not in BASELINES
                and path_of(name) is Path.DIRECT
                and _busy_pct(known, test, condition, name)
            )
            fit = tuple(name for name in names if known.cells.lack((test, condition, name)) is None)
            groups.append(ComparisonGroup(test, condition, names, fit))
    return groups


def _busy_pct(known: Knowledge, test: str, condition: str, scenario: str) -> float | None:
    load = known.readings.load(test, condition, scenario)
    return load.both_pct if load and load.both_pct > 0 else None


def _cpu_cells(
    known: Knowledge, groups: Sequence[ComparisonGroup]
) -> tuple[list[list[tuple[str, str, float]]], list[list[tuple[str, str, float]]], list[Citation]]:
    """Per cell of direct paths: 1/CPU and Mbit/s per CPU of each solution (more is better), and the citations."""
    plain, each, cited = [], [], []
    for group in groups:
        where = (group.test, group.condition)
        rows = [
            (solution_of(name), name, cpu, reading.mean_mbit_s)
            for name in group.comparable
            if (cpu := _busy_pct(known, *where, name)) and (reading := known.readings.cell(*where, name))
        ]
        if len(rows) > 1:
            plain.append([(solution, scenario, 1 / cpu) for solution, scenario, cpu, _ in rows])
            each.append([(solution, scenario, rate / cpu) for solution, scenario, cpu, rate in rows])
            cited += [known.readings.cite_load(*where, scenario) for _, scenario, _, _ in rows]
    return plain, each, cited
