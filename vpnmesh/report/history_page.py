"""The tables and the page of a history: what the newest run is, what changed when, and every line."""

import math
from collections.abc import Mapping, Sequence

import polars as pl

from vpnmesh.report.changes import Gate
from vpnmesh.report.history import History, Line, Series, figure_name, percent
from vpnmesh.report.judged_cells import JudgedCell
from vpnmesh.report.page import Block, FigureBlock, Items, Page, Paragraph, Section, table_block
from vpnmesh.stats.change_points import FEWEST_FOR_CHANGE_POINT, FEWEST_IN_LEVEL

CHANGE_POINTS: dict[str, pl.DataType] = {
    "series": pl.Int64(),
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "run": pl.String(),
    "date": pl.String(),
    "version_before": pl.String(),
    "version": pl.String(),
    "from": pl.Float64(),
    "to": pl.Float64(),
    "change_pct": pl.Float64(),
    "basis": pl.String(),
    "runs_before": pl.Int64(),
    "runs_after": pl.Int64(),
    "p_holm": pl.Float64(),
}
"""A row per change of level; `from` and `to` are the geometric means of the runs on both sides."""
POINTS: dict[str, pl.DataType] = {
    "series": pl.Int64(),
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "run": pl.String(),
    "date": pl.String(),
    "version": pl.String(),
    "attempted": pl.Int64(),
    "measured": pl.Int64(),
    "mean_mbit_s": pl.Float64(),
    "sd_mbit_s": pl.Float64(),
    "value": pl.Float64(),
    "basis": pl.String(),
}
"""A row per run and cell: the lines."""
SHOWN = 20
"""So many runs of a cell are on the page; a thousand would make it five megabytes."""
NEWEST: dict[str, pl.DataType] = {"cell": pl.String(), "verdict": pl.String(), "figures": pl.String()}


def change_table(history: History) -> pl.DataFrame:
    """Every change of level of every line."""
    rows = [row for line in history.lines for row in _changes(line)]
    return pl.DataFrame(rows, schema=CHANGE_POINTS, orient="row")


def _changes(line: Line) -> list[dict[str, object]]:
    borders = [0, *(change.index for change in line.changes), len(line.valued)]
    rows = []
    for place, (change, p) in enumerate(zip(line.changes, line.p_holm, strict=True), start=1):
        first, last = line.valued[change.index], line.valued[change.index - 1]
        before, after = (
            float(line.logs[start:end].mean())
            for start, end in ((borders[place - 1], change.index), (change.index, borders[place + 1]))
        )
        rows.append(
            {
                **_cell(line),
                "run": first.name,
                "date": first.label,
                "version_before": last.version,
                "version": first.version,
                "from": math.exp(before),
                "to": math.exp(after),
                "change_pct": percent(before, after),
                "basis": line.basis,
                "runs_before": change.index - borders[place - 1],
                "runs_after": borders[place + 1] - change.index,
                "p_holm": p,
            }
        )
    return rows


def _cell(line: Line) -> dict[str, object]:
    return {
        "series": line.series,
        "scenario": line.scenario,
        "condition": line.condition,
        "test": line.test,
    }


def point_table(history: History) -> pl.DataFrame:
    """Every run of every line."""
    rows = [
        {
            **_cell(line),
            "run": point.name,
            "date": point.label,
            "version": point.version,
            "attempted": point.attempted,
            "measured": point.sample.n,
            "mean_mbit_s": point.sample.mean,
            "sd_mbit_s": point.sample.sd,
            "value": point.value,
            "basis": line.basis,
        }
        for line in history.lines
        for point in line.points
    ]
    return pl.DataFrame(rows, schema=POINTS, orient="row")


def newest_table(cells: Sequence[JudgedCell]) -> pl.DataFrame:
    """What was said of each cell of the newest run."""
    rows = [(cell.name, verdict(cell), cell.skipped or cell.told or cell.failed) for cell in cells]
    return pl.DataFrame(rows, schema=NEWEST, orient="row")


