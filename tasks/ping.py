"""Round trips from a node or its pod."""

from nornir.core.task import Result, Task

from tasks.connection import shell
from vpnmesh.plan import Command, Fact
from vpnmesh.pods import in_pod
from vpnmesh.tools import ping


def ping_address(task: Task, address: str, count: int = 5, *, from_pod: bool = False) -> Result:
    """Ping an address from this node, or from its pod; `result` is a PingSummary (RTTs in ms)."""
    argv = ping.argv(address, count=count, interval_s=0.05)
    command = Command(in_pod(*argv) if from_pod else argv, timeout_s=ping.seconds(count), ok=(0, 1, 2))
    summary = shell(task).gather(Fact((command,), lambda completed: ping.parse(completed[0].stdout)))
    return Result(host=task.host, result=summary)
