"""What a path suffers, by name: loss, delay, jitter, loss in bursts, reordering and a rate, each way its own.

A `Condition` is a value; `vpnmesh.impairment` sets it. Known networks are conditions with a name of their own, whose
figures and sources are data (`networks.toml`).
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from vpnmesh.errors import InputError

MAX_LOSS_PCT = 100
MAX_DELAY_MS = 10_000
MAX_JITTER_MS = 2_000
"""Above 2^31 ns netem's own arithmetic overflows."""
MAX_BURST_PACKETS = 1_000
MIN_RATE_MBIT_S = 0.35
"""Below it the pings that prove a rate overflow its queue of `QUEUE_MS`, and fewer would pass a shaper at once."""
MAX_RATE_MBIT_S = 10_000
DIGITS = 4
"""Significant digits of a loss in bursts: what can be read back of the chain's chances as tc prints them."""
QUEUE_MS = 100
"""How much a queue in front of a limited rate holds, as time at that rate."""
BACK = "back-"
FORMS = (
    "delay-Dms, jitter-Jms (with a delay), reorder-Ppct (with a delay), loss-Ppct, burst-loss-Ppct-Npackets, "
    "rate-Rmbit, each also as back-... for the other way, joined by +"
)
_FORMS: tuple[tuple[str, str, str], ...] = (
    ("delay_ms", "delay-", "ms"),
    ("jitter_ms", "jitter-", "ms"),
    ("reorder_pct", "reorder-", "pct"),
    ("loss_pct", "loss-", "pct"),
    ("rate_mbit_s", "rate-", "mbit"),
)
_BURST = re.compile(r"burst-loss-(.+)pct-(.+)packets")


@dataclass(frozen=True, slots=True)
class Condition:
    """What is impaired: `none`, `loss-5pct`, `delay-250ms`, or several as `delay-50ms+jitter-10ms+loss-1pct`.

    The delay varies evenly by `jitter_ms` to both sides, never below 0. `burst_packets` is how many packets in a row a
    loss takes on average (None: each is lost by itself); `loss_pct` is of all packets either way. `reorder_pct` of the
    packets skip the delay. With a rate, packets keep their order whatever the jitter, as behind one queue.

    `back` is what the other way suffers; None: the placement says whether it suffers the same or nothing. `network` is
    the name of the known network that it is, which makes it no other condition.
    """

    loss_pct: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    burst_packets: float | None = None
    reorder_pct: float = 0.0
    rate_mbit_s: float | None = None
    back: "Condition | None" = None
    network: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what no engine can do: InputError names the bad figure."""
        if not 0 <= self.loss_pct < MAX_LOSS_PCT:
            raise InputError("condition", f"loss {self.loss_pct:g} % is not in [0, 100)")
        if not 0 <= self.delay_ms <= MAX_DELAY_MS:
            raise InputError("condition", f"delay {self.delay_ms:g} ms is not in [0, 10000]")
        self._check_shape_of_delay()
        if self.burst_packets is not None:
            self._check_bursts(self.burst_packets)
        rate = self.rate_mbit_s
        if rate is not None and not MIN_RATE_MBIT_S <= rate <= MAX_RATE_MBIT_S:
            raise InputError(
                "condition", f"rate {rate:g} Mbit/s is not in [{MIN_RATE_MBIT_S}, {MAX_RATE_MBIT_S}]"
            )

    def _check_shape_of_delay(self) -> None:
        if not 0 <= self.jitter_ms <= MAX_JITTER_MS:
            raise InputError("condition", f"jitter {self.jitter_ms:g} ms is not in [0, {MAX_JITTER_MS}]")
        if not 0 <= self.reorder_pct < MAX_LOSS_PCT:
            raise InputError("condition", f"reordering of {self.reorder_pct:g} % is not in [0, 100)")
        if (self.jitter_ms or self.reorder_pct) and not self.delay_ms:
            what = "jitter varies a delay" if self.jitter_ms else "reordered packets skip a delay"
            raise InputError(
                "condition", f"{what}, and there is none", "add one, as in delay-50ms+jitter-10ms"
            )

    def _check_bursts(self, packets: float) -> None:
        least = 1 / (1 - self.loss_pct / 100)
        if not self.loss_pct or not least < packets <= MAX_BURST_PACKETS:
            raise InputError(
                "condition",
                f"bursts of {packets:g} packets at a loss of {self.loss_pct:g} % are no bursts",
                f"their length must be above {least:.3g}, that of losses by chance, and at most {MAX_BURST_PACKETS}",
            )
        for figure in (self.loss_pct, packets):
            if float(f"{figure:.{DIGITS}g}") != figure:
                raise InputError("condition", f"{figure!r} of a loss in bursts has more than {DIGITS} digits")

    @property
    def name(self) -> str:
        """The name in files, tables and on the command line."""
        if self.network:
            return self.network
        back = "+".join(f"{BACK}{part}" for part in self.back.parts) if self.back else ""
        return "+".join([*self.parts, *([back] if back else [])]) or "none"

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its name that are not of the way back."""
        found = []
        for attribute, prefix, unit in _FORMS:
            value = getattr(self, attribute)
            if value and attribute == "loss_pct" and self.burst_packets is not None:
                found.append(f"burst-loss-{value:g}pct-{self.burst_packets:g}packets")
            elif value:
                found.append(f"{prefix}{value:g}{unit}")
        return tuple(found)

    def __bool__(self) -> bool:
        """Whether anything is impaired at all."""
        return bool(self.parts or self.back)

    @property
    def forth(self) -> "Condition":
        """What the one way suffers, without the other."""
        return replace(self, back=None, network="") if self.back is not None or self.network else self

    @property
    def is_plain(self) -> bool:
        """Whether it is loss and delay alone, as the paper has them."""
        return self == Condition(loss_pct=self.loss_pct, delay_ms=self.delay_ms)

    @property
    def round_trip_ms(self) -> float:
        """How much longer a round trip takes at most: both ways' delays with jitter, and full queues at a rate."""
        ways = (self, self.back) if self.back is not None else (self,)
        return sum(way.delay_ms + way.jitter_ms + (QUEUE_MS if way.rate_mbit_s else 0) for way in ways)

    @property
    def severity(self) -> tuple[float, ...]:
        """What conditions are sorted by: delay and loss first, then what else there is; known networks last."""
        own = (self.delay_ms, self.loss_pct, self.jitter_ms, self.reorder_pct, self.burst_packets or 0.0)
        back = self.back.severity if self.back else ()
        return (bool(self.network), *own, -(self.rate_mbit_s or MAX_RATE_MBIT_S), *back)

    @property
    def worst_loss_pct(self) -> float:
        """The loss of the way that loses more."""
        return max(self.loss_pct, self.back.loss_pct if self.back else 0.0)

    @property
    def lost_again(self) -> float:
        """The chance that the packet after a lost one is lost too, on the way where it is greater."""
        own = 1 - 1 / self.burst_packets if self.burst_packets is not None else self.loss_pct / 100
        return max(own, self.back.lost_again if self.back else 0.0)

    @property
    def enter_chance(self) -> float:
        """The chance of a packet to begin a burst of losses (Gilbert 1960: good to bad)."""
        return self.loss_pct / (100 - self.loss_pct) * self.leave_chance

    @property
    def leave_chance(self) -> float:
        """The chance of a lost packet to be the last of its burst (bad to good)."""
        return 1.0 if self.burst_packets is None else 1 / self.burst_packets

    @classmethod
    def parse(cls, name: str) -> "Condition":
        """Read a condition's name, or that of a known network; InputError says how names look."""
        if name in NETWORKS:
            return NETWORKS[name].condition
        values: dict[str, dict[str, Any]] = {"": {}, BACK: {}}
        try:
            for part in () if name == "none" else name.split("+"):
                way = BACK if part.startswith(BACK) else ""
                for attribute, value in _read_part(part.removeprefix(BACK)).items():
                    if attribute in values[way]:
                        raise ValueError(part)  # noqa: TRY301 - one way out for every malformed part
                    values[way][attribute] = value
        except ValueError:
            raise _unknown(name) from None
        if values[BACK] and not any(values[BACK].values()):
            raise InputError(
                "condition",
                f"'{name}' has a way back that suffers nothing, which a condition's name does not say",
                "leave that part out, and let the placement's end say which way suffers: client or server",
            )
        return cls(**values[""], back=cls(**values[BACK]) if values[BACK] else None)


