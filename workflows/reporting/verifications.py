"""What live checks found, read from the folders that `workflows.criteria --verify` wrote, and written as pages."""

from collections.abc import Sequence
from pathlib import Path

from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.criteria.verified import FILE, Verification, read_verification, statements_block
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError
from vpnmesh.lab.atomic import make_private, write_atomic
from vpnmesh.report.render import render_html, render_markdown
from vpnmesh.report.verification_page import overview_page, verification_page

STATEMENTS = "statements.yaml"


def verifications_in(folder: Path) -> tuple[Verification, ...]:
    """All that was verified below a folder, by solution; InputError where there is none, or one cannot be read."""
    paths = _files(folder)
    if not paths:
        raise InputError(str(folder), f"holds no {FILE}", "name the folder that --verify wrote")
    return tuple(_read(path) for path in paths)


def prepare(out: Path, solution: str) -> None:
    """Make the folder of that solution, for its owner alone, before any node is asked.

    InputError where it cannot be made, or where what is kept there already, and goes into one page, cannot be read.
    """
    try:
        make_private(out / solution)
    except OSError as error:
        raise _unwritable(out, error) from error
    for path in _files(out):
        _read(path)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{FILE}")) + sorted(folder.glob(FILE))


def _unwritable(out: Path, error: OSError) -> InputError:
    return InputError("--out", f"{out} cannot be written: {error.strerror}")


def _read(path: Path) -> Verification:
    try:
        return read_verification(path.read_bytes(), str(path))
    except OSError as error:
        raise unreadable(path, error) from error


def write_pages(catalogue: CriteriaCatalogue, found: Verification, out: Path) -> None:
    """OUT/SOLUTION/report.html, report.md and statements.yaml, and OUT/report.html over all that is below OUT."""
    page = verification_page(catalogue, found)
    folder = out / found.solution
    texts = {
        folder / "report.html": render_html(page),
        folder / "report.md": render_markdown(page),
        folder / STATEMENTS: statements_block(catalogue, found),
        out / "report.html": render_html(overview_page(catalogue, _all(out, found))),
    }
    try:
        for path, text in texts.items():
            write_atomic(path, text.encode())
    except OSError as error:
        raise _unwritable(out, error) from error


def _all(out: Path, found: Verification) -> tuple[Verification, ...]:
    others: Sequence[Verification] = verifications_in(out)
    return tuple(others) if others else (found,)