def verdict(cell: JudgedCell) -> str:
    """`worse`, `not judged`, or `not worse`."""
    return "worse" if cell.failed else "not judged" if cell.skipped else "not worse"


def compose_history(
    history: History, cells: Sequence[JudgedCell], gate: Gate, drawn: Mapping[str, str]
) -> Page:
    """The page of a history."""
    newest = history.newest
    worse = sum(bool(cell.failed) for cell in cells)
    lead = (
        f"{len(history.runs)} runs from {history.runs[0].label} to {newest.label}, by {history.by.value}. The newest"
        f" ({newest.name}) is worse than before in {worse} of {len(cells)} cells."
    )
    sections = (
        Section("newest", "The newest run", _newest(cells, gate)),
        Section("changes", "Changes of level", _change_blocks(history)),
        *(_series(history, series, drawn) for series in history.series),
    )
    return Page("Full-mesh VPNs over time", lead, sections, _facts(history))


def _facts(history: History) -> tuple[tuple[str, str], ...]:
    told = [(f"Series {one.number}", f"{one.runs} runs{_apart(one)}") for one in history.series]
    return (*told, *(("Note", note) for note in history.notes))


def _apart(series: Series) -> str:
    """What sets a series apart; nothing where there is only one."""
    return f": {series.apart}" if series.apart else ""


def _newest(cells: Sequence[JudgedCell], gate: Gate) -> tuple[Block, ...]:
    rule = (
        f"Worse = slower by more than {gate.margin_pct:g} % with a certainty of {gate.certainty:g} (one-sided), or no"
        " figure where earlier runs had some. From six runs of the present level on, the spread from run to run"
        " decides; before, the newest run is compared with the one before it."
    )
    return (Paragraph(rule), table_block("newest", "The cells of the newest run.", newest_table(cells)))


def _change_blocks(history: History) -> tuple[Block, ...]:
    table = change_table(history)
    short = [line for line in history.lines if len(line.valued) < FEWEST_FOR_CHANGE_POINT]
    rule = (
        f"A level is at least {FEWEST_IN_LEVEL} runs long. A change is shown where its p stands after Holm's correction"
        " over all lines (0.05); it says when a level changed, not why: the machine may have changed as well as the"
        " program."
    )
    blocks: list[Block] = [Paragraph(rule)]
    if short:
        told = f"{len(short)} of {len(history.lines)} lines have less than {FEWEST_FOR_CHANGE_POINT} runs with figures"
        blocks.append(Paragraph(f"{told}: no change of level is looked for in them.", "warning"))
    return (*blocks, table_block("changes", "Changes of level.", table))


def _series(history: History, series: Series, drawn: Mapping[str, str]) -> Section:
    blocks: list[Block] = []
    if len(history.series) > 1:
        told = f"These {series.runs} runs are compared with no others, whose figures mean something else"
        blocks.append(Paragraph(f"{told}: here {series.apart}."))
    for test in ("tcp", "udp"):
        name = figure_name(series, test)
        if name in drawn:
            blocks.append(FigureBlock(name, _caption(test), drawn[name]))
    known = tuple(f"{matter}: {value}" for matter, value in series.meaning.items())
    points = point_table(history).filter(series=series.number).drop("series")
    cells = points.group_by("scenario", "condition", "test", maintain_order=True)
    told = f"The newest {SHOWN} runs of every cell at most; the file has all."
    blocks += [
        table_block(f"points-{series.number}", told, cells.tail(SHOWN), file="points"),
        Items("What all runs of this series share", known, folded=True),
    ]
    return Section(f"series-{series.number}", f"Series {series.number}", tuple(blocks))


def _caption(test: str) -> str:
    return (
        f"{test.upper()}: the mean of each run with the standard deviation of its repetitions. Pale bars: levels;"
        " dashed: the first run of a new level."
    )