def _read_part(part: str) -> dict[str, float]:
    """The figures of one part of a name; ValueError for what is none."""
    if burst := _BURST.fullmatch(part):
        return {"loss_pct": float(burst[1]), "burst_packets": float(burst[2])}
    for attribute, prefix, unit in _FORMS:
        if part.startswith(prefix) and part.endswith(unit):
            return {attribute: float(part[len(prefix) : -len(unit)])}
    raise ValueError(part)


def _unknown(name: str) -> InputError:
    known = ", ".join([*(condition.name for condition in PAPER_CONDITIONS), *NETWORKS])
    return InputError("condition", f"unknown condition '{name}'", f"known are: {known}, or any {FORMS}")


PAPER_CONDITIONS = (
    Condition(),
    Condition(loss_pct=1),
    Condition(loss_pct=5),
    Condition(loss_pct=10),
    Condition(delay_ms=50),
    Condition(delay_ms=250),
    Condition(delay_ms=350),
)


@dataclass(frozen=True, slots=True)
class Network:
    """A known network: its condition, what it is in words, and where each figure is from, by what it says."""

    condition: Condition
    about: str
    sources: Mapping[str, str]


NETWORKS: dict[str, Network] = {}
"""The known networks by name. A name's figures stay as they are for ever: recorded results mean them."""


def _network(name: str, keys: Mapping[str, str | Mapping[str, str]]) -> Network:
    forth, back = Condition.parse(str(keys["forth"])), Condition.parse(str(keys["back"]))
    sources = keys["sources"]
    if not isinstance(sources, Mapping) or not sources:
        raise InputError("networks.toml", f"{name} has no sources")
    return Network(replace(forth, back=back, network=name), str(keys["about"]), sources)


NETWORKS.update(
    {
        name: _network(name, keys)
        for name, keys in tomllib.loads(
            resources.files("vpnmesh").joinpath("networks.toml").read_text(encoding="utf-8")
        ).items()
    }
)
