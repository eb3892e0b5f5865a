"""Golden files: what a driver renders, as a person reviewed it; VPNMESH_REGOLD=1 writes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> str:
    """The reviewed text of that name; with VPNMESH_REGOLD set, `text` becomes it."""
    path = FOLDER / name
    if os.environ.get("VPNMESH_REGOLD"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
