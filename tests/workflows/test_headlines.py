"""The tables that end a run: every test beside throughput with its headline figure."""

import io

import polars as pl
from rich.console import Console

from vpnmesh.frames.schemas import API, RESULTS, empty
from vpnmesh.report.figure_tables import FIGURE_TABLE
from vpnmesh.report.tables import Study
from workflows.reporting.headlines import headline_tables


def printed(*rows: dict[str, object]) -> list[str]:
    """What is printed of a study that holds nothing but these rows of the table of figures."""
    figures = pl.DataFrame([{**dict.fromkeys(FIGURE_TABLE), **row} for row in rows], schema=FIGURE_TABLE)
    study = Study(empty(RESULTS), empty(API).lazy(), {"figures": figures})
    console = Console(file=io.StringIO(), width=100)
    for table in headline_tables(study):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def row(test: str, figure: str, condition: str = "none", **facts: object) -> dict[str, object]:
    """A row of native-1450."""
    counted = {"attempted": 3, "n": 2, "mean": 7.26, "sd": 2.44}
    return {
        "scenario": "native-1450",
        "condition": condition,
        "test": test,
        "figure": figure,
        **counted,
        **facts,
    }


def test_the_headline_of_each_test_by_condition() -> None:
    """Conditions in the paper's order; a single repetition has no deviation; other figures are the report's."""
    told = printed(
        row("api", "p50_ms", "delay-50ms", mean=81.4, sd=None),
        row("api", "p99_ms", mean=999.0),
        row("api", "p50_ms"),
        row("tcp", "rate_mbit_s"),
        row("ping", "rtt_ms"),
    )
    assert " ".join(told).startswith("api: median response time, ms: mean ± sd, measured of attempted ┏")
    assert "┃ scenario ┃ none ┃ delay-50ms ┃" in told
    assert "│ native-1450 │ 7.3 ± 2.4 │ 81.4 │" in told
    assert sum(line.startswith("ping: ") for line in told) == 1
    assert not any("tcp" in line or "999" in line for line in told)


def test_of_a_test_that_is_gone_there_is_no_table() -> None:
    """As when the results of a plug-in are read without it."""
    assert printed(row("dns", "answer_ms")) == []
    assert printed() == []
