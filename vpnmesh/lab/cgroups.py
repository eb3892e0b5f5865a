"""The cgroups of a lab's nodes, as values: which hierarchies the machine has, and where a lab is in them.

A node that is to run containers needs cgroups of its own: a directory per node in every hierarchy of the machine, made
in the node's birth, so that everything on it inherits them. A cgroup namespace makes this directory the root of what
the node sees. All directories of a lab are below one per hierarchy, which is named after the lab's directory: by that
name they are found again whatever became of the lab. `vpnmesh.lab.cgroup_tree` makes and removes them.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpnmesh.errors import UnavailableError

SEEN_AT = Path("/sys/fs/cgroup")
"""Where programs look for cgroups, on the machine and in a node."""
LEAF = "system"
"""On a cgroup v2 host, where sshd and all that it starts are: a group that has groups below it may hold no process."""
PROCESS_LIMIT = 2048
"""Processes and threads of one node at most: about four times what a master with API server, etcd and thirty pods has,
and little enough that the machine can stop a program that starts itself without end.
"""
NEEDED = ("cpu", "cpuset", "memory", "pids")
"""Controllers without which kubelet does not start; `pids` also holds PROCESS_LIMIT."""
HANDED_DOWN = (*NEEDED, "io", "hugetlb")
"""What of cgroup v2 is passed on to the groups below: what kubelet and runc use, and no more of the machine's."""
_V1, _V2 = "cgroup", "cgroup2"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree of cgroups: where the machine has it, its controllers (of v1 also `name=...`), whether it takes writes."""

    mount: str
    kind: str
    controllers: tuple[str, ...]
    writable: bool = True

    @property
    def v2(self) -> bool:
        """Whether it is a tree of cgroup v2."""
        return self.kind == _V2

    @property
    def options(self) -> str:
        """What selects this tree in a mount; v2 has only one."""
        if self.v2:
            return ""
        named_only = all(one.startswith("name=") for one in self.controllers)
        return ",".join(("none", *self.controllers) if named_only else self.controllers)


@dataclass(frozen=True, slots=True)
class CgroupPlan:
    """The cgroups of one lab: the name of its directory in every hierarchy."""

    name: str
    hierarchies: tuple[Hierarchy, ...]

    @property
    def roots(self) -> tuple[Path, ...]:
        """The lab's own directory in every hierarchy."""
        return tuple(Path(one.mount, self.name) for one in self.hierarchies)

    def directories(self, node: str) -> tuple[Path, ...]:
        """A node's directory in every hierarchy."""
        return tuple(root / node for root in self.roots)

    @property
    def unified(self) -> bool:
        """Whether the machine has cgroup v2 in the usual place, and nothing else that counts."""
        return any(one.v2 and Path(one.mount) == SEEN_AT for one in self.hierarchies)

    def seen_at(self, hierarchy: Hierarchy) -> Path:
        """Where a node sees a hierarchy."""
        return SEEN_AT if self.unified else SEEN_AT / Path(hierarchy.mount).name

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> "CgroupPlan":
        """Read what `asdict` made."""
        trees = (Hierarchy(**{**one, "controllers": tuple(one["controllers"])}) for one in raw["hierarchies"])
        return cls(raw["name"], tuple(trees))


def plan_cgroups(directory: Path) -> CgroupPlan:
    """The cgroups that the lab of this directory has, or would have, on this machine."""
    return CgroupPlan(
        name_for(directory), hierarchies(Path("/proc/self/mountinfo").read_text(), _v2_controllers)
    )


def name_for(directory: Path) -> str:
    """The name of a lab's directory in every hierarchy; two labs have two."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()
    return f"vpnmesh-lab-{digest[:12]}"


def _v2_controllers(mount: str) -> tuple[str, ...]:
    try:
        return tuple(Path(mount, "cgroup.controllers").read_text().split())
    except OSError:
        return ()


def hierarchies(mountinfo: str, v2_controllers: Callable[[str], tuple[str, ...]]) -> tuple[Hierarchy, ...]:
    """Every hierarchy that is mounted below the usual place, once; where v2 has that place itself, only v2.

    `mountinfo` is /proc/self/mountinfo (man proc_pid_mountinfo); `v2_controllers` asks a mount of v2 for its own.
    """
    found: dict[tuple[str, ...], Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        (mount, options), (kind, _, super_options) = before.split()[4:6], after.split()[:3]
        if kind not in (_V1, _V2) or not Path(mount).is_relative_to(SEEN_AT):
            continue
        flags = (set(options.split(",")), set(super_options.split(",")))
        controllers = v2_controllers(mount) if kind == _V2 else _v1_controllers(super_options)
        key = (_V2,) if kind == _V2 else controllers
        found.setdefault(key, Hierarchy(mount, kind, controllers, writable=all("rw" in one for one in flags)))
    trees = tuple(found.values())
    alone = tuple(one for one in trees if one.v2 and Path(one.mount) == SEEN_AT)
    return alone or trees


_NO_CONTROLLERS = (
    "rw",
    "ro",
    "noprefix",
    "clone_children",
    "xattr",
    "cpuset_v2_mode",
    "favordynmods",
    "seclabel",
)


def _v1_controllers(super_options: str) -> tuple[str, ...]:
    words = super_options.split(",")
    return tuple(one for one in words if one not in _NO_CONTROLLERS and not one.startswith("release_agent="))


def usable_cgroups(directory: Path) -> CgroupPlan:
    """The cgroups of the lab of this directory; UnavailableError where its nodes could run no containers."""
    plan = plan_cgroups(directory)
    if why := unusable(plan):
        raise UnavailableError(f"the lab's nodes cannot run containers: {why}")
    return plan


def unusable(plan: CgroupPlan) -> str:
    """Why nodes cannot have cgroups of their own here, as the end of a sentence; empty if they can."""
    if not plan.hierarchies:
        return f"no cgroups are mounted below {SEEN_AT}"
    if fixed := [one.mount for one in plan.hierarchies if not one.writable]:
        return f"cgroups are read-only here ({', '.join(fixed)})"
    held = {name for one in plan.hierarchies if plan.unified or not one.v2 for name in one.controllers}
    if lacking := [name for name in NEEDED if name not in held]:
        return f"the kernel has no cgroup controller {', '.join(lacking)}"
    return ""
