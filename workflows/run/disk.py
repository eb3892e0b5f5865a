"""A disk that is full or read-only by now: one sentence with the way on, and what was written before stays."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from vpnmesh.errors import InputError


class DiskError(InputError):
    """The disk did not take what was measured; the command stops, and what is in its folder stays."""


def first_of_all(error: OSError) -> str:
    """What a person does first about a disk that did not take something."""
    return "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see to its disk"


@contextlib.contextmanager
def onto_disk(path: Path, go_on: str) -> Iterator[None]:
    """What is written within, to that path or below it: DiskError says why it was not taken, and how to go on."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DiskError(str(path), reason, f"{first_of_all(error)}, then go on with {go_on}") from error
