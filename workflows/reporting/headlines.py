"""At the end of a run: the headline figure of every test beside throughput, by scenario and condition."""

from collections.abc import Iterator

import polars as pl
from rich.table import Table

from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.report.tables import Study


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
    conditions = conditions_in_order(rows["condition"])
    table = Table(title=title, title_justify="left")
    table.add_column("scenario", no_wrap=True)
    for condition in conditions:
        table.add_column(condition, justify="right")
    cells = {(row["scenario"], row["condition"]): row for row in rows.to_dicts()}
    for scenario in dict.fromkeys(rows["scenario"]):
        table.add_row(scenario, *(_text(cells.get((scenario, one)), decimals) for one in conditions))
    return table


def _text(row: dict[str, float | None] | None, decimals: int) -> str:
    if row is None:
        return ""
    spread = "" if row["sd"] is None else f" ± {row['sd']:.{decimals}f}"
    return f"{row['mean']:.{decimals}f}{spread}\n{row['n']}/{row['attempted']}"
