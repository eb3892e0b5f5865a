"""Make the cgroups of a lab and of its nodes, show them to the nodes, and remove them: what `CgroupPlan` says."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.lab import kernel
from vpnmesh.lab.cgroups import HANDED_DOWN, LEAF, NEEDED, PROCESS_LIMIT, SEEN_AT, CgroupPlan, Hierarchy
from vpnmesh.lab.errors import LabError

STEP = "cgroups"
_PROCESSES = "cgroup.procs"
_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
_CPU_WEIGHTS = {"cpu.shares": (1024, 262144), "cpu.weight": (100, 10000)}
"""Of v1 and of v2: what one process counts, and the most that a group can count."""
_CPUSETS = ("cpuset.cpus", "cpuset.mems")


def make_roots(plan: CgroupPlan, nodes: int) -> None:
    """Make the lab's own directory in every hierarchy; LabError names one that cannot be made.

    Where CPUs are short, a group counts as much as one process beside it: the lab's counts as one for each node.
    """
    for hierarchy, root in zip(plan.hierarchies, plan.roots, strict=True):
        with _refusals(root):
            if plan.unified:
                _hand_down(Path(hierarchy.mount), hierarchy)
            _make(root)
            if plan.unified:
                _hand_down(root, hierarchy)
            for name, (one, most) in _CPU_WEIGHTS.items():
                if (root / name).exists():
                    (root / name).write_text(str(min(one * nodes, most)))


def enter_node(plan: CgroupPlan, node: str) -> None:
    """Move this process into the node's own group of every hierarchy, made here, and make these its roots."""
    for directory in plan.directories(node):
        with _refusals(directory):
            _make(directory)
            limit = directory / "pids.max"
            if limit.exists():
                limit.write_text(str(PROCESS_LIMIT))
            (directory / _PROCESSES).write_text("0")
    kernel.unshare(kernel.CLONE_NEWCGROUP)


def show_to_node(plan: CgroupPlan) -> None:
    """Mount every hierarchy in the node's /sys, where the node's own group is its root."""
    if not plan.unified:
        kernel.mount("tmpfs", str(SEEN_AT), "tmpfs", _FLAGS, "mode=0755")
    for hierarchy in plan.hierarchies:
        point = plan.seen_at(hierarchy)
        point.mkdir(exist_ok=True)
        with _refusals(point):
            kernel.mount("cgroup", str(point), hierarchy.kind, _FLAGS, hierarchy.options)
        for alias in hierarchy.controllers if "," in point.name else ():
            (SEEN_AT / alias).symlink_to(point.name)
        if plan.unified:
            with _refusals(point):
                _move_to_leaf(point)
                _hand_down(point, hierarchy)


def join_node(plan: CgroupPlan, node: str) -> bool:
    """Move this process beside a node's own, from outside; False for a node that has no cgroups of its own."""
    there = [directory for directory in plan.directories(node) if directory.is_dir()]
    for directory in there:
        leaf = directory / LEAF
        ((leaf if plan.unified else directory) / _PROCESSES).write_text("0")
    return bool(there)


@dataclass(frozen=True, slots=True)
class Used:
    """What the processes of a node have used since its birth, and hold now: CPU in seconds, memory without files."""

    cpu_s: float
    memory_bytes: int
    processes: int


def used_by(plan: CgroupPlan, node: str) -> Used:
    """What the kernel counted for a node that has cgroups of its own."""
    cpu = _counted(plan, node, {"cpuacct.usage": 1e-9, "cpu.stat usage_usec": 1e-6})
    memory = _counted(plan, node, {"memory.stat total_rss": 1, "memory.stat anon": 1})
    return Used(cpu, int(memory), int(_counted(plan, node, {"pids.current": 1})))


def _counted(plan: CgroupPlan, node: str, units: Mapping[str, float]) -> float:
    """The first of these counters that a group of the node has: a file of one number, or a line of a file by name."""
    for counter, unit in units.items():
        file, _, name = counter.partition(" ")
        for path in (directory / file for directory in plan.directories(node) if (directory / file).exists()):
            rows = [line.split() for line in path.read_text().splitlines()]
            if values := [row[-1] for row in rows if not name or row[0] == name]:
                return int(values[0]) * unit
    raise LabError(STEP, f"node {node} has no cgroup that counts {' or '.join(units)}")


def remove_tree(plan: CgroupPlan) -> None:
    """Remove the lab's directories, deepest first; one that still has processes stays, and all above it."""
    for root in plan.roots:
        for path, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()


def left_of(roots: Iterable[Path]) -> tuple[str, ...]:
    """What is left of a lab's directories, each with what holds it."""
    return tuple(f"cgroup {root} ({_held_by(root)})" for root in roots if root.is_dir())


def _held_by(root: Path) -> str:
    """Who is still in a group or below it, as a few words."""
    held: list[str] = []
    for path, _, _ in os.walk(root):
        with contextlib.suppress(OSError):
            held += Path(path, _PROCESSES).read_text().split()
    return f"in use by process {', '.join(held[:3])}" if held else "empty, but the kernel keeps it"


def _make(directory: Path) -> None:
    """Make a group; a new one of v1's cpuset takes no process before it has CPUs and memory."""
    directory.mkdir(exist_ok=True)
    for name in _CPUSETS:
        file = directory / name
        if file.exists() and not file.read_text().strip() and not (directory / "cgroup.controllers").exists():
            file.write_text((directory.parent / name).read_text())


def _move_to_leaf(root: Path) -> None:
    leaf = root / LEAF
    leaf.mkdir(exist_ok=True)
    (leaf / _PROCESSES).write_text("0")


def _hand_down(directory: Path, hierarchy: Hierarchy) -> None:
    """Let the groups below have the controllers of this one (v2); those that kubelet can do without may refuse."""
    control = directory / "cgroup.subtree_control"
    enabled = control.read_text().split()
    for name in hierarchy.controllers:
        if name in HANDED_DOWN and name not in enabled:
            with contextlib.nullcontext() if name in NEEDED else contextlib.suppress(OSError):
                control.write_text(f"+{name}")


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Say which directory the kernel refused, in one sentence."""
    try:
        yield
    except OSError as error:
        raise LabError(
            STEP, f"{path}: {error.strerror} (is another program using this hierarchy?)"
        ) from error
