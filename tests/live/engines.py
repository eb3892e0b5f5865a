"""Impairing the small routed testbed by an engine, and leaving nothing of it: what the engines' tests share."""

from collections.abc import Callable, Iterable

from tests.live.routed import PAIR, Routed
from vpnmesh.impairment.engine import Engine, Impairment, InstalledImpairment
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.targets import Target
from vpnmesh.model import Placement

Record = Callable[[str, object], None]
"""pytest's `record_property`."""

_standing: list[tuple[Routed, Engine, Target]] = []


def has_netem(net: Routed) -> bool:
    """Whether this kernel can carry it."""
    done = net.run("worker1", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "limit", "1000")
    net.run("worker1", "tc", "qdisc", "del", "dev", "lo", "root")
    return done.exit_code == 0


def observe(net: Routed, engine: Engine, target: Target) -> InstalledImpairment:
    return net.gather(target.node, engine.observe(target))


def impair(
    net: Routed, engine: Engine, wanted: Impairment, placement: Placement | None = None
) -> tuple[Target, ...]:
    """Set an impairment at all targets of a placement."""
    targets = engine.targets(net.testbed, PAIR, placement or Placement())
    impair_each(net, engine, [(target, wanted) for target in targets])
    return targets


def impair_each(net: Routed, engine: Engine, parts: Iterable[tuple[Target, Impairment]]) -> None:
    """Set each impairment at its target."""
    for target, wanted in parts:
        _standing.append((net, engine, target))
        net.apply(target.node, engine.set(target, wanted, observe(net, engine, target)))


def clear(net: Routed, engine: Engine, targets: tuple[Target, ...]) -> None:
    for target in targets:
        net.apply(target.node, engine.clear(target, observe(net, engine, target)))


def clear_all() -> None:
    """Whatever was set and not cleared."""
    while _standing:
        net, engine, target = _standing.pop()
        clear(net, engine, (target,))


def tell(record: Record, engine: Engine, name: str, *words: str) -> None:
    """Record what netem did, for the table that `python -m tests.kernel` prints.

    The words: where, what was asked, what was seen.
    """
    if isinstance(engine, NetemEngine):
        where, asked, seen = words
        record("netem", f"{name}|{where}|{asked}|{seen}")
