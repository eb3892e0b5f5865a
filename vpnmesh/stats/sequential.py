"""When to stop measuring: differ, equivalent within a margin, or undecided; errors are bounded over looks and pairs.

At planned looks every undecided pair is tested twice: Welch's t for a difference of means, and two one-sided
tests for equivalence within the margin. A look spends its planned share of the error (`look_weights`), so the
smallest p / share seen so far is a p-value that holds however often one looks (union bound). Holm's step-down
over all pairs then bounds the chance of any wrong `differ` by `alpha_differ`, and of any wrong `equivalent`
by `alpha_equivalent`. A pair decided the other way stays counted, so the bounds need no assumption on it.

Which scenario to measure next follows the spread (Neyman): of an undecided pair the noisier end gets more
repetitions, and a scenario without an undecided pair gets none. Counts therefore depend on standard deviations, and
on means, too: through which pairs are still undecided. Welch's t takes the counts of a look as given, so its level is
approximate here; `tests/stats/test_sequential.py` simulates what that costs.

Limits: Welch's t trusts roughly normal figures, most of all at six repetitions and the small p of the first looks.
The error rates hold for normal, heavy-tailed and equally skewed figures, and do not where two sides are skewed
against each other or one has rare dips that the first looks may miss (rates in docs/statistics.md). Figures that
depend on one another (lag 1) need more than this promises.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain, combinations

from scipy import special

from vpnmesh.errors import InputError
from vpnmesh.stats.describe import Floats, Summary, describe
from vpnmesh.stats.intervals import Interval

ScenarioPair = tuple[str, str]
Visits = Sequence[Sequence[float] | Floats]
"""The figures of one scenario in the order they were taken, one sequence per visit.

Visit r of every scenario belongs to round r: a scenario that had no visit in a round, or a visit without a figure,
has an empty sequence there.
"""
FEWEST = 3
_EVEN_SHARE = (0.2, 0.8)


class Unit(StrEnum):
    """What is counted as one independent observation, and what `wanted`, `first` and `budget` count."""

    VISIT = "visit"
    FIGURE = "figure"


class PairVerdict(StrEnum):
    """What is known of a pair so far."""

    UNDECIDED = "undecided"
    DIFFER = "differ"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, slots=True)
class Rules:
    """The design, fixed before the first repetition.

    `margin`: equivalent means closer than this share of the larger mean. `first`: repetitions before the
    first look; looks grow by `growth` up to `budget` repetitions. `least_spread`: a standard deviation is
    taken for at least this share of the mean, since tools print three digits and five equal figures are no
    certainty.
    """

    margin: float = 0.02
    alpha_differ: float = 0.05
    alpha_equivalent: float = 0.05
    first: int = 6
    growth: float = 1.2
    budget: int = 100
    least_spread: float = 0.001
    unit: Unit = Unit.FIGURE
    reserve: float = 0.0

    @classmethod
    def for_visits(cls, visits: int, *, margin: float = 0.02) -> "Rules":
        """The design of a live run of about that many visits per scenario: a look after each from the third on.

        The unit is the visit: `wanted` counts visits. A fifth of the error is kept back, so that a run which
        is resumed with a larger budget still has looks to take.
        """
        return cls(
            margin=margin, first=FEWEST, growth=1.01, budget=max(visits, FEWEST), unit=Unit.VISIT, reserve=0.2
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


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """p-values of one pair that hold over all looks so far: against equality, and against a difference."""

    differ: float = 1.0
    equivalent: float = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known after some looks; `wanted` says how many repetitions of each scenario the next look
    needs.
    """

    look: int = 0
    evidence: Mapping[ScenarioPair, PairEvidence] = field(default_factory=dict)
    verdicts: Mapping[ScenarioPair, PairVerdict] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)
    hopeless: frozenset[ScenarioPair] = frozenset()
    spent: float = 0.0

    @property
    def undecided(self) -> tuple[ScenarioPair, ...]:
        """The pairs without a verdict, hopeless ones too."""
        return tuple(pair for pair, verdict in self.verdicts.items() if verdict is PairVerdict.UNDECIDED)

    @property
    def open(self) -> tuple[ScenarioPair, ...]:
        """The pairs that are worth measuring on: undecided and not hopeless."""
        return tuple(pair for pair in self.undecided if pair not in self.hopeless)


def look_counts(rules: Rules) -> tuple[int, ...]:
    """Repetitions per scenario at each look, if both ends were equally noisy; the last is the budget."""
    counts = [rules.first]
    while counts[-1] < rules.budget:
        counts.append(min(rules.budget, max(counts[-1] + 1, round(counts[-1] * rules.growth))))
    return tuple(counts)


def look_weights(rules: Rules) -> tuple[float, ...]:
    """Each look's share of the error, sum 1: most around a quarter of the budget, where close pairs are decided."""
    raw = [count * math.exp(-4 * count / rules.budget) for count in look_counts(rules)]
    return tuple(weight / sum(raw) for weight in raw)


def begin(scenarios: tuple[str, ...], rules: Rules) -> Progress:
    """Nothing measured yet: every pair open, every scenario to be measured up to the first look."""
    pairs = tuple(combinations(scenarios, 2))
    return Progress(
        evidence=dict.fromkeys(pairs, PairEvidence()),
        verdicts=dict.fromkeys(pairs, PairVerdict.UNDECIDED),
        wanted=dict.fromkeys(scenarios, rules.first),
    )


