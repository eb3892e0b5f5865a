"""What advice is made of: sentences with what they rest on, and those that several kinds of need share."""

from collections.abc import Sequence
from dataclasses import dataclass

from vpnmesh.report.judgement.evidence import Citation
from vpnmesh.report.judgement.ranking import ComparisonGroup, Knowledge, Ranked, is_lacking
from vpnmesh.report.judgement.requirements import UserNeed


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the report and what it rests on."""

    text: str
    evidence: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class NeedAdvice:
    """The advice on one need; without data the ranking is empty and the sentence says what is missing."""

    need: str
    question: str
    ranking: tuple[Ranked, ...]
    sentences: tuple[Sentence, ...]


def name_of(known: Knowledge, solution: str) -> str:
    """A solution's name as its makers write it."""
    product = known.criteria.product(solution)
    return product.name if product else solution


def to_measure(known: Knowledge, groups: Sequence[ComparisonGroup]) -> Sentence | None:
    """What has to be measured first, where a cell of the need compares nobody; said in place of a ranking."""
    keys = [
        (group.test, group.condition, name)
        for group in groups
        if is_lacking(known, group)
        for name in group.scenarios
    ]
    lacks = [lack for key in keys if (lack := known.cells.lack(key))]
    cited = tuple(known.readings.cite_cell(*key) for key in keys)
    return Sentence(known.cells.to_measure(lacks), cited) if lacks else None


def nothing(need: UserNeed) -> Sentence:
    """What is said where nothing of a need was measured."""
    cells = f"{'/'.join(need.tests)} under {'/'.join(need.conditions)}"
    return Sentence(f"Undecided: no two solutions were measured for this need ({cells}).", ())
