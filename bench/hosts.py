"""Our tasks on 50, 200 and 1000 SSH hosts: seconds, memory, threads, open files and processor time of the controller.

Three commands and a guarded file on each host, then again unchanged over the same connections. Every host has an sshd
of its own on a loopback address, in a network of their own: its work is in the seconds, not in the processor time.
Each size is a process of its own; a thousand hosts take minutes to begin.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.farm import Farm, farm
from bench.farm_work import GUARDED
from bench.figures import Figure, Size
from bench.sandbox import private_place

SIZES = (50, 200, 1000)
SMOKE = (6,)
PROJECT = Path(__file__).resolve().parents[1]
LIMIT_S = 1200.0
COLUMNS = (
    "hosts",
    "first pass s",
    "second pass s",
    "controller's processor s",
    "while idle, of a core",
    "memory MB",
    "per 1000 hosts",
    "threads",
    "open files",
    "close s",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one size took; `memory_mb` is what the hosts added to the process, at its peak."""

    hosts: int
    passes_s: tuple[float, ...]
    processor_s: tuple[float, ...]
    idle_pct: float
    memory_mb: float
    threads: int
    files: int
    close_s: float

    @property
    def per_1000_mb(self) -> float:
        """Memory for a thousand hosts, if each takes as much."""
        return self.memory_mb * 1000 / self.hosts

    def cells(self) -> tuple[str, ...]:
        """In the order of COLUMNS."""
        first_s, second_s = self.passes_s
        used_s = " and ".join(f"{seconds:.1f}" for seconds in self.processor_s)
        memory = (f"{self.memory_mb:.0f}", f"{self.per_1000_mb:.0f}")
        counts = (str(self.threads), str(self.files))
        return (
            f"{self.hosts}",
            f"{first_s:.1f}",
            f"{second_s:.1f}",
            used_s,
            f"{self.idle_pct:.1f} %",
            *memory,
            *counts,
            f"{self.close_s:.1f}",
        )


def run(console: Console, size: Size) -> list[Figure]:
    """One farm for all sizes; a size is its first hosts."""
    sizes = SIZES if size is Size.FULL else SMOKE
    began_s = time.monotonic()
    with private_place() as place:
        (folder := place / "farm").mkdir()
        with farm(folder, max(sizes)) as here:
            console.print(
                f"hosts: {max(sizes)} sshd greet after {time.monotonic() - began_s:.0f} s", highlight=False
            )
            seen = [_side(here, count) for count in sizes]
    table = Table(*COLUMNS, title="three commands and a guarded file on every host", title_justify="left")
    for one in seen:
        table.add_row(*one.cells())
    console.print(table)
    return [
        Figure(
            f"{one.hosts} SSH hosts, first and second pass",
            f"{one.passes_s[0]:.1f} and {one.passes_s[1]:.1f} s",
            f"{one.per_1000_mb:.0f} MB and {one.threads * 1000 / one.hosts:.0f} threads per 1000 hosts",
        )
        for one in seen
    ]


def _side(here: Farm, count: int) -> Seen:
    for name in here.addresses:
        (here.srv(name) / Path(GUARDED).name).unlink(missing_ok=True)
    argv = (sys.executable, "-m", "bench.hosts_side", str(here.folder), str(count))
    done = subprocess.run(argv, capture_output=True, text=True, cwd=PROJECT, check=False, timeout=LIMIT_S)
    if done.returncode:
        raise OSError(done.stderr.strip()[-2000:])
    said = json.loads(done.stdout)
    return Seen(**{**said, "passes_s": tuple(said["passes_s"]), "processor_s": tuple(said["processor_s"])})
