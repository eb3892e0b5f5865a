"""What sequential stopping would have cost, and whether it agrees: recorded repetitions in many random orders."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.stats.compare import ALPHA, holm, mann_whitney
from vpnmesh.stats.describe import Floats, Tally
from vpnmesh.stats.intervals import Interval, is_within_margin, share_interval
from vpnmesh.stats.sequential import PairVerdict, Progress, Rules, ScenarioPair, Visits, begin, decide

FEWEST_SCENARIOS = 2

COLUMNS: dict[str, pl.DataType] = {
    "a": pl.String(),
    "b": pl.String(),
    "full_rejects": pl.Boolean(),
    "full_equivalent": pl.Boolean(),
    "repetitions_a": pl.Float64(),
    "repetitions_b": pl.Float64(),
    "seconds": pl.Float64(),
    "differ": pl.Int64(),
    "equivalent": pl.Int64(),
    "undecided": pl.Int64(),
    "wrong": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What the full data say of a pair: rejected after Holm; 90 % interval of the difference inside the margin."""

    rejects: bool
    equivalent: bool

    def contradicts(self, verdict: PairVerdict) -> bool:
        """Whether the verdict is wrong by the full data; an open pair is not wrong."""
        return (verdict is PairVerdict.DIFFER and not self.rejects) or (
            verdict is PairVerdict.EQUIVALENT and not self.equivalent
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """The pairs' table and the figures over all orders; shares are of all recorded measuring seconds."""

    pairs: pl.DataFrame
    orders: int
    wrong_orders: Interval
    wrong_verdicts: Interval
    share_mean: float
    share_median: float
    share_p90: float
    undecided_verdicts: int

    def summary(self) -> pl.DataFrame:
        """The figures over all orders as a table of one row."""
        return pl.DataFrame(
            {
                "orders": [self.orders],
                "wrong_orders_share": [self.wrong_orders.estimate],
                "wrong_orders_low": [self.wrong_orders.low],
                "wrong_orders_high": [self.wrong_orders.high],
                "wrong_verdicts_share": [self.wrong_verdicts.estimate],
                "wrong_verdicts_low": [self.wrong_verdicts.low],
                "wrong_verdicts_high": [self.wrong_verdicts.high],
                "seconds_share_mean": [self.share_mean],
                "seconds_share_median": [self.share_median],
                "seconds_share_p90": [self.share_p90],
                "undecided_verdicts": [self.undecided_verdicts],
            }
        )


@dataclass(frozen=True, slots=True)
class Order:
    """How one order went: every pair's verdict, the repetitions when it was given, and those measured in all."""

    verdicts: Mapping[ScenarioPair, PairVerdict]
    at: Mapping[ScenarioPair, tuple[int, int]]
    measured: int


def replay(
    samples: Mapping[str, Floats],
    *,
    orders: int,
    seed: int,
    seconds: float,
    rules: Rules | None = None,
) -> Replay:
    """Replay the samples (scenario -> rates) in random orders; `seconds` is what one repetition costs.

    InputError with fewer than two scenarios of at least `rules.first` repetitions each.
    """
    rules = rules or Rules.for_figures(max((rates.size for rates in samples.values()), default=0))
    usable = {name: rates for name, rates in samples.items() if rates.size >= rules.first}
    if len(usable) < FEWEST_SCENARIOS or orders < 1:
        raise InputError("replay", f"needs two scenarios with {rules.first} repetitions each, and an order")
    truths = full_data_truths(usable, rules.margin)
    random = np.random.default_rng(seed)
    runs = [_one_order({n: random.permutation(r) for n, r in usable.items()}, rules) for _ in range(orders)]
    return _summarised(runs, truths, sum(rates.size for rates in usable.values()), seconds)


def full_data_truths(samples: Mapping[str, Floats], margin: float) -> dict[ScenarioPair, Truth]:
    """What all repetitions together say of every pair."""
    tallies = {name: Tally.of(rates) for name, rates in samples.items()}
    pairs = list(combinations(samples, 2))
    adjusted = holm([mann_whitney(tallies[a], tallies[b]).p for a, b in pairs])
    return {
        (a, b): Truth(
            rejects=p is not None and p < ALPHA,
            equivalent=is_within_margin(tallies[a].summary(), tallies[b].summary(), margin),
        )
        for (a, b), p in zip(pairs, adjusted, strict=True)
    }


def _one_order(shuffled: Mapping[str, Floats], rules: Rules) -> Order:
    progress = begin(tuple(shuffled), rules)
    counts = dict.fromkeys(shuffled, 0)
    so_far: dict[str, Visits] = {}
    at: dict[ScenarioPair, tuple[int, int]] = {}
    while progress.wanted:
        for name, wanted in progress.wanted.items():
            if (count := min(wanted, shuffled[name].size)) > counts[name]:
                counts[name] = count
                so_far[name] = [shuffled[name][:count]]
        before = progress.undecided
        progress = decide(progress, so_far, rules)
        still = set(progress.undecided)
        at |= {(a, b): (counts[a], counts[b]) for a, b in before if (a, b) not in still}
    return _closed(progress, counts, shuffled, at)


def _closed(
    progress: Progress,
    counts: dict[str, int],
    shuffled: Mapping[str, Floats],
    at: dict[ScenarioPair, tuple[int, int]],
) -> Order:
    """The order's outcome; a pair left open has cost all its repetitions, a hopeless one those it had."""
    for a, b in progress.open:
        counts |= {a: shuffled[a].size, b: shuffled[b].size}
    at |= {(a, b): (counts[a], counts[b]) for a, b in progress.undecided}
    return Order(progress.verdicts, at, sum(counts.values()))


def _summarised(
    runs: list[Order], truths: Mapping[ScenarioPair, Truth], recorded: int, seconds: float
) -> Replay:
    wrong = [sum(truths[pair].contradicts(v) for pair, v in run.verdicts.items()) for run in runs]
    shares = np.array([run.measured / recorded for run in runs])
    rows = [_pair_row(pair, truth, runs, seconds) for pair, truth in truths.items()]
    return Replay(
        pairs=pl.DataFrame(rows, schema=COLUMNS, orient="row"),
        orders=len(runs),
        wrong_orders=share_interval(sum(count > 0 for count in wrong), len(runs)),
        wrong_verdicts=share_interval(sum(wrong), len(runs) * len(truths)),
        share_mean=float(shares.mean()),
        share_median=float(np.median(shares)),
        share_p90=float(np.quantile(shares, 0.9)),
        undecided_verdicts=sum(list(run.verdicts.values()).count(PairVerdict.UNDECIDED) for run in runs),
    )


def _pair_row(pair: ScenarioPair, truth: Truth, runs: list[Order], seconds: float) -> dict[str, object]:
    verdicts = [run.verdicts[pair] for run in runs]
    counts = np.array([run.at[pair] for run in runs], dtype=np.float64)
    return {
        "a": pair[0],
        "b": pair[1],
        "full_rejects": truth.rejects,
        "full_equivalent": truth.equivalent,
        "repetitions_a": float(counts[:, 0].mean()),
        "repetitions_b": float(counts[:, 1].mean()),
        "seconds": float(counts.sum(axis=1).mean()) * seconds,
        "differ": verdicts.count(PairVerdict.DIFFER),
        "equivalent": verdicts.count(PairVerdict.EQUIVALENT),
        "undecided": verdicts.count(PairVerdict.UNDECIDED),
        "wrong": sum(truth.contradicts(verdict) for verdict in verdicts),
    }
