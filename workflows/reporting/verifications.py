"""What live checks found, read from the folders that `workflows.criteria --verify` wrote, and written as pages."""

from collections.abc import Sequence
from pathlib import Path

from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.criteria.verified import FILE, Verification, read_verification, statements_block
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError
from vpnmesh.report.render import render_html, render_markdown
from vpnmesh.report.verification_page import overview_page, verification_page

STATEMENTS = "statements.yaml"


def verifications_in(folder: Path) -> tuple[Verification, ...]:
    """All that was verified below a folder, by solution; InputError where there is none, or one cannot be read."""
    paths = sorted(folder.glob(f"*/{FILE}")) + sorted(folder.glob(FILE))
    if not paths:
        raise InputError(str(folder), f"holds no {FILE}", "name the folder that --verify wrote")
    return tuple(_read(path) for path in paths)


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
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written: {error.strerror}") from error


def _all(out: Path, found: Verification) -> tuple[Verification, ...]:
    others: Sequence[Verification] = verifications_in(out)
    return tuple(others) if others else (found,)
