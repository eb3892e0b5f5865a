"""Which VPN for which need: a ranking per need, and for each sentence the cells, ratios and p-values under it.

How ranks come about is in `vpnmesh.report.judgement.ranking`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from vpnmesh.criteria.catalogue import Basis, Catalogue, Fact, Value
from vpnmesh.criteria.evaluate import evaluate
from vpnmesh.model import Path
from vpnmesh.report.comparable import Cells
from vpnmesh.report.judgement.claims import Claim, claims
from vpnmesh.report.judgement.cpu_advice import by_cpu
from vpnmesh.report.judgement.evidence import Citation, Readings, cite_fact
from vpnmesh.report.judgement.ranking import (
    BestInCell,
    ComparisonGroup,
    Knowledge,
    Ranked,
    choices_for,
    fails,
    groups_for,
    qualifies,
    rank,
    tests_for,
)
from vpnmesh.report.judgement.requirements import NeedKind, UserNeed
from vpnmesh.report.judgement.sentences import NeedAdvice, Sentence, name_of, nothing, to_measure
from vpnmesh.report.judgement.usability import Fallback, UsabilityNote, fallbacks, usability
from vpnmesh.stats.compare import ALPHA
from vpnmesh.study.scenarios import path_of, solution_of


@dataclass(frozen=True, slots=True)
class Advice:
    """All advice, the date and basis its facts are judged on, and the paper's section 5 held against these data."""

    on: date
    basis: Basis
    needs: tuple[NeedAdvice, ...]
    excluded: tuple[str, ...]
    conclusions: tuple[Claim, ...]
    usability: tuple[UsabilityNote, ...]

    def need(self, need_id: str) -> NeedAdvice | None:
        """The advice on one need."""
        return next((found for found in self.needs if found.need == need_id), None)


def advise(
    readings: Readings,
    catalogue: Catalogue,
    needs: Sequence[UserNeed],
    on: date,
    basis: Basis = Basis.CLAIMED,
) -> Advice:
    """The advice on each need from a study's figures and the facts known on a date."""
    verdicts = {verdict.product.id: verdict for verdict in evaluate(catalogue, on, basis)}
    known = Knowledge(readings, catalogue, on, basis, verdicts, Cells(readings))
    excluded = tuple(verdict.explain() for verdict in verdicts.values() if not verdict.qualifies)
    answers = {NeedKind.THROUGHPUT: _by_throughput, NeedKind.CPU: by_cpu, NeedKind.FACT: _by_fact}
    conclusions = tuple(claim for claim in claims(readings, catalogue, on) if claim.section == "5")
    answered = tuple(answers[need.kind](known, need) for need in needs)
    return Advice(on, basis, answered, excluded, conclusions, usability(known))


# ---- needs that throughput decides


def _by_throughput(known: Knowledge, need: UserNeed) -> NeedAdvice:
    tests = tests_for(known.readings, need)
    groups = [group for test in tests for group in groups_for(known, need, test)]
    if missing := to_measure(known, groups):
        return NeedAdvice(need.id, need.question, (), (missing, *_topic_sentences(known, need)))
    choices = choices_for(known, groups)
    ranking = rank(known, [choice.best for choice in choices])
    sentences = _recommendation(known, choices, ranking)
    sentences += _throughput_sentences(known, choices, ranking)
    sentences += _unranked(known, groups, ranking)
    sentences += _supplement(known, need, tests)
    sentences += _path_sentences(known, need, choices)
    sentences += _topic_sentences(known, need)
    return NeedAdvice(need.id, need.question, ranking, tuple(sentences) or (nothing(need),))


def _recommendation(
    known: Knowledge, choices: Sequence[BestInCell], ranking: Sequence[Ranked]
) -> list[Sentence]:
    """The advice in one sentence: whoever shares the first rank, at the path that was best."""
    first = [found.solution for found in ranking if found.rank == 1]
    if not first:
        return []
    best = [
        (choice, scenario) for choice in choices for solution, scenario, _ in choice.best if solution in first
    ]
    paths = ", ".join(dict.fromkeys(scenario for _, scenario in best))
    names = " or ".join(name_of(known, solution) for solution in first)
    matched = "; within five percent of each other" if len(first) > 1 else ""
    cells = [known.readings.cite_cell(choice.test, choice.condition, scenario) for choice, scenario in best]
    lead = _unshown_lead(known, choices, ranking)
    return [Sentence(f"Take {names} ({paths}){matched}{lead}.", tuple(cells))]


def _unshown_lead(known: Knowledge, choices: Sequence[BestInCell], ranking: Sequence[Ranked]) -> str:
    """That no test tells the first rank from who comes next, in words; "" where one does, or nobody is next."""
    for better, worse in pairwise(ranking):
        if better.rank == 1 != worse.rank and better.qualifies == worse.qualifies:
            pairs = _pairs(known, choices, better, worse)
            tested = [pair.figures["p_holm"] for pair in pairs if "p_holm" in pair.figures]
            if tested and min(tested) >= ALPHA:
                return f"; but no test shows a lead over {name_of(known, worse.solution)}"
    return ""


