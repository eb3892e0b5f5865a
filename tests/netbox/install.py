"""NetBox's own environment, installed from PyPI into `build/netbox`, and what is missing where it cannot be."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from vpnmesh.lab.uv import find_uv

VERSION = "4.7.3"
# the wheel asks for psycopg[c], which wants a compiler and libpq's headers; the binary build is the same code
PSYCOPG = "psycopg[binary,pool]==3.3.6"
CACHE = Path(__file__).resolve().parents[2] / "build" / "netbox"
POSTGRES = Path("/usr/lib/postgresql/15/bin")
NEEDED_PYTHON = (3, 12)
INSTALL_SECONDS = 900.0

Say = Callable[[str], None]


class CannotRunError(Exception):
    """NetBox cannot run on this machine; the message is the reason that skipped tests show."""


class NoPythonError(CannotRunError):
    """No Python that NetBox runs on: the one thing that the set-up does not install."""


def silent(_line: str) -> None:
    """Tell nobody."""


def find_python() -> Path:
    """The first Python new enough for NetBox: `$NETBOX_PYTHON`, our own, PATH, pyenv's, uv's; else NoPythonError."""
    if named := os.environ.get("NETBOX_PYTHON"):
        if _version(named) < NEEDED_PYTHON:
            raise NoPythonError(f"$NETBOX_PYTHON is {named}, which is no Python 3.12 or newer")
        return Path(named)
    for candidate in _candidates():
        if _version(candidate) >= NEEDED_PYTHON:
            return Path(candidate)
    raise NoPythonError(
        "NetBox needs Python 3.12 or newer, and none is on PATH, in pyenv, in uv or in $NETBOX_PYTHON"
    )


def _candidates() -> Iterator[str]:
    yield sys.executable
    yield from filter(None, (shutil.which(f"python3.{minor}") for minor in (12, 13, 14)))
    roots = {
        os.environ.get("PYENV_ROOT", "~/.pyenv"): "versions/3.*/bin/python",
        os.environ.get("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python"): "cpython-3.*/bin/python",
    }
    for root, pattern in roots.items():
        yield from map(str, sorted(Path(root).expanduser().glob(pattern)))


def _version(python: str) -> tuple[int, ...]:
    """What it says itself: pyenv's shims are on PATH and fail for versions that are not chosen."""
    argv = (python, "-c", "import sys; print(*sys.version_info[:2])")
    try:
        asked = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ()
    return tuple(map(int, asked.stdout.split())) if asked.returncode == 0 else ()


def check_servers() -> None:
    """CannotRunError where PostgreSQL or Redis is missing."""
    for binary in (POSTGRES / "initdb", Path(shutil.which("redis-server") or "redis-server")):
        if not binary.is_file():
            raise CannotRunError(f"{binary.name} is missing: apt-get install postgresql-15 redis-server")


def install(say: Say = silent) -> Path:
    """NetBox's own environment, made once; returns its folder. CannotRunError says what is missing."""
    check_servers()
    CACHE.mkdir(parents=True, exist_ok=True)
    # tests on several workers may ask at once: the first one makes it
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made(CACHE / f"venv-{VERSION}", say)


def _made(folder: Path, say: Say) -> Path:
    if (folder / "complete").is_file() and (folder / "bin" / "python").exists():
        return folder
    python = find_python()
    uv = find_uv()
    if uv is None:
        raise CannotRunError("uv is missing, which installs NetBox: make setup")
    say(f"installing NetBox {VERSION} from PyPI into {folder}; about a minute")
    shutil.rmtree(folder, ignore_errors=True)
    override = CACHE / "override.txt"
    override.write_text(PSYCOPG + "\n")
    run(uv, "venv", "--quiet", "--no-project", "--python", str(python), str(folder))
    into = ("--python", str(folder / "bin" / "python"))
    wanted = ("--override", str(override), f"netbox=={VERSION}")
    run(uv, "pip", "install", "--quiet", "--compile-bytecode", *into, *wanted, limit_s=INSTALL_SECONDS)
    (folder / "complete").touch()
    return folder


def run(
    *argv: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
    limit_s: float | None = None,
) -> str:
    """Run a command to its end and return what it printed; CannotRunError holds the end of its errors."""
    words = " ".join(argv)[:120]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, cwd=cwd, env=env, input=stdin, timeout=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRunError(f"{words}: no end after {limit_s:.0f} s") from error
    if done.returncode:
        raise CannotRunError(f"{words}: exit {done.returncode}: {done.stderr[-400:]}")
    return done.stdout
