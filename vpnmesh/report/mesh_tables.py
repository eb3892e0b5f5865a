"""Pair by pair: the headline figure of every pair as one table, where a run measured more than one pair."""

import polars as pl

from vpnmesh.frames.aggregate import sort_cells, unavailable
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.model import Pair
from vpnmesh.study.scenarios import Catalogue

MESH = "mesh"
TABLE: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "pair": pl.String(),
    "client": pl.String(),
    "server": pl.String(),
    "figure": pl.String(),
    "title": pl.String(),
    "unit": pl.String(),
    "attempted": pl.Int64(),
    "measured": pl.Int64(),
    "median": pl.Float64(),
    "lowest": pl.Float64(),
    "highest": pl.Float64(),
    "at_once": pl.Int64(),
}
"""A row per pair and cell, with the test's headline figure; `at_once` = the most pairs measured at the same time."""

_CELL = ["scenario", "condition", "test", "pair"]


def by_pair(samples: pl.DataFrame, figures: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """The table; empty where each cell has one pair. `figures` as `figure_tables.FIGURES` has them."""
    attempts = samples.filter(~unavailable() & pl.col("pair").is_not_null())
    # of a test between several pairs: one that asks the master has a pair of its own beside the others'
    attempts = attempts.filter(pl.col("pair").n_unique().over("test") > 1)
    if attempts.is_empty():
        return pl.DataFrame(schema=TABLE)
    counted = attempts.group_by(_CELL).agg(
        pl.len().cast(pl.Int64).alias("attempted"), pl.col("at_once").max().cast(pl.Int64)
    )
    value = pl.col("value")
    described = (
        figures.filter(_is_headline(figures))
        .group_by(*_CELL, "figure", "title", "unit")
        .agg(
            pl.len().cast(pl.Int64).alias("measured"),
            value.median().alias("median"),
            value.min().alias("lowest"),
            value.max().alias("highest"),
        )
    )
    rows = counted.join(described, on=_CELL, how="left").with_columns(
        pl.col("measured").fill_null(0),
        pl.col("pair").map_elements(lambda one: Pair.parse(one).client, pl.String).alias("client"),
        pl.col("pair").map_elements(lambda one: Pair.parse(one).server, pl.String).alias("server"),
    )
    return sort_cells(rows.select(*TABLE).sort("pair"), catalogue)


def _is_headline(figures: pl.DataFrame) -> pl.Series:
    """Which rows are the first figure of their test: what it is about, as progress shows it."""
    known = {
        test: found.figures[0].name for test in figures["test"].unique() if (found := MEASUREMENTS.get(test))
    }
    return pl.Series([known.get(test) == figure for test, figure in figures.select("test", "figure").rows()],
                     dtype=pl.Boolean)  # fmt: skip
