"""Every figure of every kind of test, as one table: mean, spread, interval, and of how many repetitions.

The report needs to know nothing of a kind of test to show what it measured: figures come in long form, a row each, with
a unit and a title.
"""

import polars as pl

from vpnmesh.frames import schemas
from vpnmesh.frames.aggregate import sort_cells, unavailable
from vpnmesh.measurements import figure_named
from vpnmesh.stats.describe import Floats, Summary, describe
from vpnmesh.stats.intervals import fewest_for_interval, mean_interval
from vpnmesh.study.scenarios import Catalogue

FIGURES: dict[str, pl.DataType] = {**schemas.FIGURES, "title": pl.String()}
"""A row per figure of each measured repetition, as in `figures.parquet`; `title` is what a person calls it."""

FIGURE_TABLE: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "figure": pl.String(),
    "title": pl.String(),
    "unit": pl.String(),
    "attempted": pl.Int64(),
    "n": pl.Int64(),
    "pairs": pl.Int64(),
    "mean": pl.Float64(),
    "sd": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "least": pl.Float64(),
    "greatest": pl.Float64(),
}
"""A row per cell and figure; a cell that was attempted in vain has one row without a figure."""

_UNITS = {
    "mbit_s": "Mbit/s",
    "per_s": "1/s",
    "rps": "requests/s",
    "pct": "%",
    "ms": "ms",
    "us": "µs",
    "s": "s",
    "mb": "MB",
    "bytes": "bytes",
}
RATE = "rate_mbit_s"
"""The figure that the throughput sections are about."""
_CELL = ["scenario", "condition", "test"]


def title_and_unit(figure: str) -> tuple[str, str]:
    """How a figure without a description is shown: by its name, and the unit at the end of it ("" for none)."""
    for ending, unit in _UNITS.items():
        if figure.endswith(f"_{ending}"):
            return figure.removesuffix(f"_{ending}").replace("_", " "), unit
    return figure.replace("_", " "), ""


def described(rows: pl.DataFrame) -> pl.DataFrame:
    """Figures as `figures.parquet` has them, in the columns of `FIGURES`: with a title and a unit for people.

    What a test declares of its figure is taken; for one that nobody here knows, its name and the unit at its end.
    """
    names = rows.select("test", "figure").unique(maintain_order=True)
    told = [
        (declared.title, declared.unit)
        if (declared := figure_named(test, figure))
        else title_and_unit(figure)
        for test, figure in names.iter_rows()
    ]
    titles = names.with_columns(
        title=pl.Series([one[0] for one in told], dtype=pl.String),
        unit=pl.Series([one[1] for one in told], dtype=pl.String),
    )
    joined = rows.drop("unit").join(titles, on=["test", "figure"], maintain_order="left")
    return joined.select(list(FIGURES))


def figure_table(samples: pl.DataFrame, figures: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """A row per cell and figure, in the order of all tables; within a cell in the order the test gave them.

    Over several pairs, mean, deviation and interval are of the pairs' means. The interval is Student's, from
    `fewest_for_interval` figures on, as everywhere.
    """
    attempted = samples.filter(~unavailable()).group_by(_CELL).agg(pl.len().cast(pl.Int64).alias("attempted"))
    groups = figures.partition_by(*_CELL, "figure", maintain_order=True)
    described = pl.DataFrame(
        [_described(group) for group in groups],
        schema={name: kind for name, kind in FIGURE_TABLE.items() if name != "attempted"},
        orient="row",
    )
    rows = attempted.join(described, on=_CELL, how="left", maintain_order="right")
    return sort_cells(rows.with_columns(pl.col("n").fill_null(0)), catalogue).select(*FIGURE_TABLE)


def _described(group: pl.DataFrame) -> dict[str, object]:
    values = group["value"].to_numpy()
    # repetitions of one pair say nothing of another: with several, each counts once
    pairs = group.group_by("pair").agg(pl.col("value").mean())["value"].sort()
    summary = describe(pairs.to_numpy() if pairs.len() > 1 else values)
    return {
        **group.select(*_CELL, "figure", "title", "unit").row(0, named=True),
        "n": len(values),
        "pairs": pairs.len() if pairs.len() > 1 else None,
        **mean_and_range(summary, values),
    }


def mean_and_range(summary: Summary, values: Floats) -> dict[str, float | None]:
    """Mean and deviation, Student's interval from `fewest_for_interval` figures on, and the range of the values."""
    interval = mean_interval(summary) if summary.n >= fewest_for_interval() else None
    return {
        "mean": summary.mean,
        "sd": summary.sd,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "least": float(values.min()),
        "greatest": float(values.max()),
    }
