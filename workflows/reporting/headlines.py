"""At the end of a run: the headline figure of every test beside throughput, by scenario and condition."""

from collections.abc import Iterator

import polars as pl
from rich.table import Table

from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.report.tables import Study
from workflows.run.progress import by_condition


def headline_tables(study: Study) -> Iterator[Table]:
    """One table per test that gave figures; none of a test that nobody here knows."""
    rows = study.tables["figures"]
    for test in dict.fromkeys(rows["test"]):
        measurement = MEASUREMENTS.get(test)
        if test in THROUGHPUT_TESTS or measurement is None:
            continue
        headline = measurement.figures[0]
        mine = rows.filter(pl.col("test") == test, pl.col("figure") == headline.name)
        if len(mine):
            unit = f", {headline.unit}" if headline.unit else ""
            title = f"{test}: {headline.title}{unit}: mean ± sd, measured of attempted"
            yield _table(title, mine, headline.decimals)


def _table(title: str, rows: pl.DataFrame, decimals: int) -> Table:
    cells = {(row["scenario"], row["condition"]): _text(row, decimals) for row in rows.to_dicts()}
    labels = {scenario: scenario for scenario in dict.fromkeys(rows["scenario"])}
    return by_condition(title, labels, conditions_in_order(rows["condition"]), cells)


def _text(row: dict[str, float | None], decimals: int) -> str:
    spread = "" if row["sd"] is None else f" ± {row['sd']:.{decimals}f}"
    return f"{row['mean']:.{decimals}f}{spread}\n{row['n']}/{row['attempted']}"
