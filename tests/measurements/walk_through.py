"""The module that docs/add-a-measurement.md shows, out of the document itself."""

import re
import types
from pathlib import Path

from tests.conftest import ROOT
from vpnmesh.measurements.protocol import Measurement

DOCUMENT = ROOT / "docs" / "add-a-measurement.md"


def shown(language: str = "python") -> str:
    """The first text of that language in the document."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return str(re.findall(pattern, DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0])


def install(folder: Path) -> None:
    """Put a package with the module into a folder as an installer would, with the entry point that the page shows."""
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    (folder / "my_package" / "tcp_connect.py").write_text(shown())
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    header, line = shown("toml").strip().splitlines()
    group = header.removeprefix('[project.entry-points."').removesuffix('"]')
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")


def measurement() -> Measurement:
    """What it defines, as it would be registered."""
    module = types.ModuleType("tcp_connect")
    exec(compile(shown(), str(DOCUMENT), "exec"), module.__dict__)
    made: Measurement = module.MEASUREMENT
    return made
