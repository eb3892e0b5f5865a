"""When to stop measuring: differ, equivalent within a margin, or undecided; errors are bounded over looks and pairs.

Compared are typical levels on a log scale (`vpnmesh.stats.levels`), not means: no test of means holds for figures
with rare dips, since a look that met none cannot know of them. `differ` says that two levels are further apart than
`indifference` x margin, `equivalent` that they are closer than the margin.

At planned looks every undecided pair is tested for both by Welch's t. A look spends its planned share of the error,
so the smallest p / share seen so far is a p-value that holds however often one looks (union bound). Holm's step-down
over all pairs bounds the chance of any wrong `differ` by `alpha_differ`, and of any wrong `equivalent` by
`alpha_equivalent`. For `equivalent`, a pair that is proven to be twice the margin apart is no longer counted: what
could call it equivalent is as good as impossible. Where samples are small, t is helped: by a floor for spreads, by an
allowance that shrinks with the figures, and by spending only a share (`trusted`) of the error.

What is independent is the unit: a visit (its mean; figures within a visit may depend on one another as they like, and
pairs are compared over rounds that both have, so that a drift of the machine is in both) or a figure (only for
recorded repetitions that do not depend on one another).

What is measured next depends on the spreads (of an open pair the noisier end gets more figures; visits are taken by
rounds, evenly) and on the levels: through which pairs are still open, and which are hopeless. A pair whose projected
need lies beyond the budget is hopeless and claims no more measurements. Stopping so makes no wrong verdict, it gives
none. Counts that depend on the data make Welch's t approximate; `tests/stats` simulates what that costs, and
docs/statistics.md says where the promise holds and where not.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations

import numpy as np
from scipy import special

from vpnmesh.stats.describe import Floats
from vpnmesh.stats.intervals import Interval, fewest_for_interval
from vpnmesh.stats.levels import Level, Visits, in_both, level_of, log_figures, log_visits
from vpnmesh.stats.looks import FEWEST, Rules, Unit, look_counts, look_weights

__all__ = [
    "PairEvidence",
    "PairVerdict",
    "Progress",
    "Rules",
    "ScenarioPair",
    "Unit",
    "Visits",
    "begin",
    "decide",
    "likely_needed",
    "ratio_limits",
    "resumed",
]

ScenarioPair = tuple[str, str]
_EVEN_SHARE = (1 / 3, 2 / 3)
_APART = 2.0
"""From how many margins on a proven distance takes a pair out of the count for `equivalent`."""
_APART_SHARE = 0.1
_FARTHEST = 100
"""A projection beyond this many budgets is no projection."""


class PairVerdict(StrEnum):
    """What is known of a pair so far."""

    UNDECIDED = "undecided"
    DIFFER = "differ"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """What all looks so far say of one pair: p-values against equality, against a difference, and against being
    less than twice the margin apart; limits of the difference of logs (a less b) and its latest estimate.
    """

    differ: float = 1.0
    equivalent: float = 1.0
    apart: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    estimate: float = math.nan
    figures: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known after some looks; `wanted` says how many units each scenario needs in all by the next look (with
    visits: rounds, empty ones counted). `spent` is the share of the error that looks have used, of at most `may_spend`.
    """

    look: int = 0
    evidence: Mapping[ScenarioPair, PairEvidence] = field(default_factory=dict)
    verdicts: Mapping[ScenarioPair, PairVerdict] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)
    hopeless: frozenset[ScenarioPair] = frozenset()
    spent: float = 0.0
    may_spend: float = 1.0

    @property
    def undecided(self) -> tuple[ScenarioPair, ...]:
        """The pairs without a verdict, hopeless ones too."""
        return tuple(pair for pair, verdict in self.verdicts.items() if verdict is PairVerdict.UNDECIDED)

    @property
    def open(self) -> tuple[ScenarioPair, ...]:
        """The pairs that are worth measuring on: undecided and not hopeless."""
        return tuple(pair for pair in self.undecided if pair not in self.hopeless)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Pairs as arrays: difference of levels (a less b), its error and degrees of freedom, units of the smaller side."""

    pairs: tuple[ScenarioPair, ...]
    difference: Floats
    spreads: Floats
    error: Floats
    freedom: Floats
    fewest: Floats


def begin(scenarios: tuple[str, ...], rules: Rules) -> Progress:
    """Nothing measured yet: every pair open, every scenario to be measured up to the first look."""
    pairs = tuple(combinations(scenarios, 2))
    return Progress(
        evidence=dict.fromkeys(pairs, PairEvidence()),
        verdicts=dict.fromkeys(pairs, PairVerdict.UNDECIDED),
        wanted=dict.fromkeys(scenarios, rules.first),
        may_spend=1 - rules.reserve,
    )


def decide(progress: Progress, visits: Mapping[str, Visits], rules: Rules) -> Progress:
    """Take one look at the figures so far; a verdict once given is kept.

    A pair of which one side has fewer than three units, or is missing, stays open. After the last planned look
    nothing is wanted, and further calls change nothing.
    """
    weight = _next_share(progress, rules)
    if weight <= 0:
        return replace(progress, wanted={})
    compared = _compared(progress.verdicts, visits, rules)
    evidence = dict(progress.evidence)
    _weigh_all(evidence, compared, weight, visits, rules)
    after = replace(
        progress,
        look=progress.look + 1,
        spent=progress.spent + weight,
        evidence=evidence,
        verdicts=_step_down(evidence, progress.verdicts, rules),
    )
    return _planned(after, compared, visits, rules)


def resumed(progress: Progress, visits: Mapping[str, Visits], rules: Rules) -> Progress:
    """The same progress with `wanted` filled anew, for rules with a larger budget than it was made under.

    The looks to come share what is left of the error, less the rules' reserve.
    """
    more = progress.spent + (1 - progress.spent) * (1 - rules.reserve)
    renewed = replace(progress, may_spend=max(progress.may_spend, more))
    return _planned(renewed, _compared(progress.verdicts, visits, rules), visits, rules)


def ratio_limits(progress: Progress, rules: Rules) -> dict[ScenarioPair, Interval | None]:
    """Level of a / level of b of every pair, with limits that hold however often one looks and for all pairs at once.

    They come of the same looks as the verdicts, and are cut to what a verdict says. A decided pair has them, since its
    verdict says nothing else than that they lie apart from equality, or within the margin; an open one from six figures
    of a side on.
    """
    return {pair: _limits(progress, pair, rules) for pair in progress.verdicts}


def likely_needed(
    progress: Progress, visits: Mapping[str, Visits], rules: Rules
) -> dict[ScenarioPair, int | None]:
    """How many more units (`rules.unit`: visits or figures) of each side would likely decide every undecided pair.

    Projected from the ratio and the spread so far, beyond the budget too: about one time in two it needs more. None
    where nothing can be said: too few figures, or a difference that lies on a border of what can be decided.
    """
    found: dict[ScenarioPair, int | None] = dict.fromkeys(progress.undecided)
    compared = _compared(progress.undecided, visits, rules)
    # a spread from few units is more often too small than too large: by this factor in the middle
    typically = np.sqrt(compared.freedom / (compared.freedom - 2 / 3))
    compared = replace(compared, spreads=compared.spreads * typically)
    needs = _needs(progress, compared, rules, lean=0.0)
    for pair, need, fewest in zip(compared.pairs, needs, compared.fewest, strict=True):
        if need <= _FARTHEST * rules.budget:
            found[pair] = max(1, math.ceil(need - fewest))
    return found


def _next_share(progress: Progress, rules: Rules) -> float:
    """What the next look may spend: its part of what the looks to come share."""
    to_come = look_weights(rules)[progress.look :]
    return (progress.may_spend - progress.spent) * to_come[0] / sum(to_come) if to_come else 0.0


def _units(visits: Mapping[str, Visits], rules: Rules) -> dict[str, Floats]:
    of = log_visits if rules.unit is Unit.VISIT else log_figures
    return {name: of(mine) for name, mine in visits.items()}


def _levels(
    pairs: Iterable[ScenarioPair], visits: Mapping[str, Visits], rules: Rules
) -> dict[ScenarioPair, tuple[Level, Level]]:
    """The two levels of every pair that has enough units for them."""
    units = _units(visits, rules)
    if rules.unit is Unit.FIGURE:
        whole = {name: level_of(logs) for name, logs in units.items() if logs.size >= FEWEST}
        return {(a, b): (whole[a], whole[b]) for a, b in pairs if a in whole and b in whole}
    both = {(a, b): in_both(units[a], units[b]) for a, b in pairs if a in units and b in units}
    return {pair: (level_of(a), level_of(b)) for pair, (a, b) in both.items() if a.size >= FEWEST}


def _compared(pairs: Iterable[ScenarioPair], visits: Mapping[str, Visits], rules: Rules) -> _Compared:
    """Welch's difference, error and degrees of freedom of every pair that has enough units."""
    found = _levels(pairs, visits, rules)
    sides = [[levels[side] for levels in found.values()] for side in (0, 1)]
    n, level, spread, variance, freedom = (
        np.array([[getattr(one, name) for one in side] for side in sides], dtype=np.float64).reshape(2, -1)
        for name in ("n", "level", "spread", "variance", "freedom")
    )
    floor = max(rules.least_spread, rules.shared_spread * (float(np.median(spread)) if spread.size else 0.0))
    variance, spread = np.maximum(variance, floor**2 / n), np.maximum(spread, floor)
    total = variance.sum(axis=0)
    welch = total**2 / (variance**2 / freedom).sum(axis=0)
    return _Compared(tuple(found), level[0] - level[1], spread, np.sqrt(total), welch, n.min(axis=0))


