"""The moments of a run at which it writes to its directory, counted as they come; at one of them it may be killed."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self
from unittest.mock import patch

from vpnmesh.lab import atomic
from workflows.run import store


class Moments:
    """Numbers every moment, from 0; writes its name down, and sends the signal at the one that was chosen."""

    def __init__(self, told: Path, kill_at: int | None, signum: int) -> None:
        self._told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._kill_at, self._signum = kill_at, signum
        self._count = 0
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether the next moment is the chosen one: then half of what is written must be on the disk by then."""
        return self._count == self._kill_at

    def now(self, name: str) -> None:
        """The moment has come."""
        with self._lock:
            os.write(self._told, f"{name}\n".encode())
            chosen = self._count == self._kill_at
            self._count += 1
        if chosen:
            os.kill(os.getpid(), self._signum)


class _Watched:
    """A file that is written: a moment when half of it is, and one when all of it is."""

    def __init__(self, inner: BinaryIO, name: str, moments: Moments) -> None:
        self._inner, self._name, self._moments = inner, name, moments

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def write(self, content: bytes) -> int:
        """Half, a moment, the other half, a moment."""
        half = len(content) // 2
        self._inner.write(content[:half])
        if self._moments.due():
            self._inner.flush()
        self._moments.now(f"{self._name}: half")
        written = half + self._inner.write(content[half:])
        self._inner.flush()
        self._moments.now(f"{self._name}: written")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextlib.contextmanager
def armed(told: Path, kill_at: int | None, signum: int) -> Iterator[None]:
    """Within, all that a run writes to its directory passes these moments."""
    moments = Moments(told, kill_at, signum)
    own_open = atomic.open_private
    own_replace = Path.replace

    def open_private(path: Path, flags: int, *, buffered: bool = True) -> Any:
        name = path.name.removesuffix(".new")
        moments.now(f"{name}: before")
        return _Watched(own_open(path, flags, buffered=buffered), name, moments)

    def replace(path: Path, target: Path) -> Path:
        moved = own_replace(path, target)
        moments.now(f"{Path(target).name}: replaced")
        return moved

    with (
        patch.object(atomic, "open_private", open_private),
        patch.object(store, "open_private", open_private),
        patch.object(Path, "replace", replace),
    ):
        yield
