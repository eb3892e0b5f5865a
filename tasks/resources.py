"""CPU and memory of a node, sampled on it."""

import time

from nornir.core.task import Result, Task

from tasks.connection import shell
from vpnmesh.model import Testbed
from vpnmesh.tools import load


def sample_load(task: Task, testbed: Testbed, seconds: float) -> Result:
    """Sample this node's load for that long; `result` is the raw text for `vpnmesh.tools.load.parse`."""
    argv = load.sampler(testbed.node(task.host.name).leg.interface)
    attached = shell(task).start(argv, timeout_s=seconds + 5)
    try:
        # one interval more, so that the window of `seconds` has whole samples on both sides
        time.sleep(seconds + 2 * load.INTERVAL_S)
        return Result(host=task.host, result=attached.stop().stdout)
    finally:
        attached.channel.close()
