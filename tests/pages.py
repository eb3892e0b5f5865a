"""Packages that pages of the documentation show: taken out of the page, installed into a folder, and type-checked."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT


def shown(document: Path, language: str = "python") -> str:
    """The document's first text in that language."""
    found = re.search(
        rf"^```{language}\n(.*?)^```$", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, f"no {language} in {document.name}"
    return found[1]


def install(folder: Path, name: str, modules: Mapping[str, str], pyproject: str) -> Path:
    """Leave in the folder what an installer would: the modules, by path, and the entry points of pyproject.toml."""
    for path, text in modules.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = tomllib.loads(pyproject)["project"]["entry-points"]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{point} = {value}" for point, value in points.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def mypy_says(path: Path, text: str) -> str:
    """What mypy --strict has against the text, as the module at that path; "" where it takes it."""
    path.write_text(text, encoding="utf-8")
    argv = (sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(path))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout
