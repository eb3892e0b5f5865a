"""How flows start: throughput over time since a flow's start, and how long each scenario takes to fill the pipe."""

import math

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import sort_cells
from vpnmesh.model import Condition
from vpnmesh.study.scenarios import Catalogue

SERIES: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "pair": pl.String(),
    "repetition": pl.Int64(),
    "start_s": pl.Float64(),
    "end_s": pl.Float64(),
    "rate_mbit_s": pl.Float64(),
}
"""A row per interval of a repetition, as the receiver saw it; seconds since the flow's start."""

RAMP: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "at_s": pl.Float64(),
    "n": pl.Int64(),
    "median_mbit_s": pl.Float64(),
    "quartile_low_mbit_s": pl.Float64(),
    "quartile_high_mbit_s": pl.Float64(),
}
"""A row per cell and time; quartiles from `FEWEST_FOR_BAND` flows on."""

FILL: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "n": pl.Int64(),
    "fill_s_median": pl.Float64(),
    "fill_s_lowest": pl.Float64(),
    "fill_s_highest": pl.Float64(),
    "steady_s_median": pl.Float64(),
}
"""A row per cell with times until nine tenths of the steady rate, and until the flow counted as steady."""

FEWEST_FOR_BAND = 4
"""With fewer flows their quartiles would be the flows themselves."""
_CELL = ["scenario", "condition", "test"]
_FLOW = [*_CELL, "pair", "repetition"]


def ramp(series: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Median and quartiles of each cell's flows over time; every rate is the mean of the round trip that ends then."""
    parts = [_of_cell(cell) for cell in series.partition_by(_CELL, maintain_order=True)]
    return _in_order(pl.concat(parts) if parts else pl.DataFrame(schema=RAMP), catalogue)


def fill(figures: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """How long cells took to fill the pipe, of the figures in long form; nothing for runs without such figures."""
    named = figures.filter(pl.col("figure").is_in(("fill_s", "steady_s")))
    value, filled = pl.col("value"), pl.col("figure") == "fill_s"
    rows = named.group_by(_CELL, maintain_order=True).agg(
        filled.sum().cast(pl.Int64).alias("n"),
        value.filter(filled).median().alias("fill_s_median"),
        value.filter(filled).min().alias("fill_s_lowest"),
        value.filter(filled).max().alias("fill_s_highest"),
        value.filter(~filled).median().alias("steady_s_median"),
    )
    return _in_order(rows.filter(pl.col("n") > 0).select(*FILL), catalogue)


def _in_order(rows: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    return rows if rows.is_empty() else sort_cells(rows, catalogue)


def _of_cell(cell: pl.DataFrame) -> pl.DataFrame:
    """One cell: its flows are as long as each other and have the same intervals, but for rounding."""
    step_s = float((cell["end_s"] - cell["start_s"]).median() or 0.1)  # type: ignore[arg-type]
    size = max(1, math.ceil(_round_trip_s(str(cell["condition"][0])) / step_s - 0.01))
    rate, enough = pl.col("rate"), pl.len() >= FEWEST_FOR_BAND
    smooth = pl.col("rate_mbit_s").rolling_mean(size, min_samples=1).over(_FLOW)
    return (
        cell.with_columns(place=(pl.col("end_s") / step_s).round(), rate=smooth)
        .group_by(*_CELL, "place", maintain_order=True)
        .agg(
            pl.col("end_s").median().round(2).alias("at_s"),
            pl.len().cast(pl.Int64).alias("n"),
            rate.median().alias("median_mbit_s"),
            pl.when(enough).then(rate.quantile(0.25, "linear")).alias("quartile_low_mbit_s"),
            pl.when(enough).then(rate.quantile(0.75, "linear")).alias("quartile_high_mbit_s"),
        )
        .sort("place")
        .select(*RAMP)
    )


def _round_trip_s(condition: str) -> float:
    try:
        return Condition.parse(condition).round_trip_ms / 1000
    except InputError:
        return 0.0
