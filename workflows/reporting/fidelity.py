"""A twin beside its original on the terminal: two files of paths, or two runs."""

from pathlib import Path

from rich.table import Table

from vpnmesh.doctor.paths import RecordedPaths, parse_paths
from vpnmesh.errors import InputError
from vpnmesh.report.fidelity import PLACE, SideBySide, paths_beside, runs_beside
from vpnmesh.report.setting import substrates
from workflows.reporting.imported import run_or_import
from workflows.run.progress import make_console
from workflows.run.terminal import say


def tell_fidelity(real: Path, twin: Path) -> int:
    """Show the two side by side, and what that comes to; the exit code."""
    if real.is_file() != twin.is_file():
        raise InputError(
            PLACE, f"{real} and {twin} are a file and a folder", "name two runs, or two files of paths"
        )
    if real.is_file():
        show(paths_beside(read_paths(real, PLACE), read_paths(twin, PLACE)))
        return 0
    a, b = run_or_import(real), run_or_import(twin)
    beside = runs_beside(a, b)
    for note in substrates(a, b):
        say(f"note: {note}", err=True)
    show(beside)
    return 0


def show(beside: SideBySide) -> None:
    """The table, then its sentences."""
    table = Table(*beside.columns, title=beside.title)
    for row in beside.rows:
        table.add_row(*row)
    make_console().print(table)
    for sentence in beside.sentences:
        say(sentence)


def read_paths(path: Path, place: str) -> RecordedPaths:
    """A file that `workflows.doctor --record-paths` wrote; InputError where it is none."""
    try:
        return parse_paths(path.read_bytes(), f"{place}: {path}")
    except OSError as error:
        raise InputError(place, f"{path} cannot be read: {error.strerror}") from error
