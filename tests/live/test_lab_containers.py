"""Nodes that can run containers: their cgroups and settings are their own, and nothing of them outlives the lab."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from rich.console import Console

from tests.live.conftest import place_for_a_lab
from tests.live.test_lab import as_root, owner, said, ssh, traces
from tests.needs import needs
from vpnmesh.errors import InputError
from vpnmesh.lab import lifecycle
from vpnmesh.lab.cgroup_tree import used_by
from vpnmesh.lab.cgroups import HANDED_DOWN, LEAF, PROCESS_LIMIT, plan_cgroups
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.lifecycle import Lab, down, find, up
from vpnmesh.lab.stand_in_settings import WANTED
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Testbed
from workflows.run.lab import lab_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parents[2]
DEADLINE_S = 20.0
NODE = "worker1"
CONTAINERD = """
mkdir -p /etc/containerd /root/fs/bin
cp "$(command -v busybox)" /root/fs/bin/busybox
setsid containerd > /var/log/containerd.log 2>&1 < /dev/null &
for i in $(seq 150); do ctr version > /dev/null 2>&1 && break; sleep 0.1; done
ctr run -d --rootfs /root/fs stays /bin/busybox sleep 1000 > /dev/null
"""
PROGRAMS = ("containerd", "ctr", "runc", "busybox")


@pytest.fixture(scope="module")
def containers(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose nodes can run containers, with one that runs on worker1."""
    with place_for_a_lab(tmp_path_factory.mktemp("containers") / "lab"):
        with up(testbed, kubernetes=True, owned=True) as standing:
            start_container(standing)
            yield standing
            assert standing.close() == ()
        assert not any(root.exists() for root in plan_cgroups(standing.directory).roots)


def start_container(lab: Lab) -> None:
    """Start containerd on worker1, and a container in it."""
    missing = [name for name in PROGRAMS if which(name) is None]
    needs(not missing, f"not installed: {', '.join(missing)}")
    as_root(lab, NODE, CONTAINERD)


def groups_of_process(pid: int) -> dict[str, str]:
    """A process's group in each hierarchy, as the machine sees them."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {kinds or "v2": path for _, kinds, path in (line.split(":", 2) for line in lines)}


def containers_process(lab: Lab) -> int:
    """The container's process as the machine sees it: the only `sleep 1000` of the lab."""
    found = [one.pid for one in traces(lab).processes if b"\0sleep\x001000\0" in cmdline(one.pid)]
    assert len(found) == 1
    return found[0]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class TestContainers:
    """On the module's lab."""

    def test_a_container_runs_below_its_nodes_own_group(self, containers: Lab) -> None:
        """In every hierarchy of the machine; the node itself sees its own group as the root."""
        name = plan_cgroups(containers.directory).name
        groups = groups_of_process(containers_process(containers))
        assert {path.partition("/default/stays")[0] for path in groups.values()} == {f"/{name}/{NODE}"}
        seen = as_root(containers, NODE, "cat /proc/1/cgroup").splitlines()
        leaf = f"/{LEAF}" if plan_cgroups(containers.directory).unified else "/"
        assert {line.split(":", 2)[2] for line in seen} == {leaf}

    def test_the_machine_has_nothing_of_it_outside_of_the_labs_directory(self, containers: Lab) -> None:
        """The container's name is in the tree of every hierarchy once, below the lab's own directory."""
        plan = plan_cgroups(containers.directory)
        for hierarchy, own in zip(plan.hierarchies, plan.roots, strict=True):
            found = list(Path(hierarchy.mount).rglob("stays"))
            assert [path.is_relative_to(own) for path in found] == [True]

    def test_a_node_counts_as_a_process_of_the_machine_where_cpus_are_short(self, containers: Lab) -> None:
        """The lab's group counts as many times as it has nodes."""
        roots = plan_cgroups(containers.directory).roots
        files = [root / name for root in roots for name in ("cpu.shares", "cpu.weight")]
        (share,) = (int(file.read_text()) for file in files if file.exists())
        assert share in {one * len(containers.record.nodes) for one in (1024, 100)}

    def test_a_node_sees_no_group_of_another(self, containers: Lab) -> None:
        """Neither the other nodes' nor the machine's."""
        seen = as_root(containers, NODE, "find /sys/fs/cgroup -type d; cat /proc/self/mountinfo")
        assert "vpnmesh-lab-" not in seen
        assert "worker2" not in seen

    def test_what_kubelet_would_write_stays_in_the_node(self, containers: Lab) -> None:
        """The node holds what kubelet wants, takes other values, and the machine keeps its own."""
        machine = {path: Path(path).read_text() for path in WANTED if Path(path).exists()}
        paths = " ".join(machine)
        assert as_root(containers, NODE, f"cat {paths}").split() == [WANTED[path] for path in machine]
        as_root(containers, NODE, f"for f in {paths}; do echo 3 > $f; done")
        assert as_root(containers, NODE, f"cat {paths}").split() == ["3"] * len(machine)
        assert as_root(containers, "worker2", f"cat {paths}").split() == [WANTED[path] for path in machine]
        assert machine == {path: Path(path).read_text() for path in machine}

    def test_mounts_reach_containers_and_the_kernels_log_is_there(self, containers: Lab) -> None:
        """As kubelet needs both: shared mounts, and a log that can be opened."""
        assert as_root(
            containers, NODE, "findmnt -no PROPAGATION /; dd if=/dev/kmsg count=0 status=none; echo $?"
        ).split() == [
            "shared",
            "0",
        ]

    def test_a_shell_of_the_lab_is_in_the_nodes_groups(self, containers: Lab) -> None:
        """So that what is started by hand is held by the node's limits, and dies with it."""
        argv = (sys.executable, "-m", "vpnmesh.lab", "shell", NODE, "--", "cat", "/proc/self/cgroup")
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
        assert not [line for line in done.stdout.splitlines() if ".." in line or "vpnmesh" in line]

    def test_it_serves_who_does_not_ask_for_containers(self, containers: Lab, testbed: Testbed) -> None:
        """A run without a cluster takes it as it is."""
        assert up(testbed).init_pid == containers.init_pid


