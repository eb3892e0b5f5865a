"""Ordinary clients (skopeo, apt-get, gpg, ...) run to their end: bounded in time, and gone when this process is."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from vpnmesh.errors import UnavailableError

PACKAGES: Mapping[str, str] = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "gpg": "gpg",
    "skopeo": "skopeo",
    "umoci": "umoci",
}
"""The Debian package of each client that is used here."""


def need(*clients: str) -> None:
    """UnavailableError names the first of these that is not installed, and its package."""
    for client in clients:
        if shutil.which(client) is None:
            raise UnavailableError(f"{client} is not installed (apt-get install {PACKAGES[client]})")


def run(
    argv: tuple[str, ...], folder: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a client in that folder, whatever its exit code; UnavailableError where it is not done in time.

    Its messages are in English, its temporary files in the folder. setpriv lets the kernel end it when this process
    ends without notice.
    """
    need(argv[0])
    mine = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder), **(environment or {})}
    try:
        return subprocess.run(
            ("setpriv", "--pdeathsig", "KILL", *argv),
            cwd=folder,
            env=mine,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{argv[0]} was not done in {seconds:g} s") from None
