"""Looks figures up in a study and cites them: every sentence of advice and every verdict rests on these.

Where the study is a part of the paper's own data without the UDP repetitions, the means of Table A2 take their place,
and every citation of them says so: they are means without samples, so they have no p-value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import polars as pl

from vpnmesh.criteria.catalogue import Fact
from vpnmesh.errors import InputError
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.model import Condition
from vpnmesh.reference import DATA_PLANES
from vpnmesh.report.formatting import p_text
from vpnmesh.report.published import own_planes
from vpnmesh.report.style import condition_title
from vpnmesh.report.tables import Study

PUBLISHED = "paper-A2"
_PRINTED = 0.006
"""How far a mean may be from its printed two digits, with room for the authors' rounding."""


class ConditionKind(StrEnum):
    """What a condition impairs."""

    NONE = "none"
    LOSS = "loss"
    DELAY = "delay"
    BOTH = "both"


def condition_kind(name: str) -> ConditionKind | None:
    """What the condition of that name impairs; None where it is no condition's name (results of others)."""
    try:
        condition = Condition.parse(name)
    except InputError:
        return None
    if condition.loss_pct and condition.delay_ms:
        return ConditionKind.BOTH
    if condition.loss_pct:
        return ConditionKind.LOSS
    return ConditionKind.DELAY if condition.delay_ms else ConditionKind.NONE


@dataclass(frozen=True, slots=True)
class Citation:
    """What a sentence rests on: the table, the row in it, its figures, and all of that in words."""

    table: str
    row: Mapping[str, str]
    figures: Mapping[str, float]
    text: str


@dataclass(frozen=True, slots=True)
class CellMean:
    """A cell's mean; `published` where it is the paper's table and not this study's data."""

    mean_mbit_s: float
    sd_mbit_s: float | None
    measured: int | None
    published: bool


