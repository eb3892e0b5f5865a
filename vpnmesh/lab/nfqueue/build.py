"""Compile `vpnmesh-nfq` on the machine that runs it; never prebuilt, and only when its source has changed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from vpnmesh.errors import CommandError, UnavailableError

SOURCE = Path(__file__).with_name("vpnmesh_nfq.c")
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
TIMEOUT_S = 120


def binary_path() -> Path:
    """Where the set-up puts the binary; the lab's nodes see the same file system, so it is their path too."""
    return Path(__file__).resolve().parents[3] / "build" / "vpnmesh-nfq"


def build(destination: Path) -> Path:
    """Make `destination` the program of this source, and return it.

    Raises UnavailableError without a compiler, CommandError with the compiler's own words.
    """
    stamp = destination.with_name(destination.name + ".sha256")
    wanted = _fingerprint()
    if destination.exists() and stamp.exists() and stamp.read_text() == wanted:
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f"{destination.name}.{os.getpid()}")
    _compile(temporary)
    temporary.replace(destination)
    stamp.write_text(wanted)
    return destination


def _fingerprint() -> str:
    return hashlib.sha256("\0".join(FLAGS).encode() + SOURCE.read_bytes()).hexdigest()


def _compile(destination: Path) -> None:
    argv = ("gcc", *FLAGS, "-o", str(destination), str(SOURCE))
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise UnavailableError("gcc, to compile the lab's impairment engine (Debian package gcc)") from error
    if done.returncode != 0:
        raise CommandError("localhost", argv, done.returncode, done.stderr)


if __name__ == "__main__":
    sys.stdout.write(f"{build(binary_path())}\n")