def _weigh_all(
    evidence: dict[ScenarioPair, PairEvidence],
    compared: _Compared,
    weight: float,
    visits: Mapping[str, Visits],
    rules: Rules,
) -> None:
    """Put into the evidence what a look worth `weight` of the error says."""
    border, error, freedom = rules.border, compared.error, compared.freedom
    distance, kept = np.abs(compared.difference), rules.allowed_at(compared.fewest)
    trivial = rules.indifference * border + kept
    differ = special.stdtr(freedom, -(distance - trivial) / error) + special.stdtr(
        freedom, -(distance + trivial) / error
    )
    equivalent = special.stdtr(freedom, -(border - kept - distance) / error)
    apart = special.stdtr(freedom, -(distance - _APART * border - kept) / error)
    share = weight * rules.trusted
    tail = min(rules.alpha_differ, rules.alpha_equivalent) * share / max(1, len(evidence)) / 2
    half = kept - special.stdtrit(freedom, tail) * error
    figures = {name: sum(len(visit) for visit in mine) for name, mine in visits.items()}
    for i, pair in enumerate(compared.pairs):
        before, difference = evidence[pair], float(compared.difference[i])
        evidence[pair] = PairEvidence(
            min(before.differ, float(differ[i]) / share),
            min(before.equivalent, float(equivalent[i]) / share),
            min(before.apart, float(apart[i]) / share),
            max(before.low, difference - float(half[i])),
            min(before.high, difference + float(half[i])),
            difference,
            min(figures[name] for name in pair),
        )


