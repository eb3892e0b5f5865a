"""Applies the essential criteria on a date and says why a VPN is out (paper, section 3.1 and Table 1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import polars as pl

from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue, Criterion, DatedFact, Product, Value


@dataclass(frozen=True, slots=True)
class Answer:
    """One cell of the table: the value that counts on the date; the fact behind it, None if there is none."""

    criterion: Criterion
    value: Value
    fact: DatedFact | None
    newest: DatedFact | None

    def explain(self) -> str:
        """The answer with its evidence, or why there is none."""
        if self.fact:
            return f"{self.criterion.title}: {self.value} ({self.fact.evidence()})"
        if self.newest:
            return (
                f"{self.criterion.title}: unknown (the newest evidence is of {self.newest.date.isoformat()}, "
                f"older than {self.criterion.valid_days} days)"
            )
        return f"{self.criterion.title}: unknown (no evidence on or before the date)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a VPN qualifies, and every answer; it qualifies only where all essential criteria are met."""

    product: Product
    answers: tuple[Answer, ...]

    def _essential(self, value: Value) -> tuple[Answer, ...]:
        return tuple(
            answer for answer in self.answers if answer.criterion.essential and answer.value is value
        )

    @property
    def failed(self) -> tuple[Answer, ...]:
        """The essential criteria that are not met."""
        return self._essential(Value.UNMET)

    @property
    def unknown(self) -> tuple[Answer, ...]:
        """The essential criteria without an answer: no failure, yet they keep a VPN from qualifying."""
        return self._essential(Value.UNKNOWN)

    @property
    def qualifies(self) -> bool:
        """Whether all essential criteria are met."""
        return not self.failed and not self.unknown

    def answer(self, topic: str) -> Answer | None:
        """The answer to one criterion."""
        return next((answer for answer in self.answers if answer.criterion.id == topic), None)

    def explain(self) -> str:
        """One sentence: in, or out with every reason and its evidence."""
        if self.qualifies:
            return f"{self.product.name} qualifies: all essential criteria are met."
        reasons = [answer.explain() for answer in (*self.failed, *self.unknown)]
        kind = "is excluded" if self.failed else "cannot be said to qualify"
        return f"{self.product.name} {kind}: {'. '.join(reasons)}."


def evaluate(catalogue: CriteriaCatalogue, on: date, basis: Basis) -> tuple[Verdict, ...]:
    """A verdict for each product, in the order of Table 1."""
    return tuple(_verdict(catalogue, product, on, basis) for product in catalogue.products)


def _verdict(catalogue: CriteriaCatalogue, product: Product, on: date, basis: Basis) -> Verdict:
    answers = (_answer(catalogue, product, criterion, on, basis) for criterion in catalogue.criteria)
    return Verdict(product, tuple(answers))


def _answer(
    catalogue: CriteriaCatalogue, product: Product, criterion: Criterion, on: date, basis: Basis
) -> Answer:
    fact = catalogue.fact(product.id, criterion.id, on)
    past = [known for known in catalogue.history(product.id, criterion.id) if known.date <= on]
    return Answer(criterion, fact.value(basis) if fact else Value.UNKNOWN, fact, past[-1] if past else None)


def table(verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """Table 1 as a frame: name, qualifies, failed first; then the unknown, all answers, their evidence."""
    return pl.DataFrame([_row(verdict) for verdict in verdicts])


def _row(verdict: Verdict) -> dict[str, str | int]:
    product = verdict.product
    return {
        "name": product.name,
        "qualifies": str(verdict.qualifies).lower(),
        "failed": ";".join(answer.criterion.id for answer in verdict.failed),
        "unknown": ";".join(answer.criterion.id for answer in verdict.unknown),
        "protocol": product.protocol,
        "data_plane": product.data_plane,
        "commits": product.commits,
        "stars": product.stars,
        "general_date": product.general_date.isoformat(),
        **{answer.criterion.id: str(answer.value) for answer in verdict.answers},
        **{f"{answer.criterion.id}_evidence": answer.explain() for answer in verdict.answers},
    }
