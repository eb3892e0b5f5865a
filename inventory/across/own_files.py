"""Files that must be nobody else's to read: keys, and logins."""

import stat
from pathlib import Path

from vpnmesh.errors import InputError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def refuse_readable_by_others(path: Path) -> None:
    """InputError where the file's mode lets others at it; OSError where there is no such file."""
    if path.stat().st_mode & _OTHERS:
        raise InputError(str(path), "may be read by others", f"chmod 600 {path}")