def _counted(
    verdicts: Mapping[ScenarioPair, PairVerdict],
    evidence: Mapping[ScenarioPair, PairEvidence],
    wanted: PairVerdict,
    rules: Rules,
) -> int:
    """How many pairs a verdict still has to be safe from: all but those that have it, or are proven too far apart."""
    counted = [pair for pair, verdict in verdicts.items() if verdict is not wanted]
    if wanted is PairVerdict.DIFFER:
        return len(counted)
    enough = _APART_SHARE * rules.alpha_equivalent / max(1, len(verdicts))
    return sum(evidence[pair].apart > enough for pair in counted)


def _step_down(
    evidence: Mapping[ScenarioPair, PairEvidence], before: Mapping[ScenarioPair, PairVerdict], rules: Rules
) -> dict[ScenarioPair, PairVerdict]:
    """Holm over all pairs, once for `differ` and once for `equivalent`."""
    verdicts = dict(before)
    for wanted, alpha in (
        (PairVerdict.DIFFER, rules.alpha_differ),
        (PairVerdict.EQUIVALENT, rules.alpha_equivalent),
    ):
        counted = _counted(verdicts, evidence, wanted, rules)
        open_pairs = [pair for pair, verdict in verdicts.items() if verdict is PairVerdict.UNDECIDED]
        for p, pair in sorted((getattr(evidence[pair], wanted.value), pair) for pair in open_pairs):
            if p * max(1, counted) > alpha:
                break
            verdicts[pair] = wanted
            counted -= 1
    return verdicts


