"""Counting packets by flow where they pass: how the listener is called, and how its line is read.

The program itself is `flows_program.py` beside this.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from pydantic import TypeAdapter, ValidationError

from vpnmesh.errors import ToolError
from vpnmesh.tools.programs import called, last_line, text_of

PROGRAM = text_of("flows_program")
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
ANY = "any"
"""Instead of an interface: all of the node's."""
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets of one protocol from one end to another at one interface; ports are 0 where there are none."""

    interface: str
    protocol: str
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    source_port: int
    destination_port: int
    packets: int
    bytes: int

    def __str__(self) -> str:
        """In one line."""
        return (
            f"{self.interface} {self.protocol} {self.source}:{self.source_port} > "
            f"{self.destination}:{self.destination_port} {self.packets} packets, {self.bytes} bytes"
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """What passed a node; `uncounted` are packets that came too fast, or of more flows than are kept.

    `names` are those that DNS questions over UDP asked for.
    """

    flows: tuple[Flow, ...]
    uncounted: int = 0
    names: tuple[str, ...] = ()

    def __add__(self, later: "Heard") -> "Heard":
        """What was heard at two times."""
        names = tuple(sorted({*self.names, *later.names}))
        return Heard((*self.flows, *later.flows), self.uncounted + later.uncounted, names)

    def text(self) -> str:
        """The largest flows, for a person."""
        ordered = sorted(self.flows, key=lambda flow: -flow.bytes)
        more = [f"... and {len(ordered) - _SHOWN} more"] if len(ordered) > _SHOWN else []
        return "\n".join([*map(str, ordered[:_SHOWN]), *more, f"not counted: {self.uncounted} packets"])


_Row = tuple[str, int, str, str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Told:
    flows: list[_Row]
    other: int
    unlisted: int
    dropped: int
    names: list[str] = field(default_factory=list)


_TOLD = TypeAdapter(_Told)


def listen(interfaces: Iterable[str], limit_s: float) -> tuple[str, ...]:
    """Count at these interfaces, for so long at most."""
    return called(PROGRAM, f"{limit_s:g}", *interfaces)


def heard(text: str) -> Heard:
    """What the listener counted; ToolError where its last line is none of its own."""
    line = last_line(text)
    try:
        told = _TOLD.validate_json(line)
        flows = tuple(_flow(row) for row in told.flows)
    except (ValidationError, ValueError) as error:
        raise ToolError("flows", f"no counts from the listener: {line[:160]}") from error
    return Heard(flows, told.unlisted + told.dropped, tuple(told.names))


def _flow(row: _Row) -> Flow:
    name, protocol, source, destination, *counts = row
    ends = ip_address(source), ip_address(destination)
    return Flow(name, PROTOCOLS.get(protocol, f"protocol {protocol}"), *ends, *counts)


def bytes_by_protocol(flows: Sequence[Flow]) -> dict[str, int]:
    """Bytes in all, by protocol."""
    found: dict[str, int] = {}
    for flow in flows:
        found[flow.protocol] = found.get(flow.protocol, 0) + flow.bytes
    return found
