"""CPU ticks of processes between samples of /proc/PID/stat, whatever ended in between (proc(5), wait(2)).

A process that ends hands all its ticks to the one that waits for it, as ticks of that one's children: those from
before the window too. So what an ended process had in the earlier sample is taken off again.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

PAGE_BYTES = 4096
_MOST_DIGITS = len(str(2**64))
_Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU time in ticks, in user and in kernel mode."""

    user: float = 0.0
    system: float = 0.0

    def plus(self, other: "Ticks", sign: int = 1) -> "Ticks":
        """The sum, or with sign -1 the difference."""
        return Ticks(self.user + sign * other.user, self.system + sign * other.system)


@dataclass(frozen=True, slots=True)
class ProcessTicks:
    """A process in one sample; `ticks` are its own and those of the children that it waited for."""

    pid: int
    parent: int
    started: int
    name: str
    ticks: Ticks
    rss_bytes: float

    @property
    def key(self) -> _Key:
        """What makes it the same process in two samples: the kernel uses numbers again."""
        return (self.pid, self.started)


def counter(word: str) -> int:
    """A counter of the kernel's, which are written in digits and have 64 bits; ValueError for anything else."""
    if len(word) > _MOST_DIGITS or not (word.isascii() and word.isdigit()):
        raise ValueError(f"{word[:_MOST_DIGITS]!r} is no counter")
    return int(word)


def read_process(line: str) -> ProcessTicks:
    """A line of /proc/PID/stat; the name is in parentheses and may hold anything. ValueError if it is cut off."""
    head, _, tail = line.rpartition(")")
    pid, _, name = head.partition("(")
    words = tail.split()
    if len(words) < 22:  # noqa: PLR2004 - rss is the last field that is read
        raise ValueError("a process's line is cut off")
    # words[0] is field 3 (state): parent 4, utime 14, stime 15, cutime 16, cstime 17, starttime 22, rss 24
    user, system, child_user, child_system, rss = map(counter, (*words[11:15], words[21]))
    ticks = Ticks(user + child_user, system + child_system)
    return ProcessTicks(int(pid), int(words[1]), int(words[19]), name, ticks, rss * PAGE_BYTES)


def spent(
    samples: Sequence[Iterable[ProcessTicks]], counts: Callable[[ProcessTicks], bool] = lambda _: True
) -> Ticks:
    """Ticks between the first and the last sample, of the processes that count and of those they waited for.

    A parent that ignores SIGCHLD is charged nothing for its children (wait(2)): what such a child had in its last
    sample is then taken off too much.
    """
    shots = [{one.key: one for one in sample} for sample in samples]
    total = Ticks()
    for before, now in itertools.pairwise(shots):
        total = total.plus(_step(before, now, counts))
    return Ticks(max(0.0, total.user), max(0.0, total.system))


def _step(
    before: Mapping[_Key, ProcessTicks],
    now: Mapping[_Key, ProcessTicks],
    counts: Callable[[ProcessTicks], bool],
) -> Ticks:
    total = Ticks()
    for key, one in now.items():
        if counts(one):
            total = total.plus(one.ticks)
            total = total.plus(before[key].ticks, -1) if key in before else total
    by_pid = {one.pid: one for one in before.values()}
    for key, ended in before.items():
        if key not in now and (heir := _heir(ended, by_pid, now)) and counts(heir):
            total = total.plus(ended.ticks, -1)
    return total


def _heir(
    ended: ProcessTicks, by_pid: Mapping[int, ProcessTicks], now: Mapping[_Key, ProcessTicks]
) -> ProcessTicks | None:
    """Who was handed the ticks: the nearest ancestor that is left; None if the parent is outside the namespace."""
    ancestor = by_pid.get(ended.parent)
    for _ in by_pid:
        if ancestor is None or ancestor.key in now:
            break
        ancestor = by_pid.get(ancestor.parent)
    return now.get(ancestor.key) if ancestor else None
