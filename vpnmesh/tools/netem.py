"""The arguments of `tc` for netem and the queueing disciplines around it, and `tc -j` read back.

Sources: tc-netem(8), tc-tbf(8), tc-prio(8), tc-flower(8);
what `-j` prints: iproute2 6.1, tc/q_netem.c, q_tbf.c, f_flower.c.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from vpnmesh.condition import DIGITS, QUEUE_MS, Condition
from vpnmesh.errors import ToolError

PRIOMAP = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
"""What pfifo_fast does with the first three bands; a fourth is reached by a filter only."""

ORDER_RATE_BYTES_S = 5_000_000_000
"""40 Gbit/s, more than any rate that is asked for."""
LEAST_BURST_BYTES = 1600
"""A packet with its headers."""
BURST_S = 0.001


@dataclass(frozen=True, slots=True)
class Netem:
    """What a netem qdisc holds; `others` are options of netem that we never set."""

    condition: Condition
    limit_packets: int
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Qdisc:
    """One queueing discipline of a device; `parent` is empty at the root."""

    kind: str
    handle: str
    root: bool = False
    parent: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether the kernel put it there by itself, and would again."""
        return self.handle == "0:"

    @property
    def netem(self) -> Netem:
        """Its figures, if it is a netem; the rate of a shaper below it is not among them."""
        return Netem(
            _condition(self.options), self.options.get("limit", 0), tuple(sorted(_others(self.options)))
        )

    @property
    def rate_mbit_s(self) -> float:
        """What a tbf lets through; tc shows bytes a second."""
        return round(float(self.options.get("rate", 0)) * 8 / 1e6, 4)

    @property
    def words(self) -> tuple[str, ...] | None:
        """The words that make it again, None where we cannot promise the same."""
        make = _MAKERS.get(self.kind)
        return make(self.options) if make else None


def _condition(options: dict[str, Any]) -> Condition:
    """Loss, delay, jitter and reordering; figures that no condition can have are left to `_others`."""
    delay, loss, bursts = (options.get(key, {}) for key in ("delay", "loss-random", "loss-gemodel"))
    loss_pct, burst_packets = round(loss.get("loss", 0) * 100, 4), None
    if _is_simple(bursts):
        loss_pct, burst_packets = (
            _digits(100 * bursts["p"] / (bursts["p"] + bursts["r"])),
            _digits(1 / bursts["r"]),
        )
    jitter, reorder = delay.get("jitter", 0), options.get("reorder", {}).get("reorder", 0)
    return Condition(
        loss_pct=loss_pct,
        delay_ms=round(delay.get("delay", 0) * 1000, 4),
        jitter_ms=round(jitter * 1000, 4),
        burst_packets=burst_packets,
        reorder_pct=round(reorder * 100, 4),
    )


def _others(options: dict[str, Any]) -> set[str]:
    """What it does that we never ask for."""
    known = {"limit", "delay", "loss-random", "loss-gemodel", "reorder", "rate", "ecn", "gap", "seed"}
    others = {name for name in options if name not in known}
    correlated = {"jitter": "delay", "loss": "loss-random", "reordering": "reorder"}
    others |= {
        f"{what} correlation" for what, key in correlated.items() if options.get(key, {}).get("correlation")
    }
    if "loss-gemodel" in options and not _is_simple(options["loss-gemodel"]):
        others.add("loss in a good state, or none in a bad one")
    if "rate" in options and options["rate"].get("rate") != ORDER_RATE_BYTES_S:
        others.add("rate")
    if "reorder" in options and options.get("gap", 1) > 1:
        others.add("gap")
    return others


def _is_simple(bursts: dict[str, Any]) -> bool:
    """Whether a chain loses all in its bad state, and nothing in its good one, as we ask for."""
    return bool(bursts.get("p") and bursts.get("r")) and bursts.get("1-h") == 1 and not bursts.get("1-k")


def _digits(figure: float) -> float:
    return float(f"{figure:.{DIGITS}g}")


Maker = Callable[[dict[str, Any]], tuple[str, ...] | None]


def _fifo(kind: str) -> Maker:
    return lambda options: (kind, "limit", str(options["limit"]))


def _tbf(options: dict[str, Any]) -> tuple[str, ...] | None:
    if set(options) != {"rate", "burst", "lat"}:
        return None
    # tc keeps the burst as whole microseconds at the rate and cuts the rest: half of one more lands on the same
    burst = options["burst"] + options["rate"] // 2_000_000
    rate = f"{options['rate'] * 8}bit"
    return ("tbf", "rate", rate, "burst", str(burst), "latency", f"{options['lat']}us")


def _fq_codel(options: dict[str, Any]) -> tuple[str, ...] | None:
    units = {"target", "interval", "ce_threshold"}
    plain = {name: value for name, value in options.items() if name != "ecn"}
    if not set(plain) <= {"limit", "flows", "quantum", "memory_limit", "drop_batch", *units}:
        return None
    # tc shows the kernel's units of 1.024 us as whole us, rounded down: one more lands on the same
    shown = {name: f"{value + 1}us" if name in units else str(value) for name, value in plain.items()}
    words = [word for pair in shown.items() for word in pair]
    return ("fq_codel", *words, "ecn" if options.get("ecn") else "noecn")


