"""Files that are replaced whole or not at all, and folders for one user alone, on the machine that vpnmesh runs on."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""Readable and writable by its owner only."""
PRIVATE_FOLDER = 0o700
"""The same for a folder."""


def write_atomic(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Replace the file in one move, with exactly this mode; when this returns, it survives a power cut.

    A reader sees the old content or the new one, never a part. Raises OSError, and then the old file is as it was
    and nothing is left beside it. One writer per file at a time: the name it writes to first is always the same, so
    that what a kill left behind is written over.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        with open_private(temporary, os.O_TRUNC) as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):  # a disk that is read-only by now has nothing to remove
            temporary.unlink(missing_ok=True)
        raise


def open_private(path: Path, flags: int, *, buffered: bool = True) -> BinaryIO:
    """Open a file for writing, made if it is not there; mode 0600 whatever the umask and its mode before.

    `flags` are those of open(2) beside O_WRONLY and O_CREAT: O_APPEND or O_TRUNC. What is not buffered is written at
    once, or a part of it: `write` says how much.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, PRIVATE)
    file = os.fdopen(descriptor, "wb", buffering=-1 if buffered else 0)
    os.fchmod(descriptor, PRIVATE)
    return file


def append_whole(path: Path, line: bytes) -> None:
    """Append the line, or nothing of it: after half of one, as a signal or a full disk leaves it, none can be read.

    The file is made if it is not there. When this returns, the line survives a power cut; raises OSError.
    """
    with open_private(path, os.O_APPEND, buffered=False) as file:
        length = os.fstat(file.fileno()).st_size
        try:
            left = memoryview(line)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), length)
            raise


def make_private(folder: Path) -> None:
    """Make the folder and what is missing above it, or take it as it is: mode 0700 whatever the umask.

    Folders above it that are there already stay as they are.
    """
    if not folder.parent.exists():
        make_private(folder.parent)
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)


def _sync_folder(folder: Path) -> None:
    """Put the folder's entries on the disk: a move is one of these, and not part of the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