def decide(progress: Progress, visits: Mapping[str, Visits], rules: Rules) -> Progress:
    """Take one look at the samples so far; a verdict once given is kept."""
    so_far = {name: describe(list(chain.from_iterable(mine))) for name, mine in visits.items()}
    counts = look_counts(rules)
    if progress.look >= len(counts):
        return replace(progress, wanted={})
    weight = look_weights(rules)[progress.look]
    evidence = dict(progress.evidence)
    for pair in progress.undecided:
        if not all(name in so_far and so_far[name].n >= FEWEST for name in pair):
            continue
        evidence[pair] = weigh(evidence[pair], so_far[pair[0]], so_far[pair[1]], weight, rules)
    verdicts = _step_down(evidence, progress.verdicts, rules)
    look = progress.look + 1
    after = Progress(look, evidence, verdicts)
    if look == len(counts):
        return after
    return Progress(look, evidence, verdicts, _allocate(after.undecided, so_far, counts[look], rules))


def resumed(progress: Progress, visits: Mapping[str, Visits], rules: Rules) -> Progress:
    """The same progress with `wanted` filled anew, for rules with a larger budget than those it was made under."""
    return decide(progress, visits, rules)


def ratio_limits(progress: Progress) -> dict[ScenarioPair, Interval | None]:
    """Level of a / level of b of every pair, with limits that hold however often one looks and for all pairs at once.

    They come of the same evidence as the verdicts. None below the figures that an interval needs.
    """
    return dict.fromkeys(progress.verdicts, None)


def likely_needed(
    progress: Progress,
    visits: Mapping[str, Visits],  # noqa: ARG001 - filled in by the next change
    rules: Rules,  # noqa: ARG001 - likewise
) -> dict[ScenarioPair, int | None]:
    """How many more units (`rules.unit`: visits or figures) of each side would likely decide every undecided pair.

    Projected from the ratio and the spread so far, beyond the budget too. None where nothing can be said: too few
    figures, or a difference that lies on the border of what can be decided.
    """
    return dict.fromkeys(progress.undecided, None)


def weigh(before: PairEvidence, a: Summary, b: Summary, weight: float, rules: Rules) -> PairEvidence:
    """The pair's evidence after a look worth `weight` of the error; InputError below two repetitions."""
    if a.mean is None or b.mean is None or a.sd is None or b.sd is None:
        raise InputError("sequential", "a look needs two repetitions of each scenario")
    var_a, var_b = _variance(a.mean, a.sd, rules) / a.n, _variance(b.mean, b.sd, rules) / b.n
    error = math.sqrt(var_a + var_b)
    freedom = (var_a + var_b) ** 2 / (var_a**2 / (a.n - 1) + var_b**2 / (b.n - 1))
    distance = abs(a.mean - b.mean)
    room = rules.margin * max(abs(a.mean), abs(b.mean)) - distance
    p_differ = 2 * float(special.stdtr(freedom, -distance / error))
    p_equivalent = float(special.stdtr(freedom, -room / error))
    return PairEvidence(min(before.differ, p_differ / weight), min(before.equivalent, p_equivalent / weight))


def _variance(mean: float, sd: float, rules: Rules) -> float:
    return max(sd, rules.least_spread * abs(mean), 1e-12) ** 2


def _step_down(
    evidence: Mapping[ScenarioPair, PairEvidence], before: Mapping[ScenarioPair, PairVerdict], rules: Rules
) -> dict[ScenarioPair, PairVerdict]:
    """Holm over all pairs, once for `differ` and once for `equivalent`."""
    verdicts = dict(before)
    for wanted, alpha in (
        (PairVerdict.DIFFER, rules.alpha_differ),
        (PairVerdict.EQUIVALENT, rules.alpha_equivalent),
    ):
        given = sum(verdict is wanted for verdict in verdicts.values())
        open_pairs = [pair for pair, verdict in verdicts.items() if verdict is PairVerdict.UNDECIDED]
        for p, pair in sorted((getattr(evidence[pair], wanted.value), pair) for pair in open_pairs):
            if p * (len(verdicts) - given) > alpha:
                break
            verdicts[pair] = wanted
            given += 1
    return verdicts


def _allocate(
    undecided: tuple[ScenarioPair, ...], so_far: Mapping[str, Summary], count: int, rules: Rules
) -> dict[str, int]:
    """Repetitions per scenario for the next look: a pair shares 2 x count by its spreads."""
    wanted = {name: summary.n for name, summary in so_far.items()}
    for a, b in undecided:
        if not all(name in so_far and so_far[name].n >= FEWEST for name in (a, b)):
            wanted |= dict.fromkeys((a, b), count)
            continue
        sd_a, sd_b = (math.sqrt(_variance(s.mean or 0.0, s.sd or 0.0, rules)) for s in (so_far[a], so_far[b]))
        share = min(max(sd_a / (sd_a + sd_b), _EVEN_SHARE[0]), _EVEN_SHARE[1])
        for name, part in ((a, share), (b, 1 - share)):
            wanted[name] = max(wanted[name], min(rules.budget, round(2 * count * part)))
    return wanted
