"""How the doctor judges whether a node can be one of a cluster."""

from dataclasses import replace

import pytest

from vpnmesh.cluster.protocol import ClusterRole
from vpnmesh.doctor.cluster import ClusterAnswers, answers, judge_cluster, judge_pod_mtu
from vpnmesh.doctor.finding import Check, Grade
from vpnmesh.plan import Completed
from vpnmesh.study.scenarios import scenario_named

WELL = """
cgroup v1 rw nosuid cpu cpuacct  rw cpuset rw memory rw pids
inotify 512
memory 8000000
has overlay
has kmsg
ntp yes
"""


def said(text: str, others: str = "") -> ClusterAnswers:
    """What a node said."""
    fact = answers(ClusterRole.MASTER)
    return fact.parse([Completed((), 0, text, ""), Completed((), 0, others, "")])


def test_a_node_that_is_well() -> None:
    """One finding, and a good one."""
    (one,) = judge_cluster("a", ClusterRole.MASTER, said(WELL), emulated=False)
    assert (one.check, one.grade) == (Check.CLUSTER, Grade.GOOD)
    assert one.said.startswith("cgroup v1")


ILL = {
    "cgroup v1 rw": ("cgroup v2 cpu io", Grade.FATAL, "no cgroup controller cpuset, memory, pids"),
    "memory 8000000": ("memory 500000", Grade.WARNING, "500 MB of memory"),
    "inotify 512": ("inotify 128", Grade.WARNING, "128 instances of inotify a user, 512 are wanted"),
    "has overlay": ("", Grade.FATAL, "no overlay file system"),
    "has kmsg": ("", Grade.FATAL, "no /dev/kmsg"),
    "ntp yes": ("ntp no", Grade.WARNING, "nothing keeps the clock right"),
    "cgroup v1": ("cgroup read-only\ncgroup v1", Grade.FATAL, "cgroups cannot be written"),
    "\nntp": ("\nswap /dev/sda2\nswap /swapfile\nntp", Grade.WARNING, "swap is on (/dev/sda2, /swapfile)"),
    "\nhas o": ("\ntaken 6443\nhas o", Grade.FATAL, "port TCP 6443 (API server) is taken"),
    "\nhas k": ("\ntaken 4789\nhas k", Grade.FATAL, "port UDP 4789 (VXLAN) is taken"),
}


@pytest.mark.parametrize("well", ILL)
def test_every_illness_is_named_with_a_way_out(well: str) -> None:
    """One alone, since all else is well."""
    ill, grade, words = ILL[well]
    text = WELL.replace(well, ill, 1) if well != "cgroup v1 rw" else WELL.replace(WELL.splitlines()[1], ill)
    (one,) = judge_cluster("a", ClusterRole.MASTER, said(text), emulated=False)
    assert (one.grade, one.do != "") == (grade, True)
    assert words in one.said


def test_another_cluster_is_fatal() -> None:
    """Each thing of it is named."""
    found = judge_cluster(
        "a", ClusterRole.WORKER, said(WELL, "process k3s\nfolder /etc/rancher\n"), emulated=True
    )
    assert [one.said.rpartition(": ")[2] for one in found] == ["process k3s", "folder /etc/rancher"]


def test_a_lab_without_cgroups_is_told_how_to_get_them() -> None:
    """By the lab's own option."""
    text = WELL.replace("cgroup v1", "cgroup read-only\ncgroup v1")
    (one,) = judge_cluster("a", ClusterRole.WORKER, said(text), emulated=True)
    assert "up --kubernetes" in one.do


def test_pods_must_fit_the_tunnel() -> None:
    """With VXLAN's bytes; a scenario without tunnel has its own check of the underlay."""
    fits = scenario_named("headscale-direct")
    assert list(judge_pod_mtu((fits, scenario_named("native-1450")))) == []
    (one,) = judge_pod_mtu((replace(fits, pod_mtu=1240),))
    assert "pods of 1240 bytes with VXLAN's 50 do not fit a tunnel of 1280" in one.said
    assert one.do.startswith("pod_mtu 1230")
