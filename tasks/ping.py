"""Round trips from a node or its pod."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from vpnmesh.doctor import paths
from vpnmesh.host.pods import in_pod
from vpnmesh.impairment import burst
from vpnmesh.model import Condition, Placement
from vpnmesh.plan import Command, Fact
from vpnmesh.tools import ping

INTERVAL_S = 0.05


@repeatable
def ping_address(
    task: Task,
    address: str,
    count: int = 5,
    interval_s: float = INTERVAL_S,
    wait_s: float = 1.0,
    *,
    from_pod: bool = False,
) -> Result:
    """Ping an address from this node, or from its pod; `result` is a PingSummary (RTTs in ms)."""
    fact = pinged(address, count, interval_s, wait_s, from_pod=from_pod)
    return Result(host=task.host, result=ping.parse(shell(task).gather(fact)))


def pinged(
    address: str, count: int, interval_s: float, wait_s: float = 1.0, *, from_pod: bool = False
) -> Fact[str]:
    """What ping says, whatever becomes of its packets: text for `ping.parse`."""
    argv = ping.argv(address, count, interval_s=interval_s, wait_s=wait_s)
    limit_s = ping.seconds(count, interval_s=interval_s, wait_s=wait_s) + 2
    command = Command(in_pod(*argv) if from_pod else argv, timeout_s=limit_s, ok=(0, 1, 2))
    return Fact((command,), lambda completed: completed[0].stdout + completed[0].stderr)


@repeatable
def ping_paths(task: Task, asked: Mapping[str, Mapping[str, IPv4Address]]) -> Result:
    """Ping, side by side, the others that this node is to ask; `result` is a PingSummary by address."""
    others = tuple(asked[task.host.name].values())
    return Result(host=task.host, result=shell(task).gather(paths.round_to(others)))


@repeatable
def ping_burst(
    task: Task,
    address: str,
    condition: Condition | None = None,
    placement: Placement | None = None,
    slower: int = 1,
    *,
    from_pod: bool = False,
) -> Result:
    """Send 2,000 pings within a second, or as many as the condition is judged by; `result` is a PingSummary.

    `slower` is by how many times fewer a second are sent.
    """
    fact = burst.burst(address, in_pod() if from_pod else (), condition, placement, slower)
    return Result(host=task.host, result=shell(task).gather(fact))


@repeatable
def ping_train(
    task: Task, address: str, condition: Condition, placement: Placement, *, from_pod: bool = False
) -> Result:
    """Send pings in one go, to judge a limited rate by; `result` is a PingSummary."""
    fact = burst.train(address, in_pod() if from_pod else (), condition, placement)
    return Result(host=task.host, result=shell(task).gather(fact))
