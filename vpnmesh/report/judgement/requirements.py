"""What a user may need of a VPN, as data: which measured cells or which dated facts answer it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.errors import UnknownNameError
from vpnmesh.model import Path
from vpnmesh.study.scenarios import SCENARIOS


class Kind(StrEnum):
    """What answers a need."""

    THROUGHPUT = "throughput"
    CPU = "cpu"
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class Need:
    """One need; `conditions` are kinds (none, loss, delay), `topic` the criterion or matter of usability.

    `per_path` compares direct with direct and relayed with relayed; otherwise a solution is taken at its better path.
    """

    id: str
    question: str
    kind: Kind
    tests: tuple[str, ...] = ("tcp", "udp")
    conditions: tuple[str, ...] = ("none",)
    topic: str = ""
    per_path: bool = False
    only_tcp_relays: bool = False


TCP_RELAYS = frozenset(
    scenario.name for scenario in SCENARIOS if scenario.path is Path.RELAY and scenario.policy == "block-udp"
)
"""The scenarios whose relay carries traffic over TCP: all UDP is blocked in them."""

NEEDS = (
    Need("stable", "Links are stable: the most throughput.", Kind.THROUGHPUT),
    Need("delay", "Links have a high delay.", Kind.THROUGHPUT, conditions=("delay",), per_path=True),
    Need("loss-tcp", "Links lose packets, and traffic is TCP.", Kind.THROUGHPUT, ("tcp",), ("loss",)),
    Need("loss-udp", "Links lose packets, and traffic is UDP.", Kind.THROUGHPUT, ("udp",), ("loss",)),
    Need(
        "udp-blocked",
        "Firewalls block all UDP.",
        Kind.THROUGHPUT,
        topic="relay-tcp",
        only_tcp_relays=True,
    ),
    Need("low-cpu", "Nodes have little CPU.", Kind.CPU, conditions=("none", "loss", "delay")),
    Need("granular-acl", "Rules must name ports.", Kind.FACT, topic="granular-acl"),
    Need("web-ui", "People want a web interface.", Kind.FACT, topic="web-ui"),
    Need("fast-fallback", "Traffic must move to the relay quickly.", Kind.FACT, topic="fast-fallback"),
)


def needs_named(names: Sequence[str]) -> tuple[Need, ...]:
    """The needs of those ids in their own order, all of them for no names; UnknownNameError lists the right ones."""
    known = [need.id for need in NEEDS]
    for name in names:
        if name not in known:
            raise UnknownNameError("--need", "need", name, known)
    return tuple(need for need in NEEDS if not names or need.id in names)
