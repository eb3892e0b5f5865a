"""The module that docs/add-a-measurement.md shows, out of the document itself."""

import types
from pathlib import Path

from tests import pages
from tests.conftest import ROOT
from vpnmesh.measurements.protocol import Measurement

DOCUMENT = ROOT / "docs" / "add-a-measurement.md"


def shown(language: str = "python") -> str:
    """The first text of that language in the document."""
    return pages.shown(DOCUMENT, language)


def install(folder: Path) -> Path:
    """Put a package with the module into a folder as an installer would, with the entry point that the page shows."""
    modules = {"my_package/__init__.py": "", "my_package/tcp_connect.py": shown()}
    return pages.install(folder, "my-package", modules, shown("toml"))


def measurement() -> Measurement:
    """What it defines, as it would be registered."""
    module = types.ModuleType("tcp_connect")
    exec(compile(shown(), str(DOCUMENT), "exec"), module.__dict__)
    made: Measurement = module.MEASUREMENT
    return made
