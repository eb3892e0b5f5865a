"""From configuration to loaded rules, as pfSense's generator does it, and packets through them, as pf does it."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.pfsense_server.config import Config

Network = str


@dataclass(frozen=True)
class Loaded:
    """A rule as it is in the kernel: names resolved; empty `interfaces` or `destinations` mean any."""

    action: str
    families: tuple[int, ...]
    interfaces: tuple[str, ...]
    protocols: tuple[str, ...]
    sources: tuple[Network, ...]
    destinations: tuple[Network, ...]
    not_self: bool
    port: int | None
    descr: str


@dataclass(frozen=True)
class State:
    """A flow that pf lets pass whatever the rules say now."""

    protocol: str
    source: str
    destination: str


@dataclass(frozen=True)
class Translation:
    """An outbound NAT mapping in force."""

    interface: str
    source: Network
    keeps_port: bool


def load(config: Config) -> tuple[Loaded, ...]:
    """What a filter reload puts into the kernel; what cannot be resolved or is out of its hours is left out."""
    aliases = {alias["name"]: tuple(alias["address"]) for alias in config.sections["aliases"]}
    schedules = {one["name"]: config.active(one) for one in config.sections["schedules"]}
    floating = [rule for rule in config.sections["rules"] if rule.get("floating") and rule.get("quick")]
    others = [rule for rule in config.sections["rules"] if not rule.get("floating")]
    loaded = [_loaded(rule, config, aliases, schedules) for rule in (*floating, *others)]
    return tuple(rule for rule in loaded if rule)


def translations(config: Config) -> tuple[Translation, ...]:
    """The outbound NAT in force; automatic and disabled modes ignore mappings."""
    if config.nat_mode not in ("hybrid", "advanced"):
        return ()
    found = [one for one in config.sections["mappings"] if not one.get("disabled")]
    return tuple(
        Translation(one["interface"], one["source"], bool(one.get("static_nat_port"))) for one in found
    )


def _loaded(
    rule: dict[str, Any], config: Config, aliases: dict[str, tuple[str, ...]], schedules: dict[str, bool]
) -> Loaded | None:
    if (
        rule.get("disabled")
        or not schedules.get(rule.get("sched") or "", True)
        or rule.get("direction") == "out"
    ):
        return None
    sources, destinations = (_networks(rule[end], config, aliases) for end in ("source", "destination"))
    if sources is None or destinations is None:
        return None
    interfaces = () if "any" in rule["interface"] else tuple(rule["interface"])
    protocols = tuple(rule["protocol"].split("/")) if rule.get("protocol") else ()
    port = int(rule["destination_port"]) if rule.get("destination_port") else None
    not_self = rule["destination"] == "!(self)"
    families = {"inet": (4,), "inet6": (6,), "inet46": (4, 6)}[rule["ipprotocol"]]
    return Loaded(
        rule["type"], families, interfaces, protocols, sources, destinations, not_self, port, rule["descr"]
    )


def _networks(value: str, config: Config, aliases: dict[str, tuple[str, ...]]) -> tuple[Network, ...] | None:
    """The networks of a name, () for any, None where it cannot be resolved."""
    if value in ("any", "!(self)"):
        return ()
    if value in config.interfaces:
        return config.interfaces[value]
    return aliases.get(value) or ((value,) if value[:1].isdigit() else None)


@dataclass
class MemoryKernel:
    """A pf without packets: tests send flows through it by hand."""

    config: Config
    rules: tuple[Loaded, ...] = ()
    states: list[State] = field(default_factory=list)

    def reload(self) -> None:
        """Load the rules; states stay, as in pf."""
        self.rules = load(self.config)

    def list_states(self) -> list[State]:
        """The states now."""
        return list(self.states)

    def kill(self, source: str, destination: str) -> None:
        """End all states between two IPv4 hosts, whatever their protocol; the API's split at ':' spoils IPv6."""
        self.states = [
            one for one in self.states if (_host(one.source), _host(one.destination)) != (source, destination)
        ]

    def send(self, protocol: str, source: str, destination: str, port: int = 7) -> bool:
        """Whether a packet gets through; one that does makes a state, one with a state passes without asking."""
        state = State(protocol, f"{source}:4000", f"{destination}:{port}")
        if state in self.states:
            return True
        interface = next(
            (name for name, networks in self.config.interfaces.items() if _inside(source, networks)), ""
        )
        for rule in self.rules:
            if _matches(rule, interface, protocol, source, destination, port):
                if rule.action == "pass":
                    self.states.append(state)
                return rule.action == "pass"
        return False


def _matches(rule: Loaded, interface: str, protocol: str, source: str, destination: str, port: int) -> bool:
    return (
        ip_address(destination).version in rule.families
        and (not rule.interfaces or interface in rule.interfaces)
        and (not rule.protocols or protocol in rule.protocols)
        and (not rule.sources or _inside(source, rule.sources))
        and (not rule.destinations or _inside(destination, rule.destinations))
        and rule.port in (None, port)
    )


def _inside(address: str, networks: tuple[Network, ...]) -> bool:
    return any(ip_address(address) in ip_network(network, strict=False) for network in networks)


def _host(text: str) -> str:
    return text.rsplit(":", 1)[0]
