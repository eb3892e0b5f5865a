"""What a user may need of a VPN, as data: which measured cells or which dated facts answer it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.errors import UnknownNameError
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.report.judgement.evidence import ConditionKind

FAST_FALLBACK = "fast-fallback"
"""The topic, and the need, of how quickly traffic moves to the relay."""


class NeedKind(StrEnum):
    """What answers a need."""

    THROUGHPUT = "throughput"
    CPU = "cpu"
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class UserNeed:
    """One need; `topic` = the criterion or matter of usability that answers it or leaves a solution out.

    `per_path` compares direct with direct and relayed with relayed; otherwise a solution is taken at its better path.
    """

    id: str
    question: str
    kind: NeedKind
    tests: tuple[str, ...] = THROUGHPUT_TESTS
    conditions: tuple[ConditionKind, ...] = (ConditionKind.NONE,)
    topic: str = ""
    per_path: bool = False
    only_tcp_relays: bool = False


_DELAY, _LOSS = (ConditionKind.DELAY,), (ConditionKind.LOSS,)

NEEDS = (
    UserNeed("stable", "Links are stable: the most throughput.", NeedKind.THROUGHPUT),
    UserNeed("delay", "Links have a high delay.", NeedKind.THROUGHPUT, conditions=_DELAY, per_path=True),
    UserNeed("loss-tcp", "Links lose packets, and traffic is TCP.", NeedKind.THROUGHPUT, ("tcp",), _LOSS),
    UserNeed("loss-udp", "Links lose packets, and traffic is UDP.", NeedKind.THROUGHPUT, ("udp",), _LOSS),
    UserNeed(
        "udp-blocked",
        "Firewalls block all UDP.",
        NeedKind.THROUGHPUT,
        topic="relay-tcp",
        only_tcp_relays=True,
    ),
    UserNeed(
        "low-cpu",
        "Nodes have little CPU.",
        NeedKind.CPU,
        conditions=(ConditionKind.NONE, *_LOSS, *_DELAY),
    ),
    UserNeed("granular-acl", "Rules must name ports.", NeedKind.FACT, topic="granular-acl"),
    UserNeed("web-ui", "People want a web interface.", NeedKind.FACT, topic="web-ui"),
    UserNeed(FAST_FALLBACK, "Traffic must move to the relay quickly.", NeedKind.FACT, topic=FAST_FALLBACK),
)


def needs_named(names: Sequence[str]) -> tuple[UserNeed, ...]:
    """The needs of those ids in their own order, all of them for no names; UnknownNameError lists the right ones."""
    known = [need.id for need in NEEDS]
    for name in names:
        if name not in known:
            raise UnknownNameError("--need", "need", name, known)
    return tuple(need for need in NEEDS if not names or need.id in names)
