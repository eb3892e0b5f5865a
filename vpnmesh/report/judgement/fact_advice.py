"""The needs that dated facts decide, and what facts add to the others; what a run measured itself counts first."""

from collections.abc import Iterator
from dataclasses import dataclass

from vpnmesh.criteria.catalogue import Basis, DatedFact, Value
from vpnmesh.report.judgement.evidence import cite_fact
from vpnmesh.report.judgement.ranking import Knowledge, Ranked, fails, qualifies
from vpnmesh.report.judgement.requirements import FAST_FALLBACK, UserNeed
from vpnmesh.report.judgement.sentences import NeedAdvice, Sentence, name_of
from vpnmesh.report.judgement.usability import Fallback, fallbacks

_ORDER = (Value.MET, Value.UNKNOWN, Value.UNMET)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of one solution's answer to a need, by measuring or by a fact."""

    solution: str
    value: Value
    seconds: float
    sentences: tuple[Sentence, ...]


def by_fact(known: Knowledge, need: UserNeed) -> NeedAdvice:
    """Ranks the solutions that meet the need: those that qualify first, then by seconds where there are any."""
    answers = sorted(_answers(known, need), key=lambda answer: _place(known, answer))
    met = [answer.solution for answer in answers if answer.value is Value.MET]
    ranking = tuple(
        Ranked(place, solution, None, qualifies(known, solution), fails(known, solution))
        for place, solution in enumerate(met, start=1)
    )
    sentences = [sentence for answer in answers for sentence in answer.sentences]
    if not met:
        sentences.append(Sentence("Nothing known on this date meets this need.", ()))
    return NeedAdvice(need.id, need.question, ranking, tuple(sentences))


def _place(known: Knowledge, answer: _Answer) -> tuple[bool, int, float]:
    return not qualifies(known, answer.solution), _ORDER.index(answer.value), answer.seconds


def _answers(known: Knowledge, need: UserNeed) -> Iterator[_Answer]:
    """The answer of each product, and of further solutions that the run measured for this need."""
    measured = _fallback_by_solution(known) if need.topic == FAST_FALLBACK else {}
    names = dict.fromkeys([*(product.id for product in known.criteria.products), *measured])
    for solution in names:
        fact = known.fact(solution, need.topic)
        dated = [Sentence(_fact_text(known, solution, fact), (cite_fact(solution, fact),))] if fact else []
        if one := measured.get(solution):
            tried = Sentence(_fallback_text(known, solution, one), (one.evidence(),))
            yield _Answer(solution, _met(one), one.seconds or 0.0, (tried, *dated))
        elif fact and (solution in known.solutions or qualifies(known, solution)):
            yield _Answer(solution, _value(known, fact), fact.seconds or 0.0, tuple(dated))


def _fallback_by_solution(known: Knowledge) -> dict[str, Fallback]:
    """Of each solution the first that was tried: a scenario comes before its variants."""
    found: dict[str, Fallback] = {}
    for one in fallbacks(known.readings.study):
        found.setdefault(one.solution, one)
    return found


def _met(one: Fallback) -> Value:
    return Value.MET if one.fast else Value.UNMET


def _fallback_text(known: Knowledge, solution: str, one: Fallback) -> str:
    took = f" in {one.seconds:.1f} s" if one.seconds is not None else ""
    text = (
        f"{name_of(known, solution)} fell back to its relay{took}, {one.succeeded} of {one.attempted} times"
    )
    return f"{text}: {_met(one)}, measured by this run."


def _value(known: Knowledge, fact: DatedFact) -> Value:
    """A criterion's value as claimed, unless somebody tried and it was unmet; for usability what was found."""
    if known.criteria.criterion(fact.topic) is None:
        return fact.value(Basis.VERIFIED)
    return Value.UNMET if fact.verified is Value.UNMET else fact.claimed


def _fact_text(known: Knowledge, solution: str, fact: DatedFact) -> str:
    text = f"{name_of(known, solution)}: {_value(known, fact)}"
    text += f", {fact.seconds:g} s" if fact.seconds is not None else ""
    if fact.verified not in {Value.UNKNOWN, fact.claimed}:
        text += f" (claimed {fact.claimed}, found {fact.verified})"
    return text + f" on {fact.date.isoformat()}."


def topic_sentences(known: Knowledge, need: UserNeed) -> list[Sentence]:
    """Which measured solutions a fact leaves out of a need, and which others are slow to fall back."""
    if not need.topic:
        return []
    return [one for solution in known.solutions for one in _topic_sentences(known, solution, need.topic)]


def _topic_sentences(known: Knowledge, solution: str, topic: str) -> Iterator[Sentence]:
    fact, slow = known.fact(solution, topic), known.fact(solution, FAST_FALLBACK)
    value = fact.value(Basis.VERIFIED) if fact else Value.UNKNOWN
    if fact and value is Value.UNMET:
        text = f"{name_of(known, solution)} is left out: {topic} is unmet where somebody looked."
        yield Sentence(text, (cite_fact(solution, fact),))
    if slow and value is Value.MET and slow.value(Basis.VERIFIED) is Value.UNMET:
        text = f"{name_of(known, solution)} needs long to fall back to its relay."
        yield Sentence(text, (cite_fact(solution, slow),))
