"""What `workflows.doctor` asks a node; nothing is changed."""

import time

from nornir.core.task import Result, Task

from inventory.repeating import on_controller, repeatable
from tasks.connection import shell
from tasks.firewall.registry import driver_of
from vpnmesh.cluster.protocol import ClusterRole
from vpnmesh.doctor import cluster, questions
from vpnmesh.doctor.judge import Skew, features_of
from vpnmesh.model import Role, Testbed

ATTEMPTS = 3


@on_controller("it compares with its clock")
def read_clock(task: Task) -> Result:
    """Compare the node's clock with this machine's; `result` is the Skew of the quickest of three round trips."""
    here = shell(task)
    skews = []
    for _ in range(ATTEMPTS):
        before, started = time.time(), time.monotonic()
        there = here.gather(questions.clock())
        half = (time.monotonic() - started) / 2
        skews.append(Skew(there - before - half, half))
    return Result(host=task.host, result=min(skews, key=lambda skew: skew.within_s))


@repeatable
def read_answers(task: Task, testbed: Testbed) -> Result:
    """Traffic, load, kernel features, foreign processes, overlays and pods; `result` is an NodeAnswers."""
    node = testbed.node(task.host.name)
    features = features_of(node, driver_of(task.host).kernel_features)
    return Result(host=task.host, result=shell(task).gather(questions.answers(node, features)))


@repeatable
def read_cluster_answers(task: Task, role: ClusterRole) -> Result:
    """Cgroups, ports, swap, settings and other clusters of a node that is to have that role; `result` is a
    ClusterAnswers.
    """
    return Result(host=task.host, result=shell(task).gather(cluster.answers(role)))


@repeatable
def probe_path_mtu(task: Task, testbed: Testbed) -> Result:
    """Send full packets to every other node's underlay; `result` maps its address to the MTU that got through."""
    others = [
        node.underlay
        for node in testbed.nodes
        if node.name != task.host.name and Role.FIREWALL not in node.roles
    ]
    return Result(host=task.host, result=shell(task).gather(questions.path_mtu(others)))
