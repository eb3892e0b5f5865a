"""What a lab is made of on this machine, so that its end can be waited for and proven."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.lab.cgroup_tree import left_of, remove_tree
from vpnmesh.lab.cgroups import CgroupPlan, plan_cgroups
from vpnmesh.lab.controller import link_exists
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.processes import ProcessIdentity, descendants, members, namespaces
from vpnmesh.lab.waiting import wait_until

_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Traces:
    """A lab's processes, its links in the controller's namespace, its directory, its cgroups if it has any.

    Namespaces show by the processes in them: their numbers are of no use once they are gone, for the kernel
    gives them to the next namespace that anybody makes.
    """

    processes: tuple[ProcessIdentity, ...]
    links: tuple[str, ...]
    directory: Path
    cgroups: CgroupPlan


def traces_of(roots: Sequence[ProcessIdentity], links: tuple[str, ...], directory: Path) -> Traces:
    """All that stems from the lab's starter (the first root) and its init, and who else is in their namespaces."""
    family = (one for root in roots if root.alive for one in descendants(root.pid))
    lab = tuple(dict.fromkeys(family))
    inside = (namespaces(one.pid) for one in lab if one != roots[0])
    found = frozenset[str]().union(*inside) - _shared(roots[0])
    processes = (*lab, *(one for one in members(found) if one not in lab))
    return Traces(processes, links, directory, plan_cgroups(directory))


def _shared(starter: ProcessIdentity) -> frozenset[str]:
    """Namespaces that are the machine's: this process's, and the starter's except the two that it made."""
    inherited = (name for name in namespaces(starter.pid) if name[:3] not in ("net", "mnt"))
    return namespaces(os.getpid()).union(inherited)


def await_cgroups_gone(directory: Path, timeout_s: float) -> tuple[str, ...]:
    """Remove the cgroups of a lab that was killed, which is all that the kernel leaves of it; returns what is left."""
    plan = plan_cgroups(directory)

    def left() -> tuple[str, ...]:
        remove_tree(plan)
        return left_of(plan.roots)

    return wait_until(left, timeout_s, _POLL_S, good=lambda held: not held)


def clear_cgroups(directory: Path, timeout_s: float) -> None:
    """Remove the cgroups of a lab that was killed; LabError if something is in them that is no lab's."""
    if left := await_cgroups_gone(directory, timeout_s):
        raise LabError("checks", f"left of an earlier lab: {', '.join(left)}")


def await_link_gone(name: str, directory: Path, timeout_s: float) -> None:
    """Wait for the link of a lab that was killed: the kernel removes it some time after the last process is gone.

    Where there is no directory of a lab nothing is waited for. Where the link stays it may be that of a lab in another
    directory: who builds says so, who removes has nothing to do.
    """
    if directory.exists():
        wait_until(lambda: not link_exists(name), timeout_s, _POLL_S)


def await_gone(traces: Traces, timeout_s: float) -> tuple[str, ...]:
    """Wait until nothing of the lab is there; returns what is left then, one sentence each."""
    return wait_until(lambda: remains(traces), timeout_s, _POLL_S, good=lambda left: not left)


def remains(traces: Traces) -> tuple[str, ...]:
    """What of a lab is still there; its cgroups are removed here, for the kernel leaves them once they are empty."""
    remove_tree(traces.cgroups)
    links = (f"link {name}" for name in traces.links if link_exists(name))
    processes = (f"process {_describe(one)}" for one in traces.processes if one.alive)
    return (*links, *processes, *_mounts(traces.directory), *left_of(traces.cgroups.roots))


def _describe(one: ProcessIdentity) -> str:
    try:
        return f"{one.pid} ({Path(f'/proc/{one.pid}/comm').read_text().strip()})"
    except OSError:
        return str(one.pid)


def _mounts(directory: Path) -> tuple[str, ...]:
    """Mounts on the lab's directory: there are none, unless somebody made some."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (Path(line.split()[4]) for line in lines)
    return tuple(f"mount {point}" for point in points if point.is_relative_to(directory))
