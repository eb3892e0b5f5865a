"""Figures by cell from the table of repetitions: samples, loads, failures, and the order of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.frames.schemas import ENDS
from vpnmesh.stats.describe import Floats, Tally
from vpnmesh.study.outcome import UNAVAILABLE
from vpnmesh.study.scenarios import Catalogue

CellKey = tuple[str, str, str]
"""Scenario, condition, test."""


@dataclass(frozen=True, slots=True)
class CellSample:
    """A cell's figures: how many were attempted, and the measured rates in their order.

    `unavailable` says what this machine lacked where nothing could be attempted. `near_cap` = the run flagged most of
    the repetitions as near the cap of netem's queue, None where it said nothing. `rtt_ms` is the mean round trip
    between the pods before and after the measured repetitions, None where none was recorded. `pairs` names the pair
    of each rate, where there are several: nothing where the cell is of one pair. `adopted` = how many of the measured
    repetitions were made in other surroundings than the first session's.
    """

    scenario: str
    condition: str
    test: str
    attempted: int
    rates: Floats
    unavailable: str | None = None
    near_cap: bool | None = None
    rtt_ms: float | None = None
    pairs: tuple[str, ...] = ()
    adopted: int = 0

    @property
    def tally(self) -> Tally:
        """What statistics that need no order take: the rates, or each pair's mean where there are several pairs.

        Repetitions of one pair say nothing of another: the more of them, the surer one would be of nothing.
        """
        return Tally.of(
            np.array([rates.mean() for rates in self.by_pair.values()]) if self.pairs else self.rates
        )

    @property
    def by_pair(self) -> dict[str, Floats]:
        """The rates of each pair, where there are several."""
        named = np.array(self.pairs)
        return {pair: self.rates[named == pair] for pair in dict.fromkeys(self.pairs)}

    @property
    def in_time(self) -> Floats:
        """The rates in their order, as drift is looked for: around each pair's own mean where there are several."""
        if not self.pairs:
            return self.rates
        means = {pair: rates.mean() for pair, rates in self.by_pair.items()}
        if len(means) == self.measured:
            return self.rates[:0]
        around: Floats = self.rates - np.array([means[pair] for pair in self.pairs])
        return around + float(self.rates.mean())

    @property
    def measured(self) -> int:
        """How many repetitions gave a figure."""
        return int(self.rates.size)


def measured_rows() -> pl.Expr:
    """True for repetitions with a usable rate: measured, a finite number above zero."""
    rate = pl.col("rate_mbit_s")
    return ((pl.col("outcome") == "measured") & rate.is_finite() & (rate > 0)).fill_null(value=False)


def unavailable() -> pl.Expr:
    """True for the rows of cells that the machine could not attempt: they are neither attempts nor failures."""
    return ((pl.col("outcome") == "failed") & (pl.col("stage") == UNAVAILABLE)).fill_null(value=False)


def cell_samples(samples: pl.DataFrame, catalogue: Catalogue) -> dict[CellKey, CellSample]:
    """The TCP and UDP cells in the order of all tables: scenario, then condition, then test."""
    rows = samples.filter(pl.col("test").is_in(THROUGHPUT_TESTS)).sort(
        "sequence", "repetition", nulls_last=True
    )
    # all cells at once: a filter for each of them and each column takes thirty times as long
    groups = rows.group_by("scenario", "condition", "test", maintain_order=True).agg(**_figures_of_a_cell())
    found = {(row["scenario"], row["condition"], row["test"]): _cell_sample(row) for row in groups.to_dicts()}
    return {cell: found[cell] for cell in in_order(list(found), catalogue)}


def _figures_of_a_cell() -> dict[str, pl.Expr]:
    measured, lacking = measured_rows(), unavailable()
    flags = pl.col("near_cap").filter(measured).drop_nulls()
    round_trips = pl.col("rtt_ms_before").filter(measured).append(pl.col("rtt_ms_after").filter(measured))
    return {
        "attempted": (~lacking).sum(),
        "rates": pl.col("rate_mbit_s").filter(measured),
        "unavailable": pl.col("reason").filter(lacking).first(),
        "near_cap": pl.when(flags.len() > 0).then(2 * flags.sum() > flags.len()),
        "rtt_ms": round_trips.drop_nulls().mean(),
        "pairs": pl.col("pair").filter(measured),
        "adopted": pl.col("adopted").filter(measured).sum(),
    }


def _cell_sample(row: Mapping[str, Any]) -> CellSample:
    pairs = tuple(row["pairs"])
    found = {
        **row,
        "rates": np.array(row["rates"], dtype=np.float64),
        "unavailable": None if row["attempted"] else str(row["unavailable"]),
        "pairs": pairs if len(set(pairs)) > 1 else (),
    }
    return CellSample(**found)


