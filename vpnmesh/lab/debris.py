"""What a lab is made of on this machine, so that its end can be waited for and proven."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.lab.controller import link_exists
from vpnmesh.lab.processes import Process, descendants, members, namespaces

_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Traces:
    """A lab's processes, namespaces (as `net:[inode]`), the links in the controller's namespace, its directory."""

    processes: tuple[Process, ...]
    namespaces: frozenset[str]
    links: tuple[str, ...]
    directory: Path


def traces_of(starter: Process, links: tuple[str, ...], directory: Path) -> Traces:
    """All that stems from the process that started the lab, as of now."""
    own = namespaces(os.getpid())
    lab = tuple(member for member in descendants(starter.pid) if starter.alive)
    inside = lab[1:]  # unshare itself stays in the machine's PID namespace
    found = frozenset[str]().union(*(namespaces(member.pid) for member in inside)) - own
    return Traces(lab, frozenset(name for name in found if not _is_shared(name, lab[:1])), links, directory)


def _is_shared(name: str, starter: tuple[Process, ...]) -> bool:
    """Whether a namespace is the starter's by inheritance (its UTS), thus its creator's."""
    return name.startswith("uts:") and any(name in namespaces(one.pid) for one in starter)


def await_gone(traces: Traces, timeout_s: float) -> tuple[str, ...]:
    """Wait until nothing of the lab is there; what is left at the deadline, one sentence each."""
    deadline = time.monotonic() + timeout_s
    while (left := remains(traces)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


def remains(traces: Traces) -> tuple[str, ...]:
    """What of a lab is still there."""
    processes = {*(p for p in traces.processes if p.alive)}
    links = tuple(f"link {name}" for name in traces.links if link_exists(name))
    if not processes and not links:
        processes = set(members(traces.namespaces))
    return (*links, *(f"process {_describe(one)}" for one in sorted(processes)), *_mounts(traces))


def _describe(one: Process) -> str:
    try:
        return f"{one.pid} ({Path(f'/proc/{one.pid}/comm').read_text().strip()})"
    except OSError:
        return str(one.pid)


def _mounts(traces: Traces) -> tuple[str, ...]:
    """Mounts in the controller's namespace on the lab's directory, or that hold one of its namespaces."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        root, point = line.split()[3:5]
        if Path(point).is_relative_to(traces.directory) or root in traces.namespaces:
            points.append(f"mount {point}")
    return tuple(points)