def _pairs(known: Knowledge, choices: Sequence[BestInCell], better: Ranked, worse: Ranked) -> list[Citation]:
    """The two against each other in every cell, each at its best scenario there."""
    pairs = []
    for choice in choices:
        named = {solution: scenario for solution, scenario, _ in choice.best}
        cell = (choice.test, choice.condition, named[better.solution], named[worse.solution])
        pairs.append(known.readings.cite_pair(*cell))
    return pairs


def _throughput_sentences(
    known: Knowledge, choices: Sequence[BestInCell], ranking: Sequence[Ranked]
) -> list[Sentence]:
    """One sentence per pair of neighbours in the ranking: how they compare in every cell."""
    sentences = []
    for better, worse in pairwise(ranking):
        pairs = _pairs(known, choices, better, worse)
        sentences.append(Sentence(_compare(known, better, worse, pairs), tuple(pairs)))
    if len(ranking) == 1 and choices:
        only = ranking[0]
        cells = tuple(
            known.readings.cite_cell(choice.test, choice.condition, scenario)
            for choice in choices
            for solution, scenario, _ in choice.best
            if solution == only.solution
        )
        sentences.append(
            Sentence(f"{name_of(known, only.solution)} alone was measured in every cell of this need.", cells)
        )
    return sentences


def _compare(known: Knowledge, better: Ranked, worse: Ranked, pairs: Sequence[Citation]) -> str:
    ahead = sum(pair.figures["ratio"] > 1 for pair in pairs)
    tested = [pair.figures["p_holm"] for pair in pairs if "p_holm" in pair.figures]
    differ = sum(p < ALPHA for p in tested)
    ratios = [pair.figures["ratio"] for pair in pairs]
    span = f"{min(ratios):.2f}" if len(ratios) == 1 else f"{min(ratios):.2f} to {max(ratios):.2f}"
    verb = "is matched by" if better.rank == worse.rank else "comes before"
    if better.qualifies and not worse.qualifies:
        verb = "qualifies, unlike"
    test = (
        f"{differ} of {len(tested)} differences hold after Holm's correction"
        if tested
        else "no test is possible"
    )
    return (
        f"{name_of(known, better.solution)} {verb} {name_of(known, worse.solution)}: "
        f"its mean is higher in {ahead} of {len(pairs)} cells, "
        f"ratio {span}; {test}."
    )


def _unranked(
    known: Knowledge, groups: Sequence[ComparisonGroup], ranking: Sequence[Ranked]
) -> list[Sentence]:
    """Who was measured in some cells only, or with too few figures, and so stands in no ranking."""
    ranked = {found.solution for found in ranking}
    cells: dict[str, list[Citation]] = {}
    measured: dict[str, set[ComparisonGroup]] = {}
    for group in groups:
        for name in group.scenarios:
            if (solution := solution_of(name)) not in ranked:
                cited = known.readings.cite_cell(group.test, group.condition, name)
                cells.setdefault(solution, []).append(cited)
                measured.setdefault(solution, set()).add(group)
    return [
        Sentence(
            f"{name_of(known, solution)} is not ranked: {_why_not(len(measured[solution]), len(groups))}.",
            tuple(cited),
        )
        for solution, cited in cells.items()
    ]


def _why_not(measured: int, of: int) -> str:
    return (
        f"measured in {measured} of {of} cells"
        if measured < of
        else "too few figures for a test, or slow start"
    )


def _supplement(known: Knowledge, need: UserNeed, used: Sequence[str]) -> list[Sentence]:
    """What Table A2's means say beside the measured tests; they do not enter the ranking."""
    sentences = []
    for test in need.tests:
        if test in used or test not in known.readings.tests():
            continue
        choices = choices_for(known, groups_for(known, need, test))
        ranking = rank(known, [choice.best for choice in choices])
        if ranking:
            order = ", ".join(f"{found.solution} ({found.score:.2f})" for found in ranking)
            cells = [
                known.readings.cite_cell(test, choice.condition, choice.best[0][1]) for choice in choices
            ]
            text = f"For {test.upper()}, by the means of Table A2 as published, not by these data: {order}."
            sentences.append(Sentence(text, tuple(cells)))
    return sentences


def _path_sentences(known: Knowledge, need: UserNeed, choices: Sequence[BestInCell]) -> list[Sentence]:
    """Where a relayed path beats the same solution's direct one, that is advice of its own."""
    if need.per_path or need.only_tcp_relays:
        return []
    found: dict[str, list[Citation]] = {}
    for choice in choices:
        for solution, scenario, _ in choice.best:
            if path_of(scenario) is Path.DIRECT:
                continue
            for direct in known.readings.scenarios(choice.test, choice.condition):
                if path_of(direct) is Path.DIRECT and solution_of(direct) == solution:
                    cell = (choice.test, choice.condition, scenario, direct)
                    found.setdefault(solution, []).append(known.readings.cite_pair(*cell))
    return [
        Sentence(
            f"{name_of(known, solution)}: prefer its relay to the direct path,"
            f" in {len(pairs)} of {len(choices)} cells.",
            tuple(pairs),
        )
        for solution, pairs in found.items()
    ]


