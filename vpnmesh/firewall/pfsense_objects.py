"""The ruleset as pfSense objects: aliases, floating rules, outbound NAT mappings and the schedule they expire with.

Shared by the REST driver, the PHP driver and the words for a person, so that the three make the same objects.
pfSense's own habits decide the shape: more than one interface needs a floating rule; floating rules decide only
with `quick`; `in` is where a packet enters; `inet` alone would leave IPv6 open; an interface's name as destination
means its IPv4 and IPv6 networks. A destination in the VLAN that the packet comes from is the firewall itself, so
each destination has a rule of its own without that interface.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address

from vpnmesh.errors import InputError
from vpnmesh.firewall.policy import Action, Nat, Rule, Ruleset
from vpnmesh.model import Testbed

PREFIX = "vpnmesh:"
"""How the description of everything begins that vpnmesh made; nothing else is ever changed."""
NAME_LENGTH = 31
_RUN = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose objects they are: the run's id, as the start of every description and in every name."""

    run: str

    def __post_init__(self) -> None:
        """InputError where the id cannot be part of a description."""
        if not _RUN.fullmatch(self.run):
            raise InputError(
                "run", f"'{self.run}' is no run id", "letters, digits, '.', '_' and '-', at most 40"
            )

    @property
    def prefix(self) -> str:
        """The start of every description; the last colon keeps run `a` apart from run `a1`."""
        return f"{PREFIX}{self.run}:"

    @property
    def name(self) -> str:
        """A name that pfSense accepts for aliases and schedules, the same for the same run."""
        return f"vpnmesh_{hashlib.sha256(self.run.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A named set of hosts."""

    name: str
    addresses: tuple[IPv4Address, ...]
    descr: str


@dataclass(frozen=True, slots=True)
class FloatingRule:
    """A floating, quick rule on packets that enter by any of the interfaces; `protocol` None means any.

    `destination` is `any`, `!(self)`, an interface (its networks) or an alias's name.
    """

    action: Action
    interfaces: tuple[str, ...]
    protocol: str | None
    destination: str
    port: int | None
    descr: str
    schedule: str | None = None


@dataclass(frozen=True, slots=True)
class NatMapping:
    """An outbound NAT mapping: what comes from `source` leaves by `interface` with that interface's address."""

    interface: str
    source: str
    keeps_port: bool
    descr: str


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A part of one day on the firewall's own clock, as `H:MM-H:MM`."""

    month: int
    day: int
    hours: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the rules count; past its end pfSense unloads them by itself, at the next quarter of an hour."""

    name: str
    ranges: tuple[TimeRange, ...]
    descr: str


@dataclass(frozen=True, slots=True)
class PfsenseObjects:
    """Everything that a ruleset becomes, in the order in which it must be made."""

    aliases: tuple[Alias, ...] = ()
    rules: tuple[FloatingRule, ...] = ()
    mappings: tuple[NatMapping, ...] = ()


def objects(ruleset: Ruleset, testbed: Testbed, mark: Mark, *, schedule: bool) -> PfsenseObjects:
    """The objects that make pfSense hold the ruleset; the passes come before the blocks."""
    groups = tuple(dict.fromkeys(rule.hosts for rule in ruleset.rules if rule.hosts))
    aliases = tuple(
        Alias(f"{mark.name}_{index:02}", hosts, f"{mark.prefix}alias {index:02}")
        for index, hosts in enumerate(groups)
    )
    names = {alias.addresses: alias.name for alias in aliases}
    specs = [spec for rule in ruleset.rules for spec in _specs(rule, testbed, names)]
    rules = tuple(
        FloatingRule(
            spec.action,
            spec.interfaces,
            spec.protocol,
            spec.destination,
            spec.port,
            f"{mark.prefix}{ruleset.name} {index:02}",
            mark.name if schedule else None,
        )
        for index, spec in enumerate(specs)
    )
    return PfsenseObjects(aliases, rules, tuple(_mappings(ruleset, testbed, mark)))


def lease(now: datetime, lifetime: timedelta, mark: Mark) -> Schedule:
    """A schedule from now (the firewall's local time) until `lifetime` later, on pfSense's grid of quarters."""
    start = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    last = now + lifetime
    end = last.replace(minute=last.minute - last.minute % 15, second=0, microsecond=0) + timedelta(minutes=15)
    ranges = []
    while start < end:
        midnight = (start + timedelta(days=1)).replace(hour=0, minute=0)
        until = "23:59" if end >= midnight else f"{end.hour}:{end.minute:02}"
        ranges.append(TimeRange(start.month, start.day, f"{start.hour}:{start.minute:02}-{until}"))
        start = midnight
    return Schedule(mark.name, tuple(ranges), f"{mark.prefix}rules end by themselves")


@dataclass(frozen=True, slots=True)
class _Spec:
    action: Action
    interfaces: tuple[str, ...]
    protocol: str | None
    destination: str
    port: int | None


def _specs(rule: Rule, testbed: Testbed, names: dict[tuple[IPv4Address, ...], str]) -> Iterator[_Spec]:
    legs = {leg.vid: leg.interface for leg in testbed.firewall.legs}
    protocol = rule.protocol.value if rule.protocol else None

    def spec(vids: tuple[int, ...], destination: str) -> _Spec:
        return _Spec(rule.action, tuple(legs[vid] for vid in vids), protocol, destination, rule.port)

    if rule.hosts:
        yield spec(rule.sources, names[rule.hosts])
    elif not rule.destinations:
        yield spec(rule.sources, "!(self)")
    else:
        for vid in rule.destinations:
            yield spec(tuple(source for source in rule.sources if source != vid), legs[vid])


def _mappings(ruleset: Ruleset, testbed: Testbed, mark: Mark) -> Iterator[NatMapping]:
    for one in ruleset.translations:
        source = str(testbed.vlan(one.vid).prefix)
        keeps_port = one.nat is Nat.ENDPOINT_INDEPENDENT
        for leg in testbed.firewall.legs:
            if leg.vid != one.vid:
                descr = f"{mark.prefix}{ruleset.name} vlan {one.vid} by {leg.interface}"
                yield NatMapping(leg.interface, source, keeps_port, descr)
