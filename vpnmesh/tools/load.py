"""CPU and memory of a node and of a solution's processes, sampled on the node itself (proc(5)).

In a lab all nodes share one kernel, so a node's CPU is the sum over the processes of its PID namespace, and
softirq time exists for the whole machine only. CPU is in percent of one core.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vpnmesh.errors import ToolError
from vpnmesh.model import NodeKind
from vpnmesh.tools.ticks import ProcessTicks, counter, read_process, spent

INTERVAL_S = 0.5
_TICKS_PER_S = 100
_STAT_FIELDS = 8
"""Of the line `cpu` in /proc/stat, from user to steal (proc(5))."""
_MARK = "@sample"
_END = "@end"

# arguments: the interface whose bytes are counted, the interval; reads the node's own clock, so skew does not matter
SCRIPT = """
while :; do
  read -r up _ < /proc/uptime; echo "@sample $up"
  read -r line < /proc/stat; echo "$line"
  echo "tx $(cat "/sys/class/net/$1/statistics/tx_bytes")"
  grep -E '^(MemTotal|MemAvailable):' /proc/meminfo
  cat /proc/[0-9]*/stat 2>/dev/null
  echo "@end"
  sleep "$2"
done
"""


@dataclass(frozen=True, slots=True)
class NodeLoad:
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
class _Snapshot:
    uptime_s: float
    cpu_ticks: tuple[float, ...]
    tx_bytes: float
    memory_kb: tuple[float, ...]
    processes: tuple[ProcessTicks, ...]


def sampler(interface: str, interval_s: float = INTERVAL_S) -> tuple[str, ...]:
    """The argv that prints samples until it is ended."""
    return ("sh", "-c", SCRIPT, "sh", interface, f"{interval_s:g}")


def parse(raw: str, kind: NodeKind, processes: Sequence[str], window_s: float, tool: str = "") -> NodeLoad:
    """Mean load over the last `window_s` seconds of the samples; ToolError with fewer than two of them.

    Where a process named `tool` is among the samples, the window ends with the last sample that has it: after the
    tool's end the node is idle.
    """
    whole = _whole(raw)
    if len(whole) < 2:  # noqa: PLR2004 - a difference needs two
        raise ToolError("load", f"{len(whole)} samples")
    window = _window(whole[: _end(whole, tool)], window_s)
    if window[-1].uptime_s <= window[0].uptime_s:
        raise ToolError("load", "the node's clock does not advance")
    return _load(window, kind, set(processes), whole[-1].tx_bytes - whole[0].tx_bytes)


def _whole(raw: str) -> list[_Snapshot]:
    """The samples that are complete: the sampler is ended anywhere, and then processes of the last one are missing."""
    parts = raw.split(_MARK)[1:]
    if parts and not parts[-1].rstrip().endswith(_END):
        parts.pop()
    snapshots = [_snapshot(part) for part in parts]
    return [snapshot for snapshot in snapshots if snapshot is not None]


def _end(whole: Sequence[_Snapshot], tool: str) -> int:
    """How many samples there are until the tool's end, at least two; all of them without such a tool."""
    having = [i for i, shot in enumerate(whole) if any(one.name == tool for one in shot.processes)]
    return max(2, having[-1] + 1) if having else len(whole)


def _window(whole: Sequence[_Snapshot], window_s: float) -> Sequence[_Snapshot]:
    start = max(
        (i for i, one in enumerate(whole[:-1]) if one.uptime_s <= whole[-1].uptime_s - window_s), default=0
    )
    return whole[start:]


def _load(window: Sequence[_Snapshot], kind: NodeKind, own: set[str], tx_bytes: float) -> NodeLoad:
    first, last = window[0], window[-1]
    scale = 100 / _TICKS_PER_S / (last.uptime_s - first.uptime_s)
    machine = [
        max(0.0, after - before) * scale
        for before, after in zip(first.cpu_ticks, last.cpu_ticks, strict=True)
    ]
    # /proc/stat: user nice system idle iowait irq softirq steal
    busy_user, busy_system = machine[0] + machine[1], machine[2] + machine[5] + machine[6]
    samples = [shot.processes for shot in window]
    if kind is NodeKind.NETNS:
        ticks = spent(samples)
        user, system = ticks.user * scale, ticks.system * scale
        ram = fmean(sum(one.rss_bytes for one in shot) for shot in samples)
    else:
        user, system = busy_user, busy_system
        ram = fmean(1024 * (shot.memory_kb[0] - shot.memory_kb[1]) for shot in window)
    of_solution = spent(samples, lambda one: one.name in own)
    return NodeLoad(
        cpu_pct=user + system,
        cpu_user_pct=user,
        cpu_system_pct=system,
        ram_mb=ram / 1e6,
        solution_cpu_pct=(of_solution.user + of_solution.system) * scale,
        solution_ram_mb=fmean(sum(one.rss_bytes for one in shot if one.name in own) for shot in samples)
        / 1e6,
        machine_cpu_pct=busy_user + busy_system + machine[7],
        machine_softirq_pct=machine[6],
        tx_bytes=max(0.0, tx_bytes),
        samples=len(window),
    )


def _snapshot(text: str) -> _Snapshot | None:
    lines = text.splitlines()
    try:
        uptime = float(lines[0])
        ticks = tuple(counter(word) for word in lines[1].split()[1:9])
        tx = counter(lines[2].split()[1])
        memory = tuple(counter(line.split()[1]) for line in lines[3:5])
        processes = tuple(read_process(line) for line in lines[5:] if line != _END)
    except (IndexError, ValueError):
        return None
    if (len(ticks), len(memory)) != (_STAT_FIELDS, 2) or not math.isfinite(uptime):
        return None
    return _Snapshot(uptime, ticks, tx, memory, processes)
