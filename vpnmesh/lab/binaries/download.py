"""A file of any size over https, straight to the disk: only what is whole is left there."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.lab.binaries.release import FETCH_S

CHUNK_BYTES = 1 << 20
Told = Callable[[int, int], None]
"""Told how many bytes have come, and how many were promised (0 where the server does not say)."""


def download(url: str, target: Path, told: Told) -> str:
    """Fetch to that file, redirects to https only; returns its SHA-256.

    UnavailableError when it cannot be had, ToolError when it was cut or leads away from https; then no file is left.
    """
    if not url.startswith("https://"):
        raise ToolError("download", f"{url} is not https")
    try:
        return _fetch(url, target, told)
    except (OSError, urllib.error.URLError, HTTPException) as error:
        target.unlink(missing_ok=True)
        raise UnavailableError(f"{url}: {error}") from error
    except ToolError:
        target.unlink(missing_ok=True)
        raise


def _fetch(url: str, target: Path, told: Told) -> str:
    digest, came = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=FETCH_S) as answer, target.open("wb") as file:  # noqa: S310 - https
        if not answer.geturl().startswith("https://"):
            raise ToolError("download", f"{url} leads to {answer.geturl()}, which is not https")
        promised = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
            came += len(chunk)
            told(came, promised)
    if promised and came != promised:
        raise ToolError("download", f"{url}: {came} of {promised} bytes came")
    return digest.hexdigest()
