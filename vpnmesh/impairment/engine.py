"""What every impairment engine is: ask what the kernel holds, plan what it shall hold, plan it away."""

import math
from dataclasses import dataclass, replace
from typing import Protocol

from vpnmesh.condition import QUEUE_MS
from vpnmesh.errors import CheckError
from vpnmesh.impairment.targets import Target
from vpnmesh.model import Condition, End, Pair, Place, Placement, Testbed
from vpnmesh.plan import Command, Fact, Plan, Step, unified_diff

PORT_RATE_MBIT_S = 1000.0
"""What the paper's switch ports carry, and what the lab's ports are shaped to."""
SMALL_PACKET_BYTES = 1230
"""The smaller pod MTU of the study: at one rate, small packets fill a queue soonest."""
ROOM = 1.2
MIN_LIMIT_PACKETS = 1000
DEADMAN_S = 900
"""After how many seconds an impairment whose controller fell silent lifts itself."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a target shall suffer: condition, queue limit in packets, seed of the random loss, deadman in seconds."""

    condition: Condition
    limit_packets: int
    seed: int = 1
    deadman_s: int = DEADMAN_S


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine did since it was set; `late_ms_mean` is how much later than asked packets left."""

    passed: int
    dropped_loss: int
    dropped_limit: int
    dropped_socket: int
    max_backlog_packets: int
    late_ms_mean: float
    late_ms_max: float


@dataclass(frozen=True, slots=True)
class InstalledImpairment:
    """What a node has of one impairment, as its kernel shows it.

    `condition` acts on packets now (falsy when nothing does), `lines` are all traces for people to read,
    `undo` takes exactly these traces away, `faults` say why what is there does not do what it looks like.
    `former` is the root qdisc that has to come back (tc's JSON), `obstacle` says why nothing can be set here;
    `has_ipv6` whether the kernel has IPv6 packets to impair.
    """

    condition: Condition
    limit_packets: int | None = None
    lines: tuple[str, ...] = ()
    undo: tuple[Command, ...] = ()
    faults: tuple[str, ...] = ()
    counters: Counters | None = None
    former: str = ""
    obstacle: str = ""
    has_ipv6: bool = True


class Engine(Protocol):
    """Something that impairs packets; `name` is what results are recorded under."""

    @property
    def name(self) -> str:
        """`netem` or `nfqueue`: results of different engines are never pooled."""

    def targets(self, testbed: Testbed, pair: Pair, placement: Placement) -> tuple[Target, ...]:
        """Where this engine must sit for that placement."""

    def observe(self, target: Target) -> Fact[InstalledImpairment]:
        """What the target's node holds now."""

    def set(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Make the node hold exactly this impairment; empty when it does. CheckError where that cannot be undone."""

    def clear(self, target: Target, held: InstalledImpairment) -> Plan:
        """Leave no trace; empty when there is none."""

    def renew(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Start the deadman's time anew, without touching the impairment."""


def auto_limit_packets(condition: Condition, rate_mbit_s: float = PORT_RATE_MBIT_S) -> int:
    """A queue that holds what a port of that rate sends during the delay, with room: it never caps throughput.

    Besides, it holds what waits for the wire where the condition has a rate of its own: nfqueue has one queue for
    both. netem's shaper has its own after the delay, so there that part only stands empty.
    """
    delayed_bits = rate_mbit_s * 1000 * (condition.delay_ms + condition.jitter_ms)
    shaped_bits = (condition.rate_mbit_s or 0.0) * 1000 * QUEUE_MS
    waiting = (delayed_bits + shaped_bits) / 8 / SMALL_PACKET_BYTES
    return max(MIN_LIMIT_PACKETS, math.ceil(waiting * ROOM))


def impairment_for(
    condition: Condition,
    placement: Placement,
    seed: int = 1,
    deadman_s: int = DEADMAN_S,
    rate_mbit_s: float = PORT_RATE_MBIT_S,
) -> Impairment:
    """The impairment that a condition's one way means at a placement; `limit` None means auto."""
    limit = placement.limit if placement.limit is not None else auto_limit_packets(condition, rate_mbit_s)
    return Impairment(condition, limit, seed, deadman_s)


def impairments_for(
    engine: Engine,
    testbed: Testbed,
    pair: Pair,
    condition: Condition,
    placement: Placement,
    seed: int = 1,
) -> tuple[tuple[Target, Impairment], ...]:
    """Where which impairment must be for that condition: a way back of its own is at the other end's egress."""
    if condition.back is None:
        one = impairment_for(condition.forth, placement, seed)
        return tuple((target, one) for target in engine.targets(testbed, pair, placement))
    forth, back = (End.SERVER, End.CLIENT) if placement.end is End.SERVER else (End.CLIENT, End.SERVER)
    parts = []
    for end, way in ((forth, condition.forth), (back, condition.back)):
        there = replace(placement, end=end)
        targets = engine.targets(testbed, pair, there) if way else ()
        parts += [(target, impairment_for(way, there, seed)) for target in targets]
    return tuple(parts)


def every_target(engine: Engine, testbed: Testbed, pair: Pair) -> tuple[Target, ...]:
    """All places an impairment of this pair can be at: what teardown clears, whatever was set."""
    placements = [Placement(place, End.BOTH) for place in Place]
    return tuple(target for placement in placements for target in engine.targets(testbed, pair, placement))


def everywhere(engine: Engine, testbed: Testbed) -> tuple[Target, ...]:
    """All places an impairment of any pair can be at: what was set for any member, as client or as server."""
    names = [node.name for node in testbed.k8s]
    ring = [*testbed.pairs, *(Pair(a, b) for a, b in zip(names, [*names[1:], names[0]], strict=True))]
    return tuple(dict.fromkeys(target for pair in ring for target in every_target(engine, testbed, pair)))


def check_held(held: InstalledImpairment, wanted: Impairment) -> None:
    """Raise CheckError("impairment") unless the kernel holds what was asked, and holds it in working order."""
    if held.faults:
        raise CheckError("impairment", "; ".join(held.faults))
    if held.condition != wanted.condition:
        raise CheckError(
            "impairment", f"asked for {wanted.condition.name}, kernel holds {held.condition.name}"
        )
    if wanted.condition.delay_ms and held.limit_packets != wanted.limit_packets:
        raise CheckError(
            "impairment",
            f"asked for a limit of {wanted.limit_packets} packets, kernel holds {held.limit_packets}",
        )


def late_ms_between(before: Counters, after: Counters) -> float | None:
    """How much later than asked packets left between two readings, on average; None if none left.

    An engine that shares its CPU with the load can fall behind: this much delay was added by that.
    """
    passed = after.passed - before.passed
    if passed <= 0:
        return None
    return (after.late_ms_mean * after.passed - before.late_ms_mean * before.passed) / passed


def plan_change(
    target: Target, held: InstalledImpairment, wanted: tuple[str, ...], steps: tuple[Step, ...]
) -> Plan:
    """From what is held to the wanted lines: nothing if equal and in order, else undo all and begin anew."""
    if sorted(held.lines) == sorted(wanted) and not held.faults:
        return Plan()
    title = f"{target.node}: impairment {target.name}"
    return Plan(held.undo + steps, unified_diff(title, "\n".join(held.lines), "\n".join(wanted)))
