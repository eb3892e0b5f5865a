"""One look at a node around a repetition: what its VPN says, its pod's MTU, foreign overlays; one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass

from nornir.core.task import Result, Task

from tasks.connection import shell
from vpnmesh.host.pods import pod_mtu
from vpnmesh.plan import Command, Completed, Fact, both
from vpnmesh.solutions.protocol import Mesh, Solution, Status


@dataclass(frozen=True, slots=True)
class Look:
    """What a node holds right now; `foreign` are interfaces of other overlays."""

    status: Status
    pod_mtu: int | None
    foreign: tuple[str, ...]


def look_at_node(task: Task, solution: Solution, mesh: Mesh, overlays: tuple[str, ...]) -> Result:
    """Read everything that a measurement's honesty rests on; `result` is a Look."""
    node = mesh.testbed.node(task.host.name)
    others = tuple(name for name in overlays if name not in solution.interfaces)
    fact = both(solution.status(mesh, node), both(pod_mtu(), _present(others)))
    status, (mtu, foreign) = shell(task).gather(fact)
    return Result(host=task.host, result=Look(status, mtu, foreign))


def _present(interfaces: tuple[str, ...]) -> Fact[tuple[str, ...]]:
    def parse(completed: Sequence[Completed]) -> tuple[str, ...]:
        return tuple(completed[0].stdout.split())

    script = 'for i in "$@"; do [ -e "/sys/class/net/$i" ] && echo "$i"; done; true'
    return Fact((Command(("sh", "-c", script, "sh", *interfaces)),), parse)
