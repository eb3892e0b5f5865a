"""docs/layout.md says what is in every folder, in the folders' own words; and the folders hold what it says."""

import ast
from pathlib import Path

from tests.conftest import ROOT

TOPS = ("inventory", "tasks", "workflows", "vpnmesh")
COMMANDS = {
    *(
        "cluster",
        "criteria",
        "doctor",
        "firewall",
        "full_matrix",
        "growth",
        "impair",
        "inventory",
        "nat_grid",
        "repl",
        "report",
        "switch",
        "teardown",
        "workers",
    ),
}
CORE = {"errors", "masks", "model", "plan", "registry", "stages", "testbed"}


def rows() -> list[str]:
    """A row for every package, by its docstring's first line."""
    packages = [path for top in TOPS for path in sorted((ROOT / top).rglob("__init__.py"))]
    return [f"| `{path.parent.relative_to(ROOT)}/` | {first_line(path)} |" for path in packages]


def first_line(path: Path) -> str:
    """What a module says it is for."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text, path
    return text.splitlines()[0].removesuffix(".")


def modules(folder: str) -> set[str]:
    """The modules of a folder, without those below it."""
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", "__main__"}


def test_the_table_is_the_folders_own_words() -> None:
    """A folder that is new, gone, or described otherwise shows here: copy the row that is missing."""
    page = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith("| `") and "/` |" in line] == rows()


def test_the_roots_hold_little() -> None:
    """Commands alone in workflows, and in the core what all of it shares."""
    assert modules("workflows") == COMMANDS
    assert modules("vpnmesh") == CORE
