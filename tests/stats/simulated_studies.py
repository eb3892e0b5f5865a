"""Studies with known levels: shapes of figures, drift and dependence, and how often a verdict is wrong."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np
from scipy import signal

from vpnmesh.stats.describe import Floats
from vpnmesh.stats.levels import TRIMMED
from vpnmesh.stats.sequential import PairVerdict, Progress, Rules, Unit, Visits, begin, decide

Shape = Callable[[np.random.Generator, int], Floats]


def normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(0, 1, n)


def heavy(rng: np.random.Generator, n: int) -> Floats:
    """Student's t with three degrees of freedom: outliers to both sides."""
    drawn: Floats = rng.standard_t(3, n) / math.sqrt(3)
    return drawn


def right(rng: np.random.Generator, n: int) -> Floats:
    """A log-normal: a long tail above (skewness 1.75)."""
    drawn: Floats = (rng.lognormal(0, 0.5, n) - math.exp(0.125)) / math.sqrt(
        math.exp(0.25) * (math.exp(0.25) - 1)
    )
    return drawn


def left(rng: np.random.Generator, n: int) -> Floats:
    return right(rng, n) * -1.0


def rising(rng: np.random.Generator, n: int) -> Floats:
    """Exponential: skewness 2, no tail below."""
    return rng.exponential(1, n) - 1


def falling(rng: np.random.Generator, n: int) -> Floats:
    return 1 - rng.exponential(1, n)


def dips(rng: np.random.Generator, n: int) -> Floats:
    """One figure in ten is three standard deviations low: what the paper's NetBird repetitions look like."""
    return np.where(rng.random(n) < 0.1, -3.0, 1 / 3)


def two_modes(rng: np.random.Generator, n: int) -> Floats:
    """Forty figures of a hundred in an upper mode: the paper's headscale-direct in UDP."""
    return rng.normal(0, 0.2, n) + np.where(rng.random(n) < 0.4, 1.2, -0.8)


@dataclass(frozen=True)
class Side:
    """One scenario: the shape of its figures (mean 0, spread 1) and their spread as a share of the rate."""

    shape: Shape
    spread: float


@dataclass(frozen=True)
class World:
    """What figures share: `rho` links figures that follow one another, `drift` is the machine's step per round.

    Between two visits of a scenario all others have theirs, so that its figures have time to forget.
    """

    rho: float = 0.0
    drift: float = 0.0
    per_visit: int = 2


@cache
def typical(side: Side) -> float:
    """The level of a side around 1: its trimmed mean log, from many figures."""
    logs = np.sort(logs_of(side, np.random.default_rng(99), 200_000))
    cut = int(TRIMMED * logs.size)
    return float(logs[cut:-cut].mean())


def logs_of(side: Side, rng: np.random.Generator, n: int) -> Floats:
    logs: Floats = np.log(np.maximum(1 + side.spread * side.shape(rng, n), 0.02))
    return logs


def linked(rng: np.random.Generator, n: int, rho: float) -> Floats:
    """Normal figures, each linked to the one before (AR(1)), mean 0 and spread 1."""
    steps = rng.normal(0, 1, n)
    steps[1:] *= math.sqrt(1 - rho**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -rho], steps), dtype=np.float64)


def figures(side: Side, rng: np.random.Generator, visits: int, world: World, gap: int) -> Floats:
    """Log figures about level 0, a row per visit; a scenario's time goes on for `gap` figures between two visits."""
    each = world.per_visit
    if not world.rho:
        return (logs_of(side, rng, visits * each) - typical(side)).reshape(visits, each)
    return side.spread * linked(rng, visits * (each + gap), world.rho).reshape(visits, -1)[:, :each]


def study(
    sides: Sequence[Side], levels: Sequence[float], rules: Rules, rng: np.random.Generator, world: World
) -> tuple[Progress, Mapping[str, Visits]]:
    """Measure and look until nothing is wanted any more; levels are logs, figures about 500."""
    by_visit = rules.unit is Unit.VISIT
    world = world if by_visit else replace(world, per_visit=1)
    gap = world.per_visit * (len(sides) - 1) if by_visit else 0
    drift = world.drift * np.cumsum(rng.normal(0, 1, rules.budget))
    taken = {}
    for i, (side, level) in enumerate(zip(sides, levels, strict=True)):
        logs = figures(side, rng, rules.budget, world, gap)
        taken[f"s{i}"] = 500 * np.exp(level + logs + drift[:, None])
    progress, so_far = begin(tuple(taken), rules), dict.fromkeys(taken, 0)
    visits: dict[str, Visits] = {}
    while progress.wanted:
        so_far = {name: max(n, progress.wanted.get(name, 0)) for name, n in so_far.items()}
        visits = {name: _seen(taken[name][:n], rules) for name, n in so_far.items()}
        progress = decide(progress, visits, rules)
    return progress, visits


def _seen(taken: Floats, rules: Rules) -> Visits:
    return list(taken) if rules.unit is Unit.VISIT else [taken.ravel()]


def wrong_verdicts(
    sides: Sequence[Side],
    rules: Rules,
    wrong: PairVerdict,
    apart: float,
    *,
    seed: int,
    world: World | None = None,
) -> Iterator[bool]:
    """Study after study: whether a pair got the wrong verdict, every second scenario being `apart` (log) from the rest.

    `differ` is wrong of all pairs that are no further apart than the indifference, `equivalent` of those at the margin.
    """
    rng = np.random.default_rng(seed)
    levels = [apart * (i % 2) for i in range(len(sides))]
    names = {f"s{i}": level for i, level in enumerate(levels)}
    concerned = {
        (a, b)
        for a, b in combinations(names, 2)
        if wrong is PairVerdict.DIFFER or abs(names[a] - names[b]) >= rules.border - 1e-12
    }
    while True:
        progress, _ = study(sides, levels, rules, rng, world or World())
        yield any(progress.verdicts[pair] is wrong for pair in concerned)
