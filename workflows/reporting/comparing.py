"""Two runs side by side on the terminal: what changed from the first to the second, and the gate of a release."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter, ValidationError

from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError
from vpnmesh.report import first_screen
from vpnmesh.report.changes import Gate, changes, gate_cells, lost_cells
from vpnmesh.report.judged_cells import JudgedCell, junit
from vpnmesh.report.setting import notes
from vpnmesh.report.tables import Study
from workflows.reporting.imported import run_or_import
from workflows.reporting.presenting import write_tables
from workflows.run.terminal import say


def compare(
    before: Path, after: Path, gate: Path | None, out: Path | None, junit_file: Path | None = None
) -> int:
    """Print what changed between two runs, and write it below `out`; 1 when a gate is given and a cell fails it.

    `junit_file` gets what the gate says, a test case per cell.
    """
    a, b = run_or_import(before), run_or_import(after)
    rule = read_gate(gate) if gate else None
    table = changes(a, b)
    for note in (*notes(a, b), *lost_cells(a, b)):
        say(f"note: {note}", err=True)
    for name, study in (("first", a), ("second", b)):
        say(f"{name}: {first_screen.line(study)}")
    if out:
        write_tables({"changes": table}, out)
    _tell_changed(table)
    return _judge_by(a, b, rule, junit_file) if rule else 0


def _tell_changed(table: pl.DataFrame) -> None:
    for row in table.filter(pl.col("change").is_in(["faster", "slower"])).iter_rows(named=True):
        say(
            f"{row['scenario']} {row['condition']} {row['test']}: {row['change']}: x{row['b_over_a']:.3f}"
            f" (95 % {row['low']:.3f} to {row['high']:.3f}), by {row['basis']}"
        )
    counts = ", ".join(f"{n} {change}" for change, n in sorted(table["change"].value_counts().rows()))
    say(f"{table.height} cells: {counts}")


def _judge_by(a: Study, b: Study, gate: Gate, junit_file: Path | None) -> int:
    """Print what fails the gate and what it could not judge; 1 where something fails."""
    cells = gate_cells(a, b, gate)
    if junit_file:
        write_junit("compare", cells, junit_file)
    for cell in cells:
        if cell.skipped:
            say(f"note: not judged by the gate: {cell.name}: {cell.skipped}", err=True)
        elif cell.failed:
            say(f"gate: {cell.name}: {cell.failed}")
    return 1 if any(cell.failed for cell in cells) else 0


def write_junit(suite: str, cells: Sequence[JudgedCell], path: Path) -> None:
    """The verdicts on cells as a JUnit file; InputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(junit(suite, cells), encoding="utf-8")
    except OSError as error:
        raise InputError("--junit", f"{path} cannot be written: {error.strerror}") from error


def read_gate(path: Path) -> Gate:
    """The gate a YAML file states; InputError when it is none."""
    try:
        found = parse_yaml(path.read_bytes(), f"--gate: {path}")
        return TypeAdapter(Gate).validate_python(found if found is not None else {})
    except OSError as error:
        raise InputError("--gate", f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = f"{path}: {place or 'gate'}: {first['msg']}"
        raise InputError("--gate", problem, "write margin_pct, certainty and relative only") from error
