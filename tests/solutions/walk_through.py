"""The package that docs/add-a-solution.md shows, out of the document itself."""

import types
from pathlib import Path as File

from tests import pages
from tests.conftest import ROOT
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions.protocol import Solution

DOCUMENT = ROOT / "docs" / "add-a-solution.md"
SCENARIO = Scenario(
    "plainvxlan-direct", "plainvxlan", Path.DIRECT, 1230, 1280, "allow-all", "VXLAN in the kernel"
)


def shown(language: str = "python") -> str:
    """The document's first text in that language."""
    return pages.shown(DOCUMENT, language)


def solution() -> Solution:
    """What the module defines, as it would be registered."""
    module = types.ModuleType("plainvxlan")
    exec(compile(shown(), str(DOCUMENT), "exec"), module.__dict__)
    made: Solution = module.SOLUTION
    return made


def install(folder: File) -> File:
    """Put the package into a folder as an installer would."""
    return pages.install(folder, "plainvxlan", {"plainvxlan.py": shown()}, shown("toml"))
