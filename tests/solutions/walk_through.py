"""The package that docs/add-a-solution.md shows, out of the document itself."""

import re
import tomllib
import types
from pathlib import Path as File

from tests.conftest import ROOT
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions.protocol import Solution

DOCUMENT = ROOT / "docs" / "add-a-solution.md"
SCENARIO = Scenario(
    "plainvxlan-direct", "plainvxlan", Path.DIRECT, 1230, 1280, "allow-all", "VXLAN in the kernel"
)


def shown(language: str = "python") -> str:
    """The document's first text in that language."""
    found = re.search(
        rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, f"no {language} in {DOCUMENT.name}"
    return found[1]


def solution() -> Solution:
    """What the module defines, as it would be registered."""
    module = types.ModuleType("plainvxlan")
    exec(compile(shown(), str(DOCUMENT), "exec"), module.__dict__)
    made: Solution = module.SOLUTION
    return made


def install(folder: File) -> None:
    """Put the package into a folder as an installer would: the module, and what its pyproject.toml declares."""
    project = tomllib.loads(shown("toml"))["project"]
    (folder / "plainvxlan.py").write_text(shown(), encoding="utf-8")
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
