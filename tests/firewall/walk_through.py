"""The driver that docs/add-a-firewall-driver.md shows, as an installed package: out of the document itself."""

from pathlib import Path

from tests import pages
from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "add-a-firewall-driver.md"
NAME = "iptables"


def shown(language: str) -> str:
    """The first text of the document in that language."""
    return pages.shown(DOCUMENT, language)


def install(folder: Path) -> Path:
    """Leave in the folder what a package manager would: the module, and its entry points in a dist-info."""
    return pages.install(folder, "vpnmesh-iptables", {"vpnmesh_iptables.py": shown("python")}, shown("toml"))
