"""What /proc says about processes: who is alive since when, who descends from whom, who is in a namespace."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_START_FIELD = 19  # of /proc/PID/stat after the command's name (man proc: starttime is field 22)
_NAMESPACES = ("net", "mnt", "pid", "uts")


@dataclass(frozen=True, slots=True, order=True)
class ProcessIdentity:
    """A process beyond doubt: ids are used again, an id with its start time (in ticks since boot) is not."""

    pid: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        stat = _stat(self.pid)
        return stat is not None and int(stat[_START_FIELD]) == self.start_ticks and stat[0] not in "ZX"


def process(pid: int) -> ProcessIdentity | None:
    """The process that has this id now, None if there is none."""
    stat = _stat(pid)
    return ProcessIdentity(pid, int(stat[_START_FIELD])) if stat else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the command's name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def all_pids() -> Iterator[int]:
    """Every process id that /proc shows."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def descendants(root: int) -> tuple[ProcessIdentity, ...]:
    """The process and all that stem from it, as far as /proc still links them."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        if stat := _stat(pid):
            children.setdefault(int(stat[1]), []).append(pid)
    found: list[int] = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return tuple(known for pid in found if (known := process(pid)))


def namespaces(pid: int) -> frozenset[str]:
    """A process's namespaces as the kernel names them, e.g. `net:[4026531840]`."""
    found = set()
    for kind in _NAMESPACES:
        with contextlib.suppress(OSError):
            found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
    return frozenset(found)


def members(wanted: Collection[str]) -> tuple[ProcessIdentity, ...]:
    """Every process that is in one of these namespaces."""
    inside = (pid for pid in all_pids() if namespaces(pid) & set(wanted))
    return tuple(known for pid in inside if (known := process(pid)))


def inner_pid(pid: int) -> int | None:
    """The id that a process has in the PID namespace just below the reader's own."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                ids = line.split()[1:]
                return int(ids[1]) if len(ids) > 1 else None
    return None
