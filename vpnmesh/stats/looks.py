"""The design of sequential stopping: margins, error rates, and when to look."""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from vpnmesh.errors import InputError
from vpnmesh.stats.describe import Floats

FEWEST = 3
"""Units of each side that a look needs."""


class Unit(StrEnum):
    """What is counted as one independent observation, and what `wanted`, `first` and `budget` count."""

    VISIT = "visit"
    FIGURE = "figure"


@dataclass(frozen=True, slots=True)
class Rules:
    """The design, fixed before the first repetition; `for_visits` and `for_figures` are the two that were checked.

    `margin`: equivalent means closer than this share of the larger level. `indifference`: a difference below
    this share of the margin is never called `differ`. `first`: units before the first look; looks grow by
    `growth` up to `budget` units. `least_spread`: a standard deviation is taken for at least this (a share of the
    level: tools print three digits, and five equal figures are no certainty), and for at least `shared_spread` of
    the scenarios' median one. `allowance`: at the first look both verdicts keep this many margins of distance;
    it shrinks with this power (`fading`) of the units. `trusted`: the share of the error that t is given to spend;
    `reserve`: the share of that which is kept for a run that is resumed.
    """

    margin: float = 0.02
    alpha_differ: float = 0.05
    alpha_equivalent: float = 0.05
    first: int = 8
    growth: float = 1.3
    budget: int = 100
    least_spread: float = 0.001
    unit: Unit = Unit.FIGURE
    reserve: float = 0.0
    indifference: float = 0.05
    shared_spread: float = 0.5
    allowance: float = 0.25
    fading: float = 6.0
    trusted: float = 0.9

    @classmethod
    def for_visits(cls, visits: int, *, margin: float = 0.02) -> "Rules":
        """The design of a live run of about that many visits per scenario: a look after each from the third on.

        The unit is the visit: `wanted` counts visits. A fifth of the error is kept back, so that a run which
        is resumed with a larger budget still has looks to take.
        """
        return cls(
            margin=margin,
            first=FEWEST,
            growth=1.01,
            budget=max(visits, FEWEST),
            unit=Unit.VISIT,
            reserve=0.2,
            allowance=4.0,
            fading=3.0,
        )

    @classmethod
    def for_figures(cls, figures: int, *, margin: float = 0.02) -> "Rules":
        """The design for recorded repetitions in one long visit each: `wanted` counts figures."""
        return cls(margin=margin, budget=figures)

    def __post_init__(self) -> None:
        """InputError where the design cannot work."""
        if not FEWEST <= self.first <= self.budget or self.growth <= 1:
            raise InputError(
                "sequential", f"no looks from {self.first} to {self.budget} growing by {self.growth}"
            )
        if not (0 < self.margin < 1 and 0 < self.alpha_differ < 1 and 0 < self.alpha_equivalent < 1):
            raise InputError("sequential", "margin and error rates lie between 0 and 1")
        if not (0 <= self.indifference < 1 and 0 <= self.reserve < 1 and 0 < self.trusted <= 1):
            raise InputError("sequential", "indifference, reserve and trusted are shares")

    @property
    def border(self) -> float:
        """The margin as a difference of logs."""
        return -math.log1p(-self.margin)

    def allowed_at(self, n: int | Floats) -> float | Floats:
        """The distance (difference of logs) that both verdicts keep from their borders with so many units."""
        return self.allowance * self.border * (self.first / n) ** self.fading


@cache
def look_counts(rules: Rules) -> tuple[int, ...]:
    """Units per scenario at each look, if both ends were equally noisy; the last is the budget."""
    counts = [rules.first]
    while counts[-1] < rules.budget:
        counts.append(min(rules.budget, max(counts[-1] + 1, round(counts[-1] * rules.growth))))
    return tuple(counts)


@cache
def look_weights(rules: Rules) -> tuple[float, ...]:
    """Each look's share of the error, sum 1. Figures: most around a sixth of the budget, where close pairs are decided.
    Visits, which are few: even, the first half as much.
    """
    counts = look_counts(rules)
    if rules.unit is Unit.VISIT:
        raw = [0.5, *(1.0 for _ in counts[1:])]
    else:
        raw = [count * math.exp(-6 * count / rules.budget) for count in counts]
    return tuple(weight / sum(raw) for weight in raw)
