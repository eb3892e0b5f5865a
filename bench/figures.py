"""What every benchmark returns, so that `python -m bench` can end with one table of all of them."""

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median

from rich.table import Table


class Size(StrEnum):
    """How much a benchmark does: figures worth quoting, or only a proof that it still runs to its end."""

    FULL = "full"
    SMOKE = "smoke"

    def of(self, full: int, smoke: int) -> int:
        """The number for this size."""
        return full if self is Size.FULL else smoke


@dataclass(frozen=True, slots=True)
class Figure:
    """One result in words with units; `against` is what it is compared with, `ratio` ours over that."""

    what: str
    figure: str
    against: str = ""
    ratio: str = ""


def peak_mb() -> float:
    """Peak memory of this process alone in 10^6 bytes; getrusage's starts from that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def processor_s(whose: int = resource.RUSAGE_SELF) -> float:
    """Processor time of this process so far, or of its children that have ended."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median with the least and the most, e.g. `0.50 (0.40 to 0.58)`."""
    found = list(values)
    return f"{median(found):,.{digits}f} ({min(found):,.{digits}f} to {max(found):,.{digits}f})"


def summary(found: Iterable[tuple[str, Figure]]) -> Table:
    """All figures, each with the benchmark that it comes from."""
    table = Table(title="all benchmarks", title_justify="left")
    for column in ("benchmark", "what", "figure", "against", "ratio"):
        table.add_column(column, justify="right" if column == "ratio" else "left")
    for name, one in found:
        table.add_row(name, one.what, one.figure, one.against, one.ratio)
    return table
