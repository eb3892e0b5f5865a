"""The driver that docs/add-a-firewall-driver.md shows, as an installed package: out of the document itself."""

import re
from pathlib import Path

from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "add-a-firewall-driver.md"
NAME = "iptables"


def shown(language: str) -> str:
    """The first text of the document in that language."""
    blocks = re.findall(
        rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return str(blocks[0])


def install(folder: Path) -> Path:
    """Leave in the folder what a package manager would: the module, and its entry points in a dist-info."""
    (folder / "vpnmesh_iptables.py").write_text(shown("python"))
    about = folder / "vpnmesh_iptables-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vpnmesh-iptables\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(_entry_points(shown("toml")))
    return folder


def _entry_points(pyproject: str) -> str:
    """The table of pyproject.toml in the form that an installer writes."""
    found = re.search(r'^\[project\.entry-points\."(.+)"\]\n(\S+) = "(.+)"$', pyproject, re.MULTILINE)
    assert found
    return f"[{found[1]}]\n{found[2]} = {found[3]}\n"
