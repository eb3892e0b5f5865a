"""Looks figures up in a study and cites them: every sentence of advice and every verdict rests on these.

Where the study is a part of the paper's own data without the UDP repetitions, the means of Table A2 take their place,
and every citation of them says so: they are means without samples, so they have no p-value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import polars as pl

from vpnmesh.criteria.catalogue import DatedFact
from vpnmesh.errors import InputError
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.model import Condition
from vpnmesh.reference import DATA_PLANES
from vpnmesh.report.formatting import p_text
from vpnmesh.report.published import own_planes
from vpnmesh.report.style import condition_title
from vpnmesh.report.tables import Study
from vpnmesh.stats.sequential import PairVerdict

PUBLISHED = "paper-A2"
_PRINTED = 0.006
"""How far a mean may be from its printed two digits, with room for the authors' rounding."""


class ConditionKind(StrEnum):
    """What a condition impairs; other is more than loss and delay, of which no need and no claim is judged."""

    NONE = "none"
    LOSS = "loss"
    DELAY = "delay"
    BOTH = "both"
    OTHER = "other"


def condition_kind(name: str) -> ConditionKind | None:
    """What the condition of that name impairs; None where it is no condition's name (results of others)."""
    try:
        condition = Condition.parse(name)
    except InputError:
        return None
    if not condition.is_plain:
        return ConditionKind.OTHER
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
class PairRatio:
    """Scenario a against b: the ratio of their means a/b with its interval, and the p-value of the test."""

    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    p: float | None
    p_holm: float | None

    def words(self) -> str:
        """Ratio, interval and p-value as a sentence goes on with them."""
        interval = (
            f" [{self.ratio_low:.2f}, {self.ratio_high:.2f}]" if self.ratio_low and self.ratio_high else ""
        )
        few = ", too few repetitions for a p"
        p = few if self.p_holm is None else f", p (Holm) {p_text(self.p_holm)}"
        return f", ratio {self.ratio:.2f}{interval}{p}"


Key = tuple[str, str, str]
"""Test, condition, scenario."""


def _key(row: Mapping[str, Any]) -> Key:
    return row["test"], row["condition"], row["scenario"]