def pairs_of(samples: pl.DataFrame) -> list[str]:
    """The pairs that throughput was measured between; those of all tests where there is none of it.

    A test that asks the master has a pair of its own, which says nothing of the others'.
    """
    throughput = samples.filter(pl.col("test").is_in(THROUGHPUT_TESTS))
    rows = samples if throughput.is_empty() else throughput
    return rows["pair"].drop_nulls().unique().sort().to_list()


def mean_of(rows: pl.DataFrame, column: str) -> float | None:
    """The mean over all values of the column, None where there is none."""
    value = rows[column].mean()
    return value if isinstance(value, float) else None


def means_by_cell(rows: pl.DataFrame, column: str) -> dict[CellKey, float]:
    """The mean of a column over the measured repetitions of each cell that has one."""
    means = (
        rows.filter(outcome="measured")
        .group_by("scenario", "condition", "test", maintain_order=True)
        .agg(pl.col(column).mean())
        .drop_nulls()
    )
    return {(scenario, condition, test): mean for scenario, condition, test, mean in means.iter_rows()}


def in_order(cells: list[CellKey], catalogue: Catalogue) -> list[CellKey]:
    """Cells sorted as tables show them: declared scenarios and the paper's conditions first."""
    scenarios = {name: i for i, name in enumerate(catalogue.in_order(cell[0] for cell in cells))}
    conditions = {name: i for i, name in enumerate(conditions_in_order(cell[1] for cell in cells))}
    return sorted(cells, key=lambda cell: (scenarios[cell[0]], conditions[cell[1]], cell[2]))


def resources(samples: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """CPU and RAM of each end of each cell, over the repetitions that were measured and had a reading."""
    measured = samples.filter(pl.col("outcome") == "measured")
    per_end = [
        measured.filter(pl.col(f"{end}_cpu_pct").is_not_null())
        .group_by("scenario", "condition", "test")
        .agg(
            pl.lit(end).alias("end"),
            pl.len().cast(pl.Int64).alias("n"),
            pl.col(f"{end}_cpu_pct").mean().alias("cpu_pct_mean"),
            pl.col(f"{end}_cpu_pct").std().alias("cpu_pct_sd"),
            pl.col(f"{end}_ram_mb").mean().alias("ram_mb_mean"),
            pl.col(f"{end}_ram_mb").std().alias("ram_mb_sd"),
            pl.col(f"{end}_solution_cpu_pct").mean().alias("solution_cpu_pct_mean"),
            pl.col(f"{end}_solution_cpu_pct").std().alias("solution_cpu_pct_sd"),
            pl.col(f"{end}_solution_ram_mb").mean().alias("solution_ram_mb_mean"),
        )
        for end in ENDS
    ]
    return sort_cells(pl.concat(per_end), catalogue, {end: i for i, end in enumerate(ENDS)})


def failures(samples: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """How many repetitions failed in each cell, at which stage and why."""
    samples = samples.filter(~unavailable())
    failed = (
        samples.filter(pl.col("outcome") != "measured")
        .group_by("scenario", "condition", "test", "stage", "reason")
        .agg(pl.len().cast(pl.Int64).alias("failed"))
    )
    attempted = samples.group_by("scenario", "condition", "test").agg(
        pl.len().cast(pl.Int64).alias("attempted")
    )
    joined = failed.join(attempted, on=["scenario", "condition", "test"], nulls_equal=True)
    columns = ("scenario", "condition", "test", "attempted", "failed", "stage", "reason")
    # groups and joins come in any order: without this the reasons of one cell would be in another order each time
    return sort_cells(joined.select(columns).sort("stage", "reason"), catalogue)


def sort_cells(
    frame: pl.DataFrame, catalogue: Catalogue, ends: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """The rows in the order of all tables, then as they came (by `end` where there is one)."""
    scenarios = {name: i for i, name in enumerate(catalogue.in_order(frame["scenario"].drop_nulls()))}
    conditions = {name: i for i, name in enumerate(conditions_in_order(frame["condition"].drop_nulls()))}
    keys = [
        pl.col("scenario").replace_strict(scenarios, return_dtype=pl.Int64, default=None),
        pl.col("condition").replace_strict(conditions, return_dtype=pl.Int64, default=None),
        pl.col("test"),
    ]
    if ends:
        keys.append(pl.col("end").replace_strict(ends, return_dtype=pl.Int64, default=None))
    return frame.sort(keys, nulls_last=True, maintain_order=True)
