"""One look at a node around a repetition: its VPN's words, its pod's MTU, foreign overlays, pings; one round trip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from tasks.ping import pinged
from vpnmesh.host.foreign import foreign_vpns
from vpnmesh.host.pods import pod_mtu
from vpnmesh.plan import Command, Completed, Fact, both
from vpnmesh.solutions import all_interfaces, known_foreign
from vpnmesh.solutions.protocol import Mesh, Solution, Status

PINGS, INTERVAL_S = 5, 0.02
NOBODY: Mapping[str, str] = MappingProxyType({})
"""Of nodes whose pods ping nobody."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a node holds right now; `foreign` are interfaces of other overlays, `pinged` is what its pod's ping said.

    `link_changes` is how often its underlay interface got or lost its link since it is there, None where it is not.
    """

    status: Status
    pod_mtu: int | None
    foreign: tuple[str, ...]
    pinged: str = ""
    link_changes: int | None = None


@repeatable
def look_at_node(
    task: Task,
    solution: Solution,
    mesh: Mesh,
    overlays: tuple[str, ...],
    pings: Mapping[str, str] = NOBODY,
) -> Result:
    """Read everything that a measurement's honesty rests on; `result` is a Look.

    `pings` are the addresses that pods ping, by their nodes. They come first: a VPN that had nothing to carry for some
    seconds may say that it would use its relay, until the next packet finds the direct path again.
    """
    node = mesh.testbed.node(task.host.name)
    others = tuple(name for name in overlays if name not in solution.interfaces)
    held = both(both(pod_mtu(), _present(others)), _link_changes(node.leg.interface))
    fact = both(_pinged(pings.get(task.host.name, "")), both(solution.status(mesh, node), held))
    pinged, (status, ((mtu, foreign), changes)) = shell(task).gather(fact)
    return Result(host=task.host, result=Look(status, mtu, foreign, pinged, changes))


@repeatable
def read_foreign(task: Task) -> Result:
    """What of VPNs that are not ours is on this node; `result` is a tuple of FoundForeign, empty where nothing is."""
    return Result(host=task.host, result=shell(task).gather(foreign_vpns(known_foreign(), all_interfaces())))


def _pinged(address: str) -> Fact[str]:
    if not address:
        return Fact((), lambda _: "")
    return pinged(address, PINGS, INTERVAL_S, from_pod=True)


def _present(interfaces: tuple[str, ...]) -> Fact[tuple[str, ...]]:
    def parse(completed: Sequence[Completed]) -> tuple[str, ...]:
        return tuple(completed[0].stdout.split())

    script = 'for i in "$@"; do [ -e "/sys/class/net/$i" ] && echo "$i"; done; true'
    return Fact((Command(("sh", "-c", script, "sh", *interfaces)),), parse)


def _link_changes(interface: str) -> Fact[int | None]:
    """The kernel counts them (sysfs-class-net, carrier_changes)."""

    def parse(completed: Sequence[Completed]) -> int | None:
        said = completed[0].stdout.strip()
        return int(said) if said.isdigit() else None

    return Fact((Command(("cat", f"/sys/class/net/{interface}/carrier_changes"), ok=(0, 1)),), parse)
