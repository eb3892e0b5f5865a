"""What it would cost to know the rest: minutes for the pairs that are open, and what to ask for.

A run that stops when pairs are decided can be gone on with. Any other run is made anew, with as many repetitions as
the open pairs need, since nothing pools runs.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from vpnmesh.cluster import PODS
from vpnmesh.documents.numbers import finite
from vpnmesh.frames.aggregate import CellKey
from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report.answers import ConditionAnswer, PairAnswer
from vpnmesh.report.identity import cluster_of, cluster_option, mapping
from vpnmesh.report.tables import Study
from vpnmesh.report.verdicts import SLOW_START, TOO_FEW, seconds_by_cell
from vpnmesh.stats.compare import fewest_for_test
from vpnmesh.stats.intervals import fewest_for_interval
from vpnmesh.stats.slow_start import MOSTLY
from vpnmesh.study.matrix import switch_s
from vpnmesh.study.profile import DEFAULT_PLACEMENT

LONG_MIN = 60.0
"""A pair that takes longer than this by itself is told apart: it would eat the time of all others."""
BLOCKS = 3
"""Visits to each scenario of a run that is asked for: at one time only, drift looks like the scenario."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Open pairs by what deciding them takes: `soon` ones together take `minutes`, each `later` one over an hour.

    `unknown` counts those of which nobody can say, by the kind of reason.
    """

    soon: tuple[PairAnswer, ...]
    minutes: float
    later: tuple[PairAnswer, ...]
    unknown: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ask:
    """A run to be made anew: `repetitions` of each cell, `duration_s` where the seconds were too few.

    `decides` = how many open pairs it would likely decide; 0 where there are too few figures to say so of any.
    """

    repetitions: int
    duration_s: float | None
    tests: tuple[str, ...]
    conditions: tuple[str, ...]
    scenarios: tuple[str, ...]
    minutes: float | None
    decides: int


def cost(answer: ConditionAnswer) -> Cost:
    """What deciding the open pairs of one answer takes."""
    timed = [pair for pair in answer.open_pairs if pair.minutes_more is not None]
    soon = tuple(pair for pair in timed if (pair.minutes_more or 0) <= LONG_MIN)
    later = tuple(pair for pair in timed if pair not in soon)
    unknown = Counter(pair.why for pair in answer.open_pairs if pair.minutes_more is None)
    return Cost(soon, _minutes(soon), later, unknown)


def _minutes(pairs: Iterable[PairAnswer]) -> float:
    """Together: a scenario's figures serve all its pairs, so each scenario counts once, at its costliest pair."""
    half: dict[str, float] = {}
    for pair in pairs:
        for name in (pair.faster, pair.slower):
            half[name] = max(half.get(name, 0.0), (pair.minutes_more or 0.0) / 2)
    return sum(half.values())


def can_be_continued(study: Study) -> bool:
    """Whether it is a run that measures until pairs are decided."""
    return mapping(study.provenance.get("profile")).get("adaptive") is True


def budget_min(costs: Sequence[Cost], cluster: str = PODS) -> int:
    """Whole minutes for all pairs that are decided soon, with one more visit to each of their scenarios."""
    names = {name for one in costs for pair in one.soon for name in (pair.faster, pair.slower)}
    return math.ceil(sum(one.minutes for one in costs) + len(names) * switch_s(cluster) / 60)


def ask(study: Study, answers: Sequence[ConditionAnswer]) -> Ask | None:
    """What to measure anew: the run within an hour that would decide the most; None where none would help."""
    profile = mapping(study.provenance.get("profile"))
    if (
        study.provenance.get("kind") != "run"
        or can_be_continued(study)
        or not finite(profile.get("duration_s"))
    ):
        return None
    seconds = seconds_by_cell(study.samples)
    wanted = [
        _Wanted(one, pair, _repetitions(one, pair, seconds)) for one in answers for pair in one.open_pairs
    ]
    helped = sorted((one for one in wanted if _helps(one.pair)), key=lambda one: one.repetitions)
    found = None
    for count in sorted({one.repetitions for one in helped}):
        asked = _asked(study, [one for one in helped if one.repetitions <= count], seconds)
        if found is None or (asked.minutes is not None and asked.minutes <= LONG_MIN):
            found = asked
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    answer: ConditionAnswer
    pair: PairAnswer
    repetitions: int


def _asked(study: Study, wanted: Sequence[_Wanted], seconds: Mapping[CellKey, float]) -> Ask:
    profile = mapping(study.provenance.get("profile"))
    repetitions = max(one.repetitions for one in wanted)
    tests = tuple(dict.fromkeys(one.answer.test for one in wanted))
    conditions = conditions_in_order(one.answer.condition for one in wanted)
    names = study.scenarios.in_order({name for one in wanted for name in (one.pair.faster, one.pair.slower)})
    duration_s = _duration_s(study, wanted)
    longer = max((duration_s or 0.0) - float(str(profile["duration_s"])), 0.0)
    once = [
        took + longer
        for (scenario, condition, test), took in seconds.items()
        if scenario in names and condition in conditions and test in tests
    ]
    switching_s = BLOCKS * len(names) * switch_s(cluster_of(study.provenance))
    minutes = (repetitions * sum(once) + switching_s) / 60 if once else None
    decides = sum(one.pair.minutes_more is not None for one in wanted)
    return Ask(repetitions, duration_s, tests, conditions, names, minutes, decides)


def _helps(pair: PairAnswer) -> bool:
    return pair.minutes_more is not None or pair.why in {TOO_FEW, SLOW_START}


def _repetitions(answer: ConditionAnswer, pair: PairAnswer, seconds: Mapping[CellKey, float]) -> int:
    """As many of each side as the pair's minutes are worth, and never fewer than a test and an interval need."""
    least = max(fewest_for_test(len(answer.pairs)), fewest_for_interval())
    both = sum(seconds.get((name, answer.condition, answer.test), 0.0) for name in (pair.faster, pair.slower))
    more = math.ceil((pair.minutes_more or 0.0) * 60 / both) if both else 0
    return max(least, pair.fewest + more)


def _duration_s(study: Study, wanted: Sequence[_Wanted]) -> float | None:
    """The fewest whole seconds of which slow start takes less than half, where it is why pairs are open."""
    slow = {one.answer.condition for one in wanted if one.pair.why == SLOW_START}
    rows = study.tables["throughput"].filter("slow_start", pl.col("condition").is_in(slow))
    needed = rows["slow_start_s"].max()
    omitted = finite(mapping(study.provenance.get("profile")).get("omit_s")) or 0.0
    return float(math.floor((needed - omitted) / MOSTLY) + 1) if isinstance(needed, float) else None


def continued(run: str, minutes: int) -> str:
    """The command that goes on with a run."""
    return f"python -m workflows.full_matrix --resume {run} --budget {minutes}"


def command(study: Study, asked: Ask) -> str:
    """The command that measures anew."""
    duration = asked.duration_s or finite(mapping(study.provenance.get("profile")).get("duration_s"))
    places = study.samples["placement"].drop_nulls().unique().to_list()
    where = f" --placement {places[0]}" if places and places[0] != str(DEFAULT_PLACEMENT) else ""
    return (
        f"python -m workflows.full_matrix --repetitions {asked.repetitions} --blocks {BLOCKS} --duration {duration:g}"
        f" --conditions {','.join(asked.conditions)}{where}{cluster_option(study.provenance)}"
        f" --tests {','.join(asked.tests)} --scenarios {','.join(asked.scenarios)}"
    )