def test_a_plain_lab_is_refused_to_who_needs_containers(place: Path, testbed: Testbed) -> None:
    """With the way out, to `up` and to a run; and it has no cgroups."""
    refused = r"cannot run containers; take it down first: .*lab down, then: .*lab up --kubernetes$"
    with up(testbed, owned=True):
        assert not any(root.exists() for root in plan_cgroups(place).roots)
        with pytest.raises(InputError, match=refused):
            up(testbed, kubernetes=True)
        with (
            pytest.raises(InputError, match=refused),
            lab_for(testbed, Console(quiet=True), kubernetes=True),
        ):
            pass


def test_kill_9_with_a_running_container_leaves_empty_directories_alone(
    place: Path, testbed: Testbed
) -> None:
    """All processes are dead at once; the next up removes the directories, and so does down, also twice."""
    lab = up(testbed, kubernetes=True)
    start_container(lab)
    made = traces(lab)
    os.kill(lab.init_pid, signal.SIGKILL)
    alive = wait_until(
        lambda: [one for one in made.processes if one.alive], DEADLINE_S, 0.01, good=lambda one: not one
    )
    assert alive == []
    assert find() is None
    roots = plan_cgroups(place).roots
    assert all(root.is_dir() for root in roots)
    with up(testbed, owned=True):
        assert not any(root.exists() for root in roots)
    standing = up(testbed, kubernetes=True)
    os.kill(standing.init_pid, signal.SIGKILL)
    assert wait_until(down, DEADLINE_S, good=lambda left: not left) == ()
    assert down() == ()
    assert not any(root.exists() for root in roots)


@pytest.mark.parametrize("step", ["cgroups", "nodes", "ssh answers"])
def test_kill_9_in_the_middle_of_up_leaves_no_directory(place: Path, step: str) -> None:
    """Whatever had been made, down removes it, though there is no record of the lab yet."""
    with owner("containers", step) as creator:
        creator.kill()
    assert down() == ()
    assert not any(root.exists() for root in plan_cgroups(place).roots)


def test_two_labs_have_directories_of_their_own(containers: Lab, tmp_path: Path, testbed: Testbed) -> None:
    """One that ends leaves the other's alone."""
    with place_for_a_lab(tmp_path / "second"), up(testbed, kubernetes=True, owned=True) as second:
        assert plan_cgroups(second.directory).name != plan_cgroups(containers.directory).name
        assert second.close() == ()
    assert said(containers, NODE, "hostname") == NODE
    assert all(root.is_dir() for root in plan_cgroups(containers.directory).roots)


@pytest.mark.slow
def test_a_program_that_starts_itself_without_end_is_held(place: Path, testbed: Testbed) -> None:
    """The node is full, its neighbour is not, and the lab goes down as always."""
    del place
    with up(testbed, kubernetes=True, owned=True) as lab:
        done = ssh(lab, NODE, "sudo", "-n", "dash", "-c", "while sleep 1000 > /dev/null 2>&1 & do :; done")
        assert "Cannot fork" in done.stderr
        used = used_by(plan_cgroups(lab.directory), NODE)
        assert PROCESS_LIMIT - 20 < used.processes <= PROCESS_LIMIT
        assert used.cpu_s > 0
        assert used.memory_bytes > PROCESS_LIMIT * os.sysconf("SC_PAGESIZE")
        assert said(lab, "worker2", "hostname") == "worker2"
        assert lab.close() == ()


