"""What is known of each VPN, when, from whom, and how: the records behind Table 1 (paper, section 3.1).

A fact is never overwritten: a newer row is added beside the old one, and the asked date decides which counts.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum


class Value(StrEnum):
    """An answer; not knowing is an answer of its own and never a no."""

    MET = "met"
    UNMET = "unmet"
    UNKNOWN = "unknown"


class Basis(StrEnum):
    """Whose word counts: what documentation says, or what was found beyond it where somebody looked."""

    CLAIMED = "claimed"
    VERIFIED = "verified"


class How(StrEnum):
    """How a value was found."""

    DOCS = "docs"
    SOURCE = "source"
    HANDS_ON = "hands-on"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One question of section 3.1; an answer holds for `valid_days`, None = until a newer one."""

    id: str
    title: str
    question: str
    essential: bool
    valid_days: int | None = None


@dataclass(frozen=True, slots=True)
class StatementSource:
    """Where a fact comes from; `url` is empty for what this project tried itself.

    `is_the_paper`: the study whose claims are judged, which cannot confirm itself.
    """

    id: str
    text: str
    url: str
    is_the_paper: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """A VPN of Table 1 and its general information; `id` is the solution's name in scenarios."""

    id: str
    name: str
    protocol: str
    data_plane: str
    general_date: date
    commits: int
    stars: int


@dataclass(frozen=True, slots=True)
class DatedFact:
    """What was known of one product on one topic (a criterion or a matter of usability) on one date."""

    product: str
    topic: str
    date: date
    claimed: Value
    verified: Value
    how: How
    source: StatementSource
    note: str = ""
    seconds: float | None = None

    def value(self, basis: Basis) -> Value:
        """The value on that basis; what nobody verified counts as claimed."""
        if basis is Basis.CLAIMED or self.verified is Value.UNKNOWN:
            return self.claimed
        return self.verified

    def evidence(self) -> str:
        """Date, source, how and note as one text."""
        parts = [f"{self.source.text}, {self.date.isoformat()}, {self.how}"]
        return "; ".join([*parts, self.note] if self.note else parts)


@dataclass(frozen=True, slots=True)
class CriteriaCatalogue:
    """Criteria, products and all dated facts about them."""

    criteria: tuple[Criterion, ...]
    products: tuple[Product, ...]
    facts: tuple[DatedFact, ...]
    usability: tuple[DatedFact, ...]

    def criterion(self, topic: str) -> Criterion | None:
        """The criterion of that id, None for a matter of usability."""
        return next((criterion for criterion in self.criteria if criterion.id == topic), None)

    def product(self, product_id: str) -> Product | None:
        """The product of that id, None if Table 1 has none."""
        return next((product for product in self.products if product.id == product_id), None)

    def fact(self, product_id: str, topic: str, on: date) -> DatedFact | None:
        """The newest fact on or before that day that is still valid then, or None."""
        criterion = self.criterion(topic)
        valid = timedelta(days=criterion.valid_days) if criterion and criterion.valid_days else timedelta.max
        known = [fact for fact in self.history(product_id, topic) if fact.date <= on]
        return known[-1] if known and on - known[-1].date <= valid else None

    def history(self, product_id: str, topic: str) -> tuple[DatedFact, ...]:
        """All facts of a product on a topic, oldest first."""
        facts = (*self.facts, *self.usability)
        mine = [fact for fact in facts if (fact.product, fact.topic) == (product_id, topic)]
        return tuple(sorted(mine, key=lambda fact: fact.date))

    def adding(self, fact: DatedFact) -> "CriteriaCatalogue":
        """The catalogue with one more dated row."""
        return replace(self, facts=(*self.facts, fact))
