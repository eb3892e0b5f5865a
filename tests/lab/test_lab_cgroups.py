"""Which cgroups a machine has, and where a lab's are among them."""

from pathlib import Path

import pytest

from vpnmesh.lab.cgroup_tree import left_of, remove_tree
from vpnmesh.lab.cgroups import CgroupPlan, Hierarchy, hierarchies, name_for, unusable

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 31 0:36 / /var/lib/other/pids rw,relatime - cgroup cgroup rw,pids
"""
V2 = """\
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
35 31 0:32 / /sys/fs/cgroup/net_cls rw,relatime - cgroup cgroup rw,net_cls
"""
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def plan(mountinfo: str, controllers: tuple[str, ...] = CONTROLLERS) -> CgroupPlan:
    """A lab's plan on a machine with these mounts."""
    return CgroupPlan("vpnmesh-lab-1", hierarchies(mountinfo, lambda _: controllers))


def test_every_hierarchy_of_v1_is_found_once_with_what_selects_it() -> None:
    """Joined controllers stay joined, a named one without any is `none`, settings are no controllers."""
    found = plan(V1, ())
    assert [(one.mount.removeprefix("/sys/fs/cgroup/"), one.options) for one in found.hierarchies] == [
        ("cpu,cpuacct", "cpu,cpuacct"),
        ("cpuset", "cpuset"),
        ("memory", "memory"),
        ("pids", "pids"),
        ("systemd", "none,name=systemd"),
        ("unified", ""),
    ]
    assert not found.unified
    assert unusable(found) == ""


def test_a_node_sees_each_of_v1_under_its_own_name() -> None:
    """As on the machine, also one that the machine has elsewhere below /sys/fs/cgroup."""
    found = plan(V1, ())
    assert found.directories("worker1")[0] == Path("/sys/fs/cgroup/cpu,cpuacct/vpnmesh-lab-1/worker1")
    assert found.seen_at(found.hierarchies[0]) == Path("/sys/fs/cgroup/cpu,cpuacct")


def test_where_v2_has_the_usual_place_only_v2_counts() -> None:
    """Controllers that v1 still holds beside it are not kubelet's."""
    found = plan(V2)
    assert found.hierarchies == (Hierarchy("/sys/fs/cgroup", "cgroup2", CONTROLLERS),)
    assert found.unified
    assert found.seen_at(found.hierarchies[0]) == Path("/sys/fs/cgroup")
    assert unusable(found) == ""


@pytest.mark.parametrize(
    ("mountinfo", "controllers", "why"),
    [
        ("", (), "no cgroups are mounted below /sys/fs/cgroup"),
        (V2.replace("rw,nosuid", "ro,nosuid"), CONTROLLERS, "cgroups are read-only here (/sys/fs/cgroup)"),
        (V2, ("cpu", "io", "pids"), "the kernel has no cgroup controller cpuset, memory"),
        (V1.replace("rw,memory", "rw,perf_event"), ("memory",), "the kernel has no cgroup controller memory"),
    ],
)
def test_a_machine_without_usable_cgroups_is_told_so(
    mountinfo: str, controllers: tuple[str, ...], why: str
) -> None:
    """Not mounted, read-only as in a container, without memory as on a small board, memory half moved to v2."""
    assert unusable(plan(mountinfo, controllers)) == why


def test_two_labs_have_different_directories(tmp_path: Path) -> None:
    """And one lab the same by every spelling of its path."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert name_for(tmp_path / "a") != name_for(tmp_path / "b")
    assert name_for(tmp_path / "link" / "a") == name_for(tmp_path / "a")


def test_only_empty_directories_of_this_lab_are_removed(tmp_path: Path) -> None:
    """Deepest first; what is not empty stays with all above it, and is told with who is in it."""
    own = CgroupPlan("vpnmesh-lab-1", (Hierarchy(str(tmp_path), "cgroup", ("pids",)),))
    (tmp_path / "vpnmesh-lab-1" / "worker1" / "kubepods" / "pod1").mkdir(parents=True)
    held = tmp_path / "vpnmesh-lab-1" / "worker2"
    held.mkdir()
    (held / "cgroup.procs").write_text("4711\n")
    (tmp_path / "vpnmesh-lab-2").mkdir()
    remove_tree(own)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == [
        "vpnmesh-lab-1",
        "vpnmesh-lab-2",
        "worker2",
    ]
    assert left_of(own.roots) == (f"cgroup {tmp_path}/vpnmesh-lab-1 (in use by process 4711)",)