# ---- needs that dated facts decide


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of one solution's answer to a need; measuring beats knowing."""

    solution: str
    value: Value
    seconds: float
    sentences: tuple[Sentence, ...]


def _by_fact(known: Knowledge, need: UserNeed) -> NeedAdvice:
    answers = _answers(known, need)
    order = {Value.MET: 0, Value.UNKNOWN: 1, Value.UNMET: 2}
    answers.sort(
        key=lambda answer: (not qualifies(known, answer.solution), order[answer.value], answer.seconds)
    )
    met = [answer.solution for answer in answers if answer.value is Value.MET]
    ranking = [
        Ranked(place, solution, None, qualifies(known, solution), fails(known, solution))
        for place, solution in enumerate(met, start=1)
    ]
    sentences = [sentence for answer in answers for sentence in answer.sentences]
    if not met:
        sentences.append(Sentence("Nothing known on this date meets this need.", ()))
    return NeedAdvice(need.id, need.question, tuple(ranking), tuple(sentences))


def _answers(known: Knowledge, need: UserNeed) -> list[_Answer]:
    """Of each product, and of whatever the run measured for this need beyond those."""
    measured = fallbacks(known.readings.study) if need.topic == "fast-fallback" else {}
    names = dict.fromkeys([*(product.id for product in known.catalogue.products), *measured])
    answers = []
    for solution in names:
        fact = known.fact(solution, need.topic)
        dated = [Sentence(_fact_text(known, solution, fact), (cite_fact(solution, fact),))] if fact else []
        if one := measured.get(solution):
            value = Value.MET if one.fast else Value.UNMET
            tried = Sentence(_fallback_text(known, solution, one), (one.evidence(),))
            answers.append(_Answer(solution, value, one.seconds or 0.0, (tried, *dated)))
        elif fact and _asked(known, solution):
            answers.append(_Answer(solution, _word(known, fact), fact.seconds or 0.0, tuple(dated)))
    return answers


def _fallback_text(known: Knowledge, solution: str, one: Fallback) -> str:
    took = f" in {one.seconds:.1f} s" if one.seconds is not None else ""
    text = (
        f"{name_of(known, solution)} fell back to its relay{took}, {one.succeeded} of {one.attempted} times"
    )
    return f"{text}: {Value.MET if one.fast else Value.UNMET}, measured by this run."


def _asked(known: Knowledge, solution: str) -> bool:
    """Only what qualifies or was measured is worth a sentence."""
    measured = {solution_of(name) for name in known.readings.study.scenario_order}
    return solution in measured or qualifies(known, solution)


def _word(known: Knowledge, fact: Fact) -> Value:
    """What is claimed, unless somebody looked and found otherwise; usability has no other basis than looking."""
    return (
        fact.value(Basis.VERIFIED)
        if fact.topic not in {c.id for c in known.catalogue.criteria}
        else _claim(fact)
    )


def _claim(fact: Fact) -> Value:
    return Value.UNMET if fact.verified is Value.UNMET else fact.claimed


def _fact_text(known: Knowledge, solution: str, fact: Fact) -> str:
    value = _word(known, fact)
    text = f"{name_of(known, solution)}: {value}"
    text += f", {fact.seconds:g} s" if fact.seconds is not None else ""
    if fact.verified not in {Value.UNKNOWN, fact.claimed}:
        text += f" (claimed {fact.claimed}, found {fact.verified})"
    return text + f" on {fact.date.isoformat()}."


def _topic_sentences(known: Knowledge, need: UserNeed) -> list[Sentence]:
    """Who is left out of a need because a fact says that it cannot, and how fast the others get there."""
    if not need.topic:
        return []
    sentences = []
    for solution in dict.fromkeys(solution_of(name) for name in known.readings.study.scenario_order):
        fact = known.fact(solution, need.topic)
        if fact and fact.value(Basis.VERIFIED) is Value.UNMET:
            text = f"{name_of(known, solution)} is left out: {need.topic} is unmet where somebody looked."
            sentences.append(Sentence(text, (cite_fact(solution, fact),)))
        slow = known.fact(solution, "fast-fallback")
        if (
            slow
            and fact
            and fact.value(Basis.VERIFIED) is Value.MET
            and slow.value(Basis.VERIFIED) is Value.UNMET
        ):
            text = f"{name_of(known, solution)} needs long to fall back to its relay."
            sentences.append(Sentence(text, (cite_fact(solution, slow),)))
    return sentences
