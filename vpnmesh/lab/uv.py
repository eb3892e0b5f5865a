"""Where uv is: on PATH, or where the set-up put it in this checkout."""

import shutil
from pathlib import Path

SET_UP = Path(__file__).resolve().parents[2] / "build" / "uv" / "bin" / "uv"
"""Where tools/make-venv installs uv when PATH has none."""


def find_uv() -> str | None:
    """The uv to run; None where there is none, and then `make setup` installs it."""
    return shutil.which("uv") or (str(SET_UP) if SET_UP.is_file() else None)
