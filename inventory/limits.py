"""How much this process may have open and running at once: file descriptors, memory, threads."""

import logging
import resource
from pathlib import Path

MOST_WORKERS = 512
"""More threads than that cost more than they save: tasks wait for nodes, but Python runs one thread at a time."""

RESERVED = 256
"""Descriptors that are no host's: files of a run, libraries, programs of the lab."""

WORKER_KB = 512
"""What a worker costs while its task runs, with the login's thread and what a command prints (docs/many-hosts.md)."""

_log = logging.getLogger("vpnmesh.hosts")


def workers_for(hosts: int, lines: int | None = None, memory_kb: int | None = None) -> int:
    """A thread for each host, since tasks wait for their nodes, as far as threads, connections and memory allow.

    A task may need the lines of two hosts, so a worker may only begin where two can be open. Half of the memory
    that is free may be used.
    """
    most = min(MOST_WORKERS, hosts)
    if lines is not None:
        most = min(most, lines // 2)
    if memory_kb is not None:
        most = min(most, memory_kb // 2 // WORKER_KB)
    return max(1, most)


def lines_for(hosts: int) -> int:
    """How many hosts may be connected at once; raises this process's soft limit of open files where it is too low.

    That is said, as a warning: also programs that are started from here have the higher limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hosts + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if raised > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            _log.warning("open files: limit raised from %d to %d for %d hosts", soft, raised, hosts)
        if raised < wanted:
            _log.warning(
                "open files: %d may be open, so at most %d of %d hosts are connected at once (ulimit -Hn)",
                raised,
                _lines(raised),
                hosts,
            )
        soft = raised
    return max(2, hosts) if soft == resource.RLIM_INFINITY else _lines(soft)


def _lines(descriptors: int) -> int:
    """What of the descriptors is for hosts: all but the reserve, and never less than half."""
    return max(2, descriptors - min(RESERVED, descriptors // 2))


def free_memory_kb() -> int | None:
    """What new threads may take before the machine must swap, and the control group may have; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min(free + _group_kb(), default=None)


def _group_kb() -> list[int]:
    """What is left of the control group's own limit, version 2, where there is one."""
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return []
    return [] if most == "max" else [max(0, int(most) - int(used)) // 1024]