@contextmanager
def somebody_in(directory: Path) -> Iterator[int]:
    """A process of somebody else in a group."""
    with subprocess.Popen(("sleep", "600")) as sleeper:
        try:
            (directory / "cgroup.procs").write_text(str(sleeper.pid))
            yield sleeper.pid
        finally:
            sleeper.kill()


def test_a_directory_that_cannot_be_removed_is_one_sentence(
    place: Path, testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up and down say who is in it; once it is left, both go on."""
    monkeypatch.setattr(lifecycle, "_GONE_TIMEOUT_S", 0.2)
    plan = plan_cgroups(place)
    (root,) = (
        path for path, one in zip(plan.roots, plan.hierarchies, strict=True) if "pids" in one.controllers
    )
    root.mkdir()
    with somebody_in(root) as pid:
        sentence = f"cgroup {root} (in use by process {pid})"
        with pytest.raises(LabError) as caught:
            up(testbed)
        assert f"lab: step 'checks' failed: left of an earlier lab: {sentence}" == str(caught.value)
        assert down() == (sentence,)
    assert down() == ()
    assert not root.exists()


def test_a_hierarchy_that_cannot_be_mounted_is_one_sentence(
    place: Path, testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's refusal with the place, and nothing stays."""
    plan = plan_cgroups(place)
    wrong = tuple(replace(one, kind="cgroup", controllers=("no-such",)) for one in plan.hierarchies)
    monkeypatch.setattr(lifecycle, "usable_cgroups", lambda _: replace(plan, hierarchies=wrong))
    refused = (
        rf"^lab: step 'node \S+' failed: /sys/fs/cgroup\S*: {os.strerror(errno.EINVAL)} \(is another program"
    )
    with pytest.raises(LabError, match=refused):
        up(testbed, kubernetes=True)
    assert not any(root.exists() for root in plan.roots)
    assert down() == ()


def without_cgroups(script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script where no cgroups are mounted."""
    return subprocess.run(
        ("unshare", "--mount", "sh", "-c", f"umount -R -l /sys/fs/cgroup; {script}"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_machine_without_cgroups_is_refused_only_when_they_are_asked_for(place: Path) -> None:
    """With one sentence; a plain lab comes up there, and goes."""
    del place
    lab = f"{sys.executable} -m vpnmesh.lab"
    done = without_cgroups(f"{lab} up --kubernetes; echo $?; {lab} up > /dev/null; echo $?; {lab} down")
    why = "no cgroups are mounted below /sys/fs/cgroup"
    assert f"error: the lab's nodes cannot run containers: {why}\n" == done.stderr
    assert done.stdout.splitlines() == ["2", "0", "the lab is down, nothing is left"]


V2_ALONE = """
    import os, subprocess, sys
    from pathlib import Path
    from vpnmesh.lab import cgroup_tree, kernel
    from vpnmesh.lab.cgroups import plan_cgroups

    TOP = Path("/sys/fs/cgroup")

    def node():
        cgroup_tree.enter_node(plan, "worker1")
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.detach(str(TOP))
        cgroup_tree.show_to_node(plan)
        (TOP / "kubepods").mkdir()
        print(Path("/proc/self/cgroup").read_text().splitlines()[-1])
        print(Path(TOP, "kubepods", "cgroup.controllers").read_text().strip())
        try:
            (TOP / "cgroup.procs").write_text("0")
        except OSError as error:
            print(error.strerror)

    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    subprocess.run(("umount", "-R", "-l", TOP), check=True)
    kernel.mount("cgroup2", str(TOP), "cgroup2")
    control = TOP / "cgroup.subtree_control"
    before = control.read_text().split()
    plan = plan_cgroups(Path(sys.argv[1]))
    print(*plan.hierarchies[0].controllers, flush=True)
    cgroup_tree.make_roots(plan, 6)
    if (child := os.fork()) == 0:
        try:
            node()
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)
    cgroup_tree.remove_tree(plan)
    print(*cgroup_tree.left_of(plan.roots))
    for added in set(control.read_text().split()) - set(before):
        control.write_text(f"-{added}")
"""


def test_on_cgroup_v2_a_node_hands_its_controllers_down(root: None, tmp_path: Path) -> None:
    """With those that v1 leaves here: sshd's group is a leaf, and a group beside it has the controllers."""
    argv = ("unshare", "--mount", sys.executable, "-c", textwrap.dedent(V2_ALONE), str(tmp_path))
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    controllers, *rest = done.stdout.splitlines() or [""]
    needs(bool(controllers), "v1 has all controllers of this machine")
    handed = " ".join(one for one in controllers.split() if one in HANDED_DOWN)
    assert (done.stderr, rest) == ("", [f"0::/{LEAF}", handed, os.strerror(errno.EBUSY), ""])