@dataclass(frozen=True, slots=True)
class CpuLoad:
    """CPU of both ends during a cell, in the unit of the study."""

    client_pct: float
    server_pct: float

    @property
    def both_pct(self) -> float:
        """Client and server together."""
        return self.client_pct + self.server_pct


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison read from `a` to `b`: ratio of means a/b with its interval, and the test."""

    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    p: float | None
    p_holm: float | None
    differ: bool | None


Key = tuple[str, str, str]


class Readings:
    """A study's tables by key; `published` = Tables A1 and A2, used only where the study is the paper's."""

    def __init__(self, study: Study, published: pl.DataFrame | None = None) -> None:
        self.study = study
        self.reference = published

    @cached_property
    def _measured(self) -> dict[Key, CellMean]:
        found = {}
        for row in self.study.tables["throughput"].to_dicts():
            if row["mean_mbit_s"] is not None:
                key = (row["test"], row["condition"], row["scenario"])
                found[key] = CellMean(row["mean_mbit_s"], row["sd_mbit_s"], row["measured"], published=False)
        return found

    @cached_property
    def _cells(self) -> dict[Key, CellMean]:
        measured = dict(self._measured)
        tests = {key[0] for key in measured}
        if self.reference is None or not self.is_the_papers:
            return measured
        rows = [row for row in self.reference.to_dicts() if row["test"] not in tests]
        return measured | {
            (row["test"], row["condition"], row["scenario"]): CellMean(
                row["mean_mbit_s"], row["sd_mbit_s"], None, published=True
            )
            for row in rows
        }

    @cached_property
    def is_the_papers(self) -> bool:
        """Whether these are the paper's data: half of Table A1 or more comes out to the printed digits."""
        if self.reference is None:
            return False
        rows = self.reference.filter(pl.col("test") == "tcp").to_dicts()
        same = 0
        for row in rows:
            own = self._measured.get(("tcp", row["condition"], row["scenario"]))
            same += own is not None and abs(own.mean_mbit_s - row["mean_mbit_s"]) < _PRINTED
        return 2 * same >= len(rows) > 0

    @cached_property
    def other_planes(self) -> Mapping[str, str]:
        """The scenarios whose data plane is known to differ from the paper's, each with what it is here and there."""
        return {
            scenario: f"{own} here, {DATA_PLANES[scenario]} there"
            for scenario, own in own_planes(self.study.samples).rows()
            if own != DATA_PLANES.get(scenario, own)
        }

    @cached_property
    def _pairs(self) -> dict[tuple[str, str, str, str], Mapping[str, float | bool | None]]:
        return {
            (row["test"], row["condition"], row["a"], row["b"]): row
            for row in self.study.tables["pairwise"].to_dicts()
        }

    @cached_property
    def _loads(self) -> dict[Key, CpuLoad]:
        ends: dict[Key, dict[str, float]] = {}
        for row in self.study.tables["resources"].to_dicts():
            if row["cpu_pct_mean"] is not None:
                key = (row["test"], row["condition"], row["scenario"])
                ends.setdefault(key, {})[row["end"]] = row["cpu_pct_mean"]
        both = {key: found for key, found in ends.items() if {"client", "server"} <= found.keys()}
        return {key: CpuLoad(found["client"], found["server"]) for key, found in both.items()}

    def tests(self) -> tuple[str, ...]:
        """The tests that there are figures for, measured or published."""
        found = {key[0] for key in self._cells}
        return tuple(name for name in THROUGHPUT_TESTS if name in found)

    def published(self, test: str) -> bool:
        """Whether a test's figures are the paper's table and not this study's data."""
        return any(reading.published for key, reading in self._cells.items() if key[0] == test)

    def conditions(self, test: str, *kinds: ConditionKind) -> tuple[str, ...]:
        """The conditions of these kinds that there are figures for: kind by kind, each in order of severity."""
        found = dict.fromkeys(key[1] for key in self._cells if key[0] == test)
        return tuple(name for kind in kinds for name in found if condition_kind(name) is kind)

    def scenarios(self, test: str, condition: str) -> tuple[str, ...]:
        """The scenarios with a mean in that cell."""
        return tuple(key[2] for key in self._cells if key[:2] == (test, condition))

    def cell(self, test: str, condition: str, scenario: str) -> CellMean | None:
        """A cell's mean, None where nothing is known of it."""
        return self._cells.get((test, condition, scenario))

    def load(self, test: str, condition: str, scenario: str) -> CpuLoad | None:
        """The CPU of both ends, None where it was not recorded."""
        return self._loads.get((test, condition, scenario))

    def pair(self, test: str, condition: str, a: str, b: str) -> Comparison | None:
        """The comparison of a with b, whichever way round the table has it; None where there is none."""
        row = self._pairs.get((test, condition, a, b))
        if row is not None and row["ratio"]:
            low, high = row["ratio_low"], row["ratio_high"]
            return Comparison(row["ratio"], low, high, row["p"], row["p_holm"], _flag(row["reject_holm"]))
        row = self._pairs.get((test, condition, b, a))
        if row is None or not row["ratio"]:
            return None
        low, high = (1 / limit if limit else None for limit in (row["ratio_high"], row["ratio_low"]))
        return Comparison(1 / row["ratio"], low, high, row["p"], row["p_holm"], _flag(row["reject_holm"]))

    def cite_cell(self, test: str, condition: str, scenario: str) -> Citation:
        """A cell's mean in words; KeyError where there is none."""
        reading = self._cells[test, condition, scenario]
        figures = {"mean_mbit_s": reading.mean_mbit_s}
        text = f"{scenario}, {test.upper()}, {condition_title(condition)}: {reading.mean_mbit_s:.4g}"
        if reading.sd_mbit_s is not None:
            figures["sd_mbit_s"] = reading.sd_mbit_s
            text += f" ± {reading.sd_mbit_s:.2g}"
        text += " Mbit/s"
        text += f" (n {reading.measured})" if reading.measured else " (Table A2 as published, not these data)"
        row = {"test": test, "condition": condition, "scenario": scenario}
        return Citation(PUBLISHED if reading.published else "throughput", row, figures, text)

    def cite_pair(self, test: str, condition: str, a: str, b: str) -> Citation:
        """Two cells against each other in words, with the test where there are samples; KeyError without cells."""
        first, second = self._cells[test, condition, a], self._cells[test, condition, b]
        row = {"test": test, "condition": condition, "a": a, "b": b}
        figures = {"mean_a": first.mean_mbit_s, "mean_b": second.mean_mbit_s}
        where = f"{test.upper()}, {condition_title(condition)}"
        text = f"{where}: {a} {first.mean_mbit_s:.4g} against {b} {second.mean_mbit_s:.4g} Mbit/s"
        pair = self.pair(test, condition, a, b)
        if first.published or pair is None:
            ratio = first.mean_mbit_s / second.mean_mbit_s
            source = "; means of Table A2 as published, no samples, so no p" if first.published else ""
            table = PUBLISHED if first.published else "throughput"
            return Citation(table, row, figures | {"ratio": ratio}, f"{text}, ratio {ratio:.2f}{source}")
        figures |= {"ratio": pair.ratio}
        figures |= {k: v for k, v in (("p", pair.p), ("p_holm", pair.p_holm)) if v is not None}
        interval = (
            f" [{pair.ratio_low:.2f}, {pair.ratio_high:.2f}]" if pair.ratio_low and pair.ratio_high else ""
        )
        p = (
            f", p (Holm) {p_text(pair.p_holm)}"
            if pair.p_holm is not None
            else ", too few repetitions for a p"
        )
        return Citation("pairwise", row, figures, f"{text}, ratio {pair.ratio:.2f}{interval}{p}")

    def cite_load(self, test: str, condition: str, scenario: str) -> Citation:
        """The CPU of both ends in words; KeyError where it was not recorded."""
        load = self._loads[test, condition, scenario]
        row = {"test": test, "condition": condition, "scenario": scenario}
        figures = {"client_pct": load.client_pct, "server_pct": load.server_pct}
        where = f"{scenario}, {test.upper()}, {condition_title(condition)}"
        text = f"{where}: CPU {load.client_pct:.1f} % client, {load.server_pct:.1f} % server"
        return Citation("resources", row, figures, text)


def _flag(value: float | bool | None) -> bool | None:  # noqa: FBT001 - a value of a frame, not an option
    return None if value is None else bool(value)


def cite_fact(solution: str, fact: Fact) -> Citation:
    """A dated fact as evidence."""
    figures = {} if fact.seconds is None else {"seconds": fact.seconds}
    row = {"product": solution, "topic": fact.topic, "date": fact.date.isoformat()}
    return Citation("criteria", row, figures, f"{solution}.{fact.topic}: {fact.evidence()}")
