"""Many runs in a row: a line per cell over dates or versions, with the changes of its level.

Runs whose figures do not mean the same (substrate, engine, placement, durations: `vpnmesh.report.setting.meaning`) are
never on one line: they are another series. Along a line rates are used as they are where all its runs were on the same
machine, kernel and pair of nodes; otherwise each is divided by its own run's baseline.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import groupby

import numpy as np
import polars as pl

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report.versions import order_of
from vpnmesh.stats.change_points import ChangePoint, change_points
from vpnmesh.stats.compare import ALPHA, holm
from vpnmesh.stats.describe import Summary
from vpnmesh.study.scenarios import BUILT_IN


class By(StrEnum):
    """What a line runs over: the days of its runs, or the versions of the program under test."""

    DATE = "date"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Point:
    """What one run measured of a cell. `baseline` = its baseline's sample, where it has one that the others have."""

    run: str
    name: str
    started_at: datetime | None
    version: str | None
    machine: str
    attempted: int
    sample: Summary
    reason: str | None
    baseline: Summary | None = None

    @property
    def value(self) -> float | None:
        """The mean, or its share of the baseline's; None where there is none."""
        if not self.sample.mean or (self.baseline and not self.baseline.mean):
            return None
        return self.sample.mean / ((self.baseline and self.baseline.mean) or 1.0)

    @property
    def spread(self) -> float | None:
        """The standard deviation of the repetitions, in the unit of the value."""
        mean, value = self.sample.mean, self.value
        if self.sample.sd is None or not mean or value is None:
            return None
        return self.sample.sd * value / mean

    @property
    def label(self) -> str:
        """The day of the run, else its name."""
        return f"{self.started_at:%Y-%m-%d %H:%M}" if self.started_at else self.name


@dataclass(frozen=True)
class Line:
    """A cell over the runs of one series, in their order; `changes` count points that have a value."""

    series: int
    scenario: str
    condition: str
    test: str
    meant: str
    relative: bool
    points: tuple[Point, ...]
    changes: tuple[ChangePoint, ...] = ()
    p_holm: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.scenario} {self.condition} {self.test}"

    @property
    def basis(self) -> str:
        """The unit of the values, in words."""
        return "share of own baseline" if self.relative else "Mbit/s"

    @cached_property
    def valued(self) -> tuple[Point, ...]:
        """The points that have a value: what a change point's index counts."""
        return tuple(point for point in self.points if point.value is not None)

    @cached_property
    def logs(self) -> np.ndarray:
        """The logarithms of the values: a change is a ratio."""
        return np.log([point.value or 1.0 for point in self.valued])


@dataclass(frozen=True, slots=True)
class Series:
    """Runs whose figures mean the same, and what sets them apart from the other series, in words."""

    number: int
    meaning: Mapping[str, str]
    runs: int
    apart: str


@dataclass(frozen=True, slots=True)
class History:
    """All lines, the series they belong to, and the runs by their age."""

    by: By
    series: tuple[Series, ...]
    lines: tuple[Line, ...]
    runs: tuple[Point, ...]
    notes: tuple[str, ...] = ()

    @property
    def newest(self) -> Point:
        """The newest run, as one of its cells tells it."""
        return self.runs[-1]


_CELL = ["meaning", "scenario", "meant", "condition", "test"]
_RUN = ["run", "name", "started_at", "version", "machine", "baseline"]


def history(rows: pl.LazyFrame, by: By, *, relative: bool = False) -> History:
    """The history of these rows (`HISTORY` and the column `run`); only what lines need is read of them.

    `relative` = divide by the own baseline also where all runs were on the same machine.
    """
    rate = pl.col("rate_mbit_s")
    cells = (
        rows.group_by(*_CELL, *_RUN)
        .agg(
            pl.len().alias("attempted"),
            rate.count().alias("n"),
            rate.mean().alias("mean"),
            rate.std().alias("sd"),
            pl.col("reason").drop_nulls().first().alias("reason"),
        )
        .collect()
    )
    numbers = _numbered(cells)
    lines = _lines(cells, numbers, by, relative=relative)
    return History(by, _series(cells, numbers), _kept(lines), _runs(lines), tuple(_notes(lines, by)))


def _numbered(cells: pl.DataFrame) -> dict[str, int]:
    """The meanings by number: the series of the oldest run first."""
    order = cells.group_by("meaning").agg(pl.col("started_at").min(), pl.col("name").min())
    meanings = order.sort("started_at", "name", nulls_last=True)["meaning"]
    return {meaning: number for number, meaning in enumerate(meanings, start=1)}


def _series(cells: pl.DataFrame, numbers: Mapping[str, int]) -> tuple[Series, ...]:
    known = {number: json.loads(meaning) for meaning, number in numbers.items()}
    matters = dict.fromkeys(matter for one in known.values() for matter in one)
    differing = [matter for matter in matters if len({one.get(matter) for one in known.values()}) > 1]
    runs = {numbers[str(meaning)]: rows["run"].n_unique() for (meaning,), rows in cells.group_by("meaning")}
    return tuple(
        Series(number, one, runs[number], ", ".join(f"{matter} {one.get(matter)}" for matter in differing))
        for number, one in known.items()
    )


