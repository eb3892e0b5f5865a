"""A disk of a few kilobytes for one test, and how others that look at mounts beside it tell it from what is left."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = "vpnmesh-test-disk"


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """The disk, mounted at a new folder; needs root."""
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", _SOURCE, str(place))
    try:
        yield place
    finally:
        subprocess.run(("umount", str(place)), check=True)


def mount(*arguments: str) -> None:
    """Mount or remount."""
    subprocess.run(("mount", *arguments), check=True)


def mounts() -> list[str]:
    """What is mounted here now, where and how, but for the disks of tests: they run beside each other (proc(5))."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[-2] != _SOURCE]