def _planned(after: Progress, compared: _Compared, visits: Mapping[str, Visits], rules: Rules) -> Progress:
    """The progress with its hopeless pairs, and what is wanted for the next look."""
    counts = look_counts(rules)
    if after.look >= len(counts):
        return replace(after, wanted={})
    needs = _needs(after, compared, rules, lean=1.0)
    undecided = set(after.undecided)
    hopeless = frozenset(
        pair
        for pair, need in zip(compared.pairs, needs, strict=True)
        if pair in undecided and need > rules.budget
    )
    after = replace(after, hopeless=hopeless)
    wanted = _allocate(after.open, compared, visits, counts[after.look], rules)
    return replace(after, wanted=wanted if after.open else {})


def _needs(progress: Progress, compared: _Compared, rules: Rules, *, lean: float) -> Floats:
    """Units of each side, measured evenly, that would decide a pair; `lean` standard errors in the pair's favour."""
    border, distance = rules.border, np.abs(compared.difference)
    favour = lean * compared.error
    rooms = {
        PairVerdict.DIFFER: distance + favour - rules.indifference * border,
        PairVerdict.EQUIVALENT: np.minimum(border, border - distance + favour),
    }
    per_unit = np.sqrt((compared.spreads**2).sum(axis=0))
    share = max((*look_weights(rules)[progress.look :], 1 / len(look_counts(rules)))) * rules.trusted
    best = np.full(distance.shape, np.inf)
    for verdict, room in rooms.items():
        tail = share * (rules.alpha_differ / 2 if verdict is PairVerdict.DIFFER else rules.alpha_equivalent)
        tail /= max(1, _counted(progress.verdicts, progress.evidence, verdict, rules))
        best = np.minimum(best, _units_for(per_unit / np.maximum(room, 1e-9), tail))
    return best


def _units_for(noise: Floats, tail: float) -> Floats:
    """Units until t of that tail times noise / sqrt(units) is below one; t depends on the units, so it is repeated."""
    units = np.full(noise.shape, float(FEWEST))
    for _ in range(6):
        quantile = -special.stdtrit(np.maximum(2.0 * (units - 1), FEWEST), tail)
        units = np.maximum((quantile * noise) ** 2, FEWEST)
    return units


def _allocate(
    open_pairs: tuple[ScenarioPair, ...],
    compared: _Compared,
    visits: Mapping[str, Visits],
    count: int,
    rules: Rules,
) -> dict[str, int]:
    """Units per scenario for the next look: visits evenly; of figures a pair shares 2 x count by its spreads."""
    by_visit = rules.unit is Unit.VISIT
    wanted = {name: len(mine) if by_visit else sum(map(len, mine)) for name, mine in visits.items()}
    place = {pair: i for i, pair in enumerate(compared.pairs)}
    for pair in open_pairs:
        share = 0.5
        if not by_visit and pair in place:
            spread_a, spread_b = compared.spreads[:, place[pair]]
            share = min(max(spread_a / (spread_a + spread_b), _EVEN_SHARE[0]), _EVEN_SHARE[1])
        for name, part in zip(pair, (share, 1 - share), strict=True):
            wanted[name] = max(wanted.get(name, 0), min(rules.budget, round(2 * count * part)))
    return wanted


def _limits(progress: Progress, pair: ScenarioPair, rules: Rules) -> Interval | None:
    found, verdict = progress.evidence[pair], progress.verdicts[pair]
    few = verdict is PairVerdict.UNDECIDED and found.figures < fewest_for_interval()
    if few or not math.isfinite(found.low + found.high):
        return None
    low, high, trivial = found.low, found.high, rules.indifference * rules.border
    if verdict is PairVerdict.EQUIVALENT:
        low, high = max(low, -rules.border), min(high, rules.border)
    elif verdict is PairVerdict.DIFFER and found.estimate > 0:
        low = max(low, trivial)
    elif verdict is PairVerdict.DIFFER:
        high = min(high, -trivial)
    if low > high:
        return None
    estimate = min(max(found.estimate, low), high)
    confidence = 1 - min(rules.alpha_differ, rules.alpha_equivalent)
    return Interval(
        math.exp(estimate), math.exp(low), math.exp(high), confidence, "repeated Welch, log scale"
    )
