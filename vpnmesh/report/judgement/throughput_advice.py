"""The needs that throughput decides: who comes first in every cell, by how much, and whether a test shows it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from vpnmesh.model import Path
from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.judgement.fact_advice import topic_sentences
from vpnmesh.report.judgement.ranking import (
    BestInCell,
    ComparisonGroup,
    Knowledge,
    Ranked,
    SolutionFigure,
    choices_for,
    groups_for,
    rank,
    tests_for,
)
from vpnmesh.report.judgement.requirements import UserNeed
from vpnmesh.report.judgement.sentences import NeedAdvice, Sentence, name_of, nothing, to_measure
from vpnmesh.stats.sequential import PairVerdict


def by_throughput(known: Knowledge, need: UserNeed) -> NeedAdvice:
    """Ranks by mean throughput over all cells of the need, or says what would have to be measured first."""
    tests = tests_for(known.readings, need)
    groups = [group for test in tests for group in groups_for(known, need, test)]
    if missing := to_measure(known, groups):
        return NeedAdvice(need.id, need.question, (), (missing, *topic_sentences(known, need)))
    choices = choices_for(known, groups)
    ranking = rank(known, [choice.best for choice in choices])
    sentences = [
        *_recommendation(known, choices, ranking),
        *_neighbours(known, choices, ranking),
        *_unranked(known, groups, ranking),
        *_supplement(known, need, tests),
        *_preferred_relays(known, need, choices),
        *topic_sentences(known, need),
    ]
    return NeedAdvice(need.id, need.question, ranking, tuple(sentences) or (nothing(need),))


def _recommendation(
    known: Knowledge, choices: Sequence[BestInCell], ranking: Sequence[Ranked]
) -> Iterator[Sentence]:
    """The advice in one sentence: whoever shares the first rank, at the path that was best."""
    first = [found.solution for found in ranking if found.rank == 1]
    if not first:
        return
    best = [(choice, one.scenario) for choice in choices for one in choice.best if one.solution in first]
    paths = ", ".join(dict.fromkeys(scenario for _, scenario in best))
    names = " or ".join(name_of(known, solution) for solution in first)
    matched = "; within five percent of each other" if len(first) > 1 else ""
    cells = [known.readings.cite_cell(choice.test, choice.condition, scenario) for choice, scenario in best]
    lead = _unshown_lead(known, choices, ranking)
    yield Sentence(f"Take {names} ({paths}){matched}{lead}.", tuple(cells))


def _unshown_lead(known: Knowledge, choices: Sequence[BestInCell], ranking: Sequence[Ranked]) -> str:
    """That no test shows a lead over the next rank, in words; "" where one does, or nobody is next."""
    for better, worse in pairwise(ranking):
        if better.rank == 1 != worse.rank and better.qualifies == worse.qualifies:
            decided = _verdicts(known, _pairs(known, choices, better, worse))
            if decided and PairVerdict.DIFFER not in decided:
                return f"; but no test shows a lead over {name_of(known, worse.solution)}"
    return ""


def _pairs(known: Knowledge, choices: Sequence[BestInCell], better: Ranked, worse: Ranked) -> list[Citation]:
    """The two against each other in every cell, each at its best scenario there."""
    pairs = []
    for choice in choices:
        named = {one.solution: one.scenario for one in choice.best}
        cell = (choice.test, choice.condition, named[better.solution], named[worse.solution])
        pairs.append(known.readings.cite_pair(*cell))
    return pairs


def _verdicts(known: Knowledge, pairs: Sequence[Citation]) -> list[PairVerdict]:
    """What the first screen says of these pairs: of all whose samples were compared."""
    rows = [(pair.row["test"], pair.row["condition"], pair.row["a"], pair.row["b"]) for pair in pairs]
    return [found for row in rows if (found := known.readings.verdict(*row))]


def _neighbours(
    known: Knowledge, choices: Sequence[BestInCell], ranking: Sequence[Ranked]
) -> Iterator[Sentence]:
    """One sentence per pair of neighbours in the ranking: how they compare in every cell."""
    for better, worse in pairwise(ranking):
        pairs = _pairs(known, choices, better, worse)
        yield Sentence(_compare(known, better, worse, pairs), tuple(pairs))
    if len(ranking) == 1 and choices:
        only = ranking[0].solution
        cells = tuple(
            known.readings.cite_cell(choice.test, choice.condition, one.scenario)
            for choice in choices
            for one in choice.best
            if one.solution == only
        )
        yield Sentence(f"{name_of(known, only)} alone was measured in every cell of this need.", cells)


def _compare(known: Knowledge, better: Ranked, worse: Ranked, pairs: Sequence[Citation]) -> str:
    ratios = [pair.figures["ratio"] for pair in pairs]
    ahead = sum(ratio > 1 for ratio in ratios)
    span = f"{min(ratios):.2f}" if len(ratios) == 1 else f"{min(ratios):.2f} to {max(ratios):.2f}"
    verdicts = _verdicts(known, pairs)
    differ, equal = (verdicts.count(verdict) for verdict in (PairVerdict.DIFFER, PairVerdict.EQUIVALENT))
    matched = f", {equal} to be equal" if equal else ""
    test = (
        f"{differ} of {len(verdicts)} are decided to differ{matched}" if verdicts else "no test is possible"
    )
    return (
        f"{name_of(known, better.solution)} {_verb(better, worse)} {name_of(known, worse.solution)}: "
        f"its mean is higher in {ahead} of {len(pairs)} cells, "
        f"ratio {span}; {test}."
    )


def _verb(better: Ranked, worse: Ranked) -> str:
    if better.qualifies and not worse.qualifies:
        return "qualifies, unlike"
    return "is matched by" if better.rank == worse.rank else "comes before"


def _unranked(
    known: Knowledge, groups: Sequence[ComparisonGroup], ranking: Sequence[Ranked]
) -> Iterator[Sentence]:
    """The solutions that were measured in some cells only, or with too few figures, and so have no rank."""
    ranked = {found.solution for found in ranking}
    cells: dict[str, list[Citation]] = {}
    measured: dict[str, set[ComparisonGroup]] = {}
    for group in groups:
        for name in group.scenarios:
            if (solution := known.solution_of(name)) not in ranked:
                cited = known.readings.cite_cell(group.test, group.condition, name)
                cells.setdefault(solution, []).append(cited)
                measured.setdefault(solution, set()).add(group)
    for solution, cited_cells in cells.items():
        why = _why_not(len(measured[solution]), len(groups))
        yield Sentence(f"{name_of(known, solution)} is not ranked: {why}.", tuple(cited_cells))


def _why_not(measured: int, of: int) -> str:
    few = "too few figures for a test, or slow start"
    return f"measured in {measured} of {of} cells" if measured < of else few


def _supplement(known: Knowledge, need: UserNeed, used: Sequence[str]) -> Iterator[Sentence]:
    """What Table A2's means say beside the measured tests; they do not enter the ranking."""
    for test in need.tests:
        if test in used or test not in known.readings.tests():
            continue
        choices = choices_for(known, groups_for(known, need, test))
        ranking = rank(known, [choice.best for choice in choices])
        if ranking:
            order = ", ".join(f"{found.solution} ({found.score:.2f})" for found in ranking)
            cells = [
                known.readings.cite_cell(test, choice.condition, choice.best[0].scenario)
                for choice in choices
            ]
            text = f"For {test.upper()}, by the means of Table A2 as published, not by these data: {order}."
            yield Sentence(text, tuple(cells))


def _preferred_relays(known: Knowledge, need: UserNeed, choices: Sequence[BestInCell]) -> Iterator[Sentence]:
    """Where a relayed path beats the same solution's direct one, that is advice of its own."""
    if need.per_path or need.only_tcp_relays:
        return
    found: dict[str, list[Citation]] = {}
    for choice in choices:
        for one in choice.best:
            if pairs := _against_direct(known, choice, one):
                found.setdefault(one.solution, []).extend(pairs)
    for solution, pairs in found.items():
        text = (
            f"{name_of(known, solution)}: prefer its relay to the direct path,"
            f" in {len(pairs)} of {len(choices)} cells."
        )
        yield Sentence(text, tuple(pairs))


def _against_direct(known: Knowledge, choice: BestInCell, one: SolutionFigure) -> list[Citation]:
    """A relayed scenario against the direct ones of its solution in the same cell; none where it is not relayed."""
    if known.path_of(one.scenario) is not Path.RELAY:
        return []
    return [
        known.readings.cite_pair(choice.test, choice.condition, one.scenario, direct)
        for direct in known.readings.scenarios(choice.test, choice.condition)
        if known.path_of(direct) is Path.DIRECT and known.solution_of(direct) == one.solution
    ]
