"""CPU and memory of a node and of a solution's processes, sampled on the node itself (proc(5)).

In a lab all nodes share one kernel, so a node's CPU is the sum over the processes of its PID namespace, and
softirq time exists for the whole machine only. CPU is in percent of one core.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vpnmesh.errors import ToolError
from vpnmesh.model import NodeKind

INTERVAL_S = 0.5
_TICKS_PER_S = 100
_PAGE_BYTES = 4096
_MARK = "@sample"

# arguments: the interface whose bytes are counted, the interval; reads the node's own clock, so skew does not matter
SCRIPT = """
while :; do
  read -r up _ < /proc/uptime; echo "@sample $up"
  read -r line < /proc/stat; echo "$line"
  echo "tx $(cat "/sys/class/net/$1/statistics/tx_bytes")"
  grep -E '^(MemTotal|MemAvailable):' /proc/meminfo
  cat /proc/[0-9]*/stat 2>/dev/null
  sleep "$2"
done
"""


@dataclass(frozen=True, slots=True)
class Load:
    """Mean load over a window; CPU in percent of one core, RAM in 10^6 bytes, `tx_bytes` over all samples."""

    cpu_pct: float
    cpu_user_pct: float
    cpu_system_pct: float
    ram_mb: float
    solution_cpu_pct: float
    solution_ram_mb: float
    machine_cpu_pct: float
    machine_softirq_pct: float
    tx_bytes: float
    samples: int


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    name: str
    user: float
    system: float
    rss_bytes: float


@dataclass(frozen=True, slots=True)
class _Snapshot:
    uptime_s: float
    cpu_ticks: tuple[float, ...]
    tx_bytes: float
    memory_kb: tuple[float, ...]
    processes: tuple[_Process, ...]


def sampler(interface: str, interval_s: float = INTERVAL_S) -> tuple[str, ...]:
    """The argv that prints samples until it is ended."""
    return ("sh", "-c", SCRIPT, "sh", interface, f"{interval_s:g}")


def parse(raw: str, kind: NodeKind, processes: Sequence[str], window_s: float) -> Load:
    """Mean load over the last `window_s` seconds of the samples; ToolError with fewer than two of them."""
    snapshots = [_snapshot(part) for part in raw.split(_MARK)[1:] if part.count("\n") > 1]
    # the sampler is ended in mid-sentence: only whole samples count
    whole = [snapshot for snapshot in snapshots if snapshot is not None]
    if len(whole) < 2:  # noqa: PLR2004 - a difference needs two
        raise ToolError("load", f"{len(whole)} samples")
    start = max(
        (i for i, one in enumerate(whole[:-1]) if one.uptime_s <= whole[-1].uptime_s - window_s), default=0
    )
    first, last = whole[start], whole[-1]
    seconds = last.uptime_s - first.uptime_s
    if seconds <= 0:
        raise ToolError("load", "the node's clock stands still")
    return _load(first, last, whole[start:], kind, processes, seconds, last.tx_bytes - whole[0].tx_bytes)


def _load(
    first: _Snapshot,
    last: _Snapshot,
    window: Sequence[_Snapshot],
    kind: NodeKind,
    names: Sequence[str],
    seconds: float,
    tx_bytes: float,
) -> Load:
    scale = 100 / _TICKS_PER_S / seconds
    machine = [
        max(0.0, after - before) * scale
        for before, after in zip(first.cpu_ticks, last.cpu_ticks, strict=True)
    ]
    # /proc/stat: user nice system idle iowait irq softirq steal
    busy_user, busy_system = machine[0] + machine[1], machine[2] + machine[5] + machine[6]
    own = set(names)
    if kind is NodeKind.NETNS:
        user, system = (_ticks(first, last, field) * scale for field in ("user", "system"))
        ram = sum(sum(one.rss_bytes for one in shot.processes) for shot in window) / len(window)
    else:
        user, system = busy_user, busy_system
        ram = sum(1024 * (shot.memory_kb[0] - shot.memory_kb[1]) for shot in window) / len(window)
    of_solution = sum(_ticks(first, last, field, own) for field in ("user", "system")) * scale
    rss = sum(sum(one.rss_bytes for one in shot.processes if one.name in own) for shot in window) / len(
        window
    )
    return Load(
        cpu_pct=user + system,
        cpu_user_pct=user,
        cpu_system_pct=system,
        ram_mb=ram / 1e6,
        solution_cpu_pct=of_solution,
        solution_ram_mb=rss / 1e6,
        machine_cpu_pct=busy_user + busy_system + machine[7],
        machine_softirq_pct=machine[6],
        tx_bytes=max(0.0, tx_bytes),
        samples=len(window),
    )


def _ticks(first: _Snapshot, last: _Snapshot, field: str, names: set[str] | None = None) -> float:
    """CPU ticks between two samples, of processes that ended in between too, through their parents' totals."""
    before = {one.pid: one for one in first.processes}
    total = 0.0
    for one in last.processes:
        if names is not None and one.name not in names:
            continue
        earlier = before.get(one.pid)
        total += getattr(one, field) - (getattr(earlier, field) if earlier else 0.0)
    return max(0.0, total)


def _snapshot(text: str) -> _Snapshot | None:
    lines = text.splitlines()
    try:
        uptime = float(lines[0])
        ticks = tuple(float(word) for word in lines[1].split()[1:9])
        tx = float(lines[2].split()[1])
        memory = tuple(float(line.split()[1]) for line in lines[3:5])
        processes = tuple(_process(line) for line in lines[5:-1])
    except (IndexError, ValueError):
        return None
    return _Snapshot(uptime, ticks, tx, memory, processes)


def _process(line: str) -> _Process:
    """A line of /proc/PID/stat; the name stands in parentheses and may hold anything."""
    head, _, tail = line.rpartition(")")
    pid, _, name = head.partition("(")
    words = tail.split()
    # words[0] is field 3 (state): utime 14, stime 15, cutime 16, cstime 17, rss 24
    user, system, child_user, child_system = (float(word) for word in words[11:15])
    return _Process(int(pid), name, user + child_user, system + child_system, float(words[21]) * _PAGE_BYTES)