def _lines(cells: pl.DataFrame, numbers: Mapping[str, int], by: By, *, relative: bool) -> list[Line]:
    groups = cells.partition_by(_CELL, as_dict=True)
    baselines = _baselines(cells)
    lines = []
    for (meaning, scenario, meant, condition, test), rows in groups.items():
        key = (str(meaning), str(condition), str(test))
        points = sorted(map(_point, rows.to_dicts()), key=lambda point: _place(point, by))
        divided = relative or len({point.machine for point in points}) > 1
        if divided:
            # a baseline over itself says nothing: it keeps its repetitions and has no value
            own = not rows["baseline"].drop_nulls().is_empty()
            points = _over_baseline(points, {} if own else baselines.get(key, {}))
        lines.append(Line(numbers[key[0]], str(scenario), key[1], key[2], str(meant), divided, tuple(points)))
    return _ordered(lines)


def _point(row: Mapping[str, object]) -> Point:
    started = row["started_at"]
    return Point(
        str(row["run"]),
        str(row["name"]),
        started if isinstance(started, datetime) else None,
        None if row["version"] is None else str(row["version"]),
        str(row["machine"]),
        int(str(row["attempted"])),
        _summary(row),
        None if row["reason"] is None else str(row["reason"]),
    )


def _summary(row: Mapping[str, object]) -> Summary:
    mean, sd = row["mean"], row["sd"]
    return Summary(
        int(str(row["n"])), mean if isinstance(mean, float) else None, sd if isinstance(sd, float) else None
    )


def _place(point: Point, by: By) -> tuple[object, ...]:
    """Where a point stands on its line: by version and then by age, or by age alone; without a date first.

    A run that nobody can date must not pass for the newest.
    """
    age = (
        point.started_at is not None,
        point.started_at.timestamp() if point.started_at else 0.0,
        point.name,
    )
    if by is By.DATE:
        return age
    return (order_of((point.version or "").rpartition(" ")[2]), point.version or "", *age)


BaselinesByRun = Mapping[str, Mapping[int, Summary]]


def _baselines(cells: pl.DataFrame) -> dict[tuple[str, str, str], BaselinesByRun]:
    """The baselines' samples by series, condition and test: run -> place among the baselines -> sample."""
    found: dict[tuple[str, str, str], dict[str, dict[int, Summary]]] = {}
    for row in cells.filter(pl.col("baseline").is_not_null() & (pl.col("n") > 0)).to_dicts():
        key = (str(row["meaning"]), str(row["condition"]), str(row["test"]))
        found.setdefault(key, {}).setdefault(str(row["run"]), {})[int(row["baseline"])] = _summary(row)
    return dict(found)


def _over_baseline(points: Sequence[Point], baselines: BaselinesByRun) -> list[Point]:
    """The points with the first baseline that all of their runs have; those without any have no value left."""
    shared = [set(baselines.get(point.run, {})) for point in points]
    common = set.intersection(*shared) if shared else set()
    first = min(common, default=None)
    nothing = Summary(0, None, None)
    return [
        replace(point, baseline=nothing if first is None else baselines[point.run][first]) for point in points
    ]


def _ordered(lines: Iterable[Line]) -> list[Line]:
    found = list(lines)
    scenarios = {name: i for i, name in enumerate(BUILT_IN.in_order(line.scenario for line in found))}
    conditions = {name: i for i, name in enumerate(conditions_in_order(line.condition for line in found))}
    return sorted(
        found,
        key=lambda one: (one.series, one.test, conditions[one.condition], scenarios[one.scenario], one.meant),
    )


def _kept(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines with the changes that stand after Holm's correction over all changes of all lines."""
    found = [change_points(line.logs) for line in lines]
    adjusted = iter(holm([point.p for points in found for point in points]))
    kept = []
    for line, points in zip(lines, found, strict=True):
        judged = [(point, next(adjusted) or 0.0) for point in points]
        stands = [(point, p) for point, p in judged if p < ALPHA]
        kept.append(
            replace(line, changes=tuple(point for point, _ in stands), p_holm=tuple(p for _, p in stands))
        )
    return tuple(kept)


def _runs(lines: Sequence[Line]) -> tuple[Point, ...]:
    """One point per run, the oldest run first."""
    by_run = {point.run: point for line in lines for point in line.points}
    return tuple(sorted(by_run.values(), key=lambda point: _place(point, By.DATE)))


def _notes(lines: Sequence[Line], by: By) -> Iterable[str]:
    """What a reader must know of the lines: relative ones, scenarios that were two things, versions not told."""
    if relative := dict.fromkeys(line.scenario for line in lines if line.relative):
        yield (
            "runs on more than one machine, kernel or pair of nodes, or a gate that asks for it: each figure is divided"
            f" by its own run's baseline, and baselines have no line of their own: {', '.join(relative)}"
        )
    for (_, scenario), group in groupby(
        sorted(lines, key=lambda one: (one.series, one.scenario)), key=lambda one: (one.series, one.scenario)
    ):
        meant = sorted({line.meant for line in group})
        if len(meant) > 1:
            yield f"{scenario} was {len(meant)} things, so it has as many lines: {'; '.join(meant)}"
    if by is By.VERSION and (
        mute := dict.fromkeys(line.scenario for line in lines if any(not one.version for one in line.points))
    ):
        yield f"no version was told by the runs of {', '.join(mute)}: these stand first, by date"


def percent(before: float, after: float) -> float:
    """By how many percent a level changed, from the logarithms of both."""
    return 100 * (math.exp(after - before) - 1)


def figure_name(series: Series, test: str) -> str:
    """The name of the figure of a series and test."""
    return f"history-{series.number}-{test}"