class Readings:
    """A study's tables by key; `published` = Tables A1 and A2, used only where the study is the paper's."""

    def __init__(self, study: Study, published: pl.DataFrame | None = None) -> None:
        self.study = study
        self.reference = published

    @cached_property
    def _measured(self) -> dict[Key, CellMean]:
        rows = self.study.tables["throughput"].drop_nulls("mean_mbit_s").to_dicts()
        return {
            _key(row): CellMean(row["mean_mbit_s"], row["sd_mbit_s"], row["measured"], published=False)
            for row in rows
        }

    @cached_property
    def _cells(self) -> dict[Key, CellMean]:
        measured = dict(self._measured)
        tests = {key[0] for key in measured}
        if self.reference is None or not self.is_the_papers:
            return measured
        rows = [row for row in self.reference.to_dicts() if row["test"] not in tests]
        return measured | {
            _key(row): CellMean(row["mean_mbit_s"], row["sd_mbit_s"], None, published=True) for row in rows
        }

    @cached_property
    def is_the_papers(self) -> bool:
        """Whether these are the paper's data: half of Table A1 or more comes out to the printed digits."""
        if self.reference is None:
            return False
        rows = self.reference.filter(pl.col("test") == "tcp").to_dicts()
        pairs = [(self._measured.get(_key(row)), row["mean_mbit_s"]) for row in rows]
        same = sum(
            own is not None and abs(own.mean_mbit_s - float(printed)) < _PRINTED for own, printed in pairs
        )
        return 2 * same >= len(rows) > 0

    @cached_property
    def other_planes(self) -> Mapping[str, str]:
        """The scenarios whose data plane is known to differ from the paper's, each with both in words."""
        return {
            scenario: f"{own} here, {DATA_PLANES[scenario]} there"
            for scenario, own in own_planes(self.study.samples).rows()
            if own != DATA_PLANES.get(scenario, own)
        }

    @cached_property
    def _pairs(self) -> dict[tuple[str, str, str, str], Mapping[str, float | None]]:
        return {
            (row["test"], row["condition"], row["a"], row["b"]): row
            for row in self.study.tables["pairwise"].to_dicts()
        }

    @cached_property
    def _loads(self) -> dict[Key, CpuLoad]:
        ends: dict[Key, dict[str, float]] = {}
        for row in self.study.tables["resources"].drop_nulls("cpu_pct_mean").to_dicts():
            ends.setdefault(_key(row), {})[row["end"]] = row["cpu_pct_mean"]
        both = {key: found for key, found in ends.items() if {"client", "server"} <= found.keys()}
        return {key: CpuLoad(found["client"], found["server"]) for key, found in both.items()}

    def tests(self) -> tuple[str, ...]:
        """The tests that there are figures for, measured or published."""
        found = {key[0] for key in self._cells}
        return tuple(name for name in THROUGHPUT_TESTS if name in found)

    def published(self, test: str) -> bool:
        """Whether a test's figures are the paper's table and not this study's data."""
        return any(mean.published for key, mean in self._cells.items() if key[0] == test)

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

    def pair(self, test: str, condition: str, a: str, b: str) -> PairRatio | None:
        """The comparison of a with b, whichever way round the table has it; None where there is none."""
        row = self._pairs.get((test, condition, a, b))
        if row is not None and row["ratio"]:
            low, high = row["ratio_low"], row["ratio_high"]
            return PairRatio(row["ratio"], low, high, row["p"], row["p_holm"])
        row = self._pairs.get((test, condition, b, a))
        if row is None or not row["ratio"]:
            return None
        low, high = (1 / limit if limit else None for limit in (row["ratio_high"], row["ratio_low"]))
        return PairRatio(1 / row["ratio"], low, high, row["p"], row["p_holm"])

    def verdict(self, test: str, condition: str, a: str, b: str) -> PairVerdict | None:
        """What is decided of the two, whichever way round the table has them; None where nobody compared samples."""
        found = self._verdicts.get((test, condition, a, b)) or self._verdicts.get((test, condition, b, a))
        return PairVerdict(found) if found else None

    @cached_property
    def _verdicts(self) -> dict[tuple[str, str, str, str], str]:
        rows = self.study.tables["verdicts"].to_dicts()
        return {(row["test"], row["condition"], row["a"], row["b"]): row["verdict"] for row in rows}

    def cite_cell(self, test: str, condition: str, scenario: str) -> Citation:
        """A cell's mean in words; KeyError where there is none."""
        mean = self._cells[test, condition, scenario]
        figures = {"mean_mbit_s": mean.mean_mbit_s}
        text = f"{scenario}, {test.upper()}, {condition_title(condition)}: {mean.mean_mbit_s:.4g}"
        if mean.sd_mbit_s is not None:
            figures["sd_mbit_s"] = mean.sd_mbit_s
            text += f" ± {mean.sd_mbit_s:.2g}"
        text += " Mbit/s"
        text += f" (n {mean.measured})" if mean.measured else " (Table A2 as published, not these data)"
        row = {"test": test, "condition": condition, "scenario": scenario}
        return Citation(PUBLISHED if mean.published else "throughput", row, figures, text)

    def cite_pair(self, test: str, condition: str, a: str, b: str) -> Citation:
        """Two cells against each other in words, with the test where there are samples; KeyError without cells."""
        first, second = self._cells[test, condition, a], self._cells[test, condition, b]
        row = {"test": test, "condition": condition, "a": a, "b": b}
        figures = {"mean_a": first.mean_mbit_s, "mean_b": second.mean_mbit_s}
        where = f"{test.upper()}, {condition_title(condition)}"
        text = f"{where}: {a} {first.mean_mbit_s:.4g} against {b} {second.mean_mbit_s:.4g} Mbit/s"
        pair = self.pair(test, condition, a, b)
        if first.published or pair is None:
            figures["ratio"] = first.mean_mbit_s / second.mean_mbit_s
            source = "; means of Table A2 as published, no samples, so no p" if first.published else ""
            table = PUBLISHED if first.published else "throughput"
            return Citation(table, row, figures, f"{text}, ratio {figures['ratio']:.2f}{source}")
        figures["ratio"] = pair.ratio
        figures |= {k: v for k, v in (("p", pair.p), ("p_holm", pair.p_holm)) if v is not None}
        return Citation("pairwise", row, figures, text + pair.words())

    def cite_load(self, test: str, condition: str, scenario: str) -> Citation:
        """The CPU of both ends in words; KeyError where it was not recorded."""
        load = self._loads[test, condition, scenario]
        row = {"test": test, "condition": condition, "scenario": scenario}
        figures = {"client_pct": load.client_pct, "server_pct": load.server_pct}
        where = f"{scenario}, {test.upper()}, {condition_title(condition)}"
        text = f"{where}: CPU {load.client_pct:.1f} % client, {load.server_pct:.1f} % server"
        return Citation("resources", row, figures, text)


def cite_fact(solution: str, fact: DatedFact) -> Citation:
    """A dated fact as evidence."""
    figures = {} if fact.seconds is None else {"seconds": fact.seconds}
    row = {"product": solution, "topic": fact.topic, "date": fact.date.isoformat()}
    return Citation("criteria", row, figures, f"{solution}.{fact.topic}: {fact.evidence()}")
