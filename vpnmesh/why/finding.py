"""A finding of a diagnosis: what makes a path down, relayed or slow, the command that shows it, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from vpnmesh.plan import Command, Step


class Effect(StrEnum):
    """What a finding does to a path, the worst first; `later` shows once the direct path is lost."""

    DOWN = "down"
    RELAYED = "relayed"
    SLOW = "slow"
    LATER = "later"


class Cause(StrEnum):
    """What is wrong; findings of one effect are shown in this order."""

    SCENARIO = "scenario"
    NODE = "node"
    DAEMON = "daemon"
    CLOCK = "clock"
    UDP = "udp"
    NAT = "nat"
    RULE = "firewall rule"
    RELAY = "relay"
    STUN = "stun"
    CONTROL = "control plane"
    ENDPOINT = "endpoint"
    MTU = "mtu"
    OFFLOAD = "offload"
    BUFFER = "receive buffer"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A command, the node on which it shows the finding ("" for this machine's own probes), and what it said."""

    node: str
    command: str
    said: str


INTERFACES = "/proc/sys/net/ipv4/conf"
"""A folder for each interface: of the network namespace of whoever looks, which /sys need not be of."""


def where_it_is(path: str, *argv: str) -> Command:
    """A step of the way back for what may be gone by then: nothing is to be done where that path is not there."""
    return Command(("sh", "-c", '[ -e "$1" ] || exit 0; shift; exec "$@"', "sh", path, *argv))


@dataclass(frozen=True, slots=True)
class Change:
    """What a fix does on one node, what takes it back, and both as a line of a plan."""

    node: str
    steps: tuple[Step, ...]
    undo: tuple[Step, ...]
    diff: str


@dataclass(frozen=True, slots=True)
class Fix:
    """What vpnmesh can change by itself: nodes' settings, the firewall's policy, or joining the mesh once more."""

    changes: tuple[Change, ...] = ()
    policy: str = ""
    join: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The plan, a line each."""
        lines = [f"{one.node}: {one.diff}" for one in self.changes]
        lines += [f"firewall: policy {self.policy}"] if self.policy else []
        lines += ["all members: join the mesh once more, which starts what does not run"] if self.join else []
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause: `do` is the way out in words, `fix` what can be tried by itself, None where only its owner can."""

    cause: Cause
    effect: Effect
    where: str
    said: str
    do: str
    evidence: tuple[Evidence, ...]
    fix: Fix | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """A finding that nobody can check or do anything about is refused (ValueError)."""
        if not self.evidence or not self.do:
            raise ValueError(f"{self.cause}: {self.said}: without evidence or a way out")


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst effect first, each finding once."""
    effects, causes = list(Effect), list(Cause)
    return sorted(
        dict.fromkeys(findings), key=lambda one: (effects.index(one.effect), causes.index(one.cause))
    )