_MAKERS: dict[str, Maker] = {
    "pfifo": _fifo("pfifo"),
    "bfifo": _fifo("bfifo"),
    "pfifo_fast": lambda _options: ("pfifo_fast",),
    "tbf": _tbf,
    "fq_codel": _fq_codel,
}
_QDISCS = TypeAdapter(list[Qdisc])


@dataclass(frozen=True, slots=True)
class FlowerKeys:
    """The packets that a flower filter takes."""

    src_ip: str = ""
    dst_ip: str = ""


@dataclass(frozen=True, slots=True)
class FlowerOptions:
    """Where a flower filter sends them."""

    classid: str = ""
    keys: FlowerKeys = field(default_factory=FlowerKeys)


@dataclass(frozen=True, slots=True)
class Filter:
    """One entry of `tc -j filter show`; tc prints a head without options before the filter itself."""

    kind: str
    options: Annotated[FlowerOptions | None, BeforeValidator(lambda options: options or None)] = None


_FILTERS = TypeAdapter(list[Filter])


def netem_words(condition: Condition, limit_packets: int) -> tuple[str, ...]:
    """`netem limit L [delay Dms [Jms]] [reorder P%] [loss ...] [rate 40Gbit]`; its own limit would cap throughput.

    The rate is no limit of ours (that is a shaper's, see `shaper_words`): with any rate netem keeps packets in order,
    which jitter alone does not (tc-netem(8); sch_netem.c: the last packet queued is the reference point), and takes
    them off their sender's account, so that TCP fills the shaper's queue as it would one further away.
    """
    words = ["netem", "limit", str(limit_packets)]
    words += ["delay", f"{condition.delay_ms:g}ms"] if condition.delay_ms else []
    words += [f"{condition.jitter_ms:g}ms"] if condition.jitter_ms else []
    words += ["reorder", f"{condition.reorder_pct:g}%"] if condition.reorder_pct else []
    words += _loss_words(condition)
    words += ["rate", "40Gbit"] if condition.rate_mbit_s else []
    return tuple(words)


def _loss_words(condition: Condition) -> list[str]:
    if condition.burst_packets is None:
        return ["loss", f"{condition.loss_pct:g}%"] if condition.loss_pct else []
    chances = (condition.enter_chance, condition.leave_chance)
    return ["loss", "gemodel", *(f"{100 * chance:.8g}%" for chance in chances)]


def shaper_words(rate_mbit_s: float) -> tuple[str, ...]:
    """A tbf for a limited rate: its queue is as long as packets take `QUEUE_MS` to pass."""
    burst = max(LEAST_BURST_BYTES, round(rate_mbit_s * 1e6 / 8 * BURST_S))
    return ("tbf", "rate", f"{round(rate_mbit_s * 1e6)}bit", "burst", str(burst), "latency", f"{QUEUE_MS}ms")


def prio_words(bands: int) -> tuple[str, ...]:
    """A prio whose default bands are those of pfifo_fast, with room for a band that only filters reach."""
    return ("prio", "bands", str(bands), "priomap", *map(str, PRIOMAP))


def show_qdiscs(device: str) -> tuple[str, ...]:
    """All qdiscs of the device, as JSON."""
    return ("tc", "-j", "qdisc", "show", "dev", device)


def show_filters(device: str, parent: str) -> tuple[str, ...]:
    """The filters of a qdisc, as JSON."""
    return ("tc", "-j", "filter", "show", "dev", device, "parent", parent)


def add_qdisc(device: str, parent: str, handle: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """Put a qdisc at `parent` (`root`, or a class)."""
    where = ("root",) if parent == "root" else ("parent", parent)
    return ("tc", "qdisc", "replace", "dev", device, *where, "handle", handle, *words)


def delete_root(device: str) -> tuple[str, ...]:
    """Take the root qdisc away with all below it; the kernel puts its default there."""
    return ("tc", "qdisc", "del", "dev", device, "root")


def add_filter(
    device: str, parent: str, classid: str, source: IPv4Network | None, destination: IPv4Network | None
) -> tuple[str, ...]:
    """Send packets of that source and destination to a class."""
    match = [
        *(("src_ip", str(source)) if source else ()),
        *(("dst_ip", str(destination)) if destination else ()),
    ]
    return (
        *("tc", "filter", "add", "dev", device, "parent", parent, "protocol", "ip", "prio", "1"),
        *("flower", *match, "classid", classid),
    )


def parse_qdiscs(text: str) -> tuple[Qdisc, ...]:
    """Read `tc -j qdisc show`; ToolError if it is not that."""
    try:
        return tuple(_QDISCS.validate_json(text or "[]"))
    except ValidationError as error:
        raise ToolError("tc", f"unreadable qdiscs: {error.errors()[0]['msg']}: {text[:120]!r}") from error


def parse_filters(text: str) -> tuple[FlowerOptions, ...]:
    """Read `tc -j filter show`: the flower filters in it; ToolError if it is not that."""
    try:
        filters = _FILTERS.validate_json(text or "[]")
    except ValidationError as error:
        raise ToolError("tc", f"unreadable filters: {error.errors()[0]['msg']}: {text[:120]!r}") from error
    return tuple(entry.options for entry in filters if entry.kind == "flower" and entry.options)


def dump_qdisc(qdisc: Qdisc) -> str:
    """One qdisc as `tc -j` would show it, for a file that `parse_qdiscs` reads."""
    entry = {"kind": qdisc.kind, "handle": qdisc.handle, "root": qdisc.root, "options": qdisc.options}
    return json.dumps([entry]) + "\n"
