"""What a diagnosis asks of nodes: their state, probes to each other, and what their daemon says of its ways."""

from collections.abc import Mapping
from typing import Any

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from vpnmesh.host.pods import in_pod
from vpnmesh.plan import Command, Fact, ask, both
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.solutions.ways import Ways
from vpnmesh.tools import ping
from vpnmesh.why import questions
from vpnmesh.why.observed import PodPings

PINGS, INTERVAL_S = 5, 0.05
_IP_ICMP_BYTES = 28


@repeatable
def read_path_state(task: Task, solution: Solution, mesh: Mesh) -> Result:
    """Interfaces, packet filters, daemons, sockets and routes of this node; `result` is a NodeState."""
    asked = questions.watched(mesh, solution, mesh.testbed.node(task.host.name))
    return Result(host=task.host, result=shell(task).gather(questions.state(asked)))


@repeatable
def probe_ways(task: Task, asked: Mapping[str, Mapping[str, Any]]) -> Result:
    """Send and answer probes for some seconds, with all others that do so now; `result` is a Probed.

    Nothing of it stays: the program ends by itself, and leaves no file.
    """
    return Result(host=task.host, result=shell(task).gather(questions.probe(asked[task.host.name])))


@repeatable
def read_ways(task: Task, solution: Solution, mesh: Mesh, peers: Mapping[str, str]) -> Result:
    """What the daemon says of itself and of the way to its peer; `result` is (Status, Ways or None)."""
    node, peer = mesh.testbed.node(task.host.name), mesh.testbed.node(peers[task.host.name])
    nothing: Fact[Ways | None] = Fact((), lambda _: None)
    told = solution.ways(mesh, node, peer) or nothing
    return Result(host=task.host, result=shell(task).gather(both(solution.status(mesh, node), told)))


@repeatable
def read_identity(task: Task, solution: Solution, mesh: Mesh) -> Result:
    """What tells this member from others where a mesh stands already; `result` maps names to texts."""
    fact = solution.identity(mesh, mesh.testbed.node(task.host.name))
    return Result(host=task.host, result=shell(task).gather(fact))


@repeatable
def read_tunnels(task: Task, interfaces: tuple[str, ...]) -> Result:
    """Which of these interfaces the node has; `result` is a tuple of names."""
    script = 'for i in "$@"; do [ -e "/sys/class/net/$i" ] && echo "$i"; done; true'
    fact = ask("sh", "-c", script, "sh", *interfaces).map(lambda one: tuple(one.stdout.split()))
    return Result(host=task.host, result=shell(task).gather(fact))


@repeatable
def ping_pod(task: Task, address: str, mtu: int) -> Result:
    """Ping a pod from this node's pod, by small packets and by some of `mtu` bytes; `result` is a PodPings."""
    small = in_pod(*ping.argv(address, PINGS, INTERVAL_S))
    full = ping.argv(address, PINGS, INTERVAL_S, payload_bytes=mtu - _IP_ICMP_BYTES)
    whole = in_pod(full[0], "-M", "do", *full[1:])
    limit_s = ping.seconds(PINGS, INTERVAL_S) + 2
    commands = tuple(Command(argv, timeout_s=limit_s, ok=(0, 1, 2)) for argv in (small, whole))
    fact = Fact(commands, lambda found: PodPings(*(ping.parse(one.stdout + one.stderr) for one in found)))
    return Result(host=task.host, result=shell(task).gather(fact))
