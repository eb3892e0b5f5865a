"""Many runs in a row on the terminal and as pages: what changed when, and whether the newest run is worse."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.table import Table

from vpnmesh.errors import InputError
from vpnmesh.report.changes import Gate
from vpnmesh.report.formatting import significant
from vpnmesh.report.history import By, History, history
from vpnmesh.report.history_gate import judge_newest
from vpnmesh.report.history_page import change_table, compose_history, newest_table, point_table, verdict
from vpnmesh.report.judged_cells import JudgedCell
from vpnmesh.report.render import render_html, render_markdown
from workflows.reporting.comparing import read_gate, write_junit
from workflows.reporting.history_store import runs_in, take
from workflows.reporting.presenting import write_tables
from workflows.run.progress import make_console
from workflows.run.terminal import say


def tell_history(
    folders: Sequence[Path], out: Path, by: By, gate_file: Path | None, junit: Path | None
) -> int:
    """Print and write the history of these runs; 1 where the newest is worse than those before it."""
    gate = read_gate(gate_file) if gate_file else Gate()
    taken = take(runs_in(folders), out / "runs")
    found = history(taken.rows, by, relative=gate.relative)
    cells = judge_newest(found, gate)
    say(f"{out}: {taken.runs} runs, {taken.read} of them read now")
    _write(found, cells, gate, out)
    if junit:
        write_junit("history", cells, junit)
    _tell(found, cells)
    if gate_file and all(cell.skipped for cell in cells):
        raise InputError(
            "--gate", "no cell of the newest run can be judged", f"the first: {cells[0].skipped}"
        )
    return 1 if any(cell.failed for cell in cells) else 0


def _write(found: History, cells: Sequence[JudgedCell], gate: Gate, out: Path) -> None:
    # drawing needs matplotlib, whose import costs more than all the rest
    from vpnmesh.report.history_figures import figures  # noqa: PLC0415

    tables = {"changes": change_table(found), "points": point_table(found), "newest": newest_table(cells)}
    write_tables(tables, out)
    drawn = figures(found)
    page = compose_history(found, cells, gate, drawn)
    files = {f"figures/{name}.svg": svg for name, svg in drawn.items()}
    files |= {"history.html": render_html(page), "history.md": render_markdown(page)}
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written: {error.strerror}") from error


def _tell(found: History, cells: Sequence[JudgedCell]) -> None:
    for series in found.series if len(found.series) > 1 else ():
        say(f"series {series.number}: {series.runs} runs: {series.apart}")
    for note in found.notes:
        say(f"note: {note}", err=True)
    table = change_table(found)
    if not table.is_empty():
        make_console().print(_change_table(table), highlight=False)
    for cell in cells:
        if cell.failed:
            say(f"worse: {cell.name}: {cell.failed}")
        elif cell.skipped:
            say(f"note: not judged: {cell.name}: {cell.skipped}", err=True)
    counts = pl.Series([verdict(cell) for cell in cells]).value_counts().rows()
    told = ", ".join(f"{n} {name}" for name, n in sorted(counts))
    say(f"{len(found.runs)} runs, newest {found.newest.name}: {told}; {table.height} changes of level")


def _change_table(changes: pl.DataFrame) -> Table:
    table = Table(title="Changes of level", title_justify="left")
    for name in ("cell", "since", "version"):
        table.add_column(name)
    for name in ("from", "to", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in changes.to_dicts():
        cell = f"{row['scenario']} {row['condition']} {row['test']}"
        since = row["run"] if row["run"] == row["date"] else f"{row['run']} ({row['date']})"
        told = [row["version_before"], row["version"]]
        version = " -> ".join(dict.fromkeys(one or "not told" for one in told))
        levels = [significant(row[name]) for name in ("from", "to")]
        table.add_row(cell, since, version, *levels, f"{row['change_pct']:+.1f} %")
    return table
