"""How the program of the two streams is called, and how its lines are read.

The program itself is `stream_program.py` beside this.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from vpnmesh.errors import ToolError
from vpnmesh.tools.programs import called, text_of

PROGRAM = text_of("stream_program")
PORT = 47809
UDP_PER_S, TCP_PER_S = 200, 50
TCP_BYTES = 200
"""The size of one write of the TCP stream."""
START_S = 30.0
"""How long a program may take until it runs, on a busy node."""
_WORDS = 4
_US = 1_000_000

Kind = Literal["u", "t", "c"]
"""UDP, TCP, and a TCP connection that was made."""
_KINDS: dict[str, Kind] = {"u": "u", "t": "t", "c": "c"}
_Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record that came: its number, when it was sent by the sender's clock, and when it came by the receiver's."""

    number: int
    sent_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sender says at its end; `longest_pause_s` is how long it was itself kept from sending, at most."""

    udp_sent: _Count
    udp_refused: _Count
    tcp_written: _Count
    tcp_connections: _Count
    tcp_broken: _Count
    longest_pause_s: Annotated[FiniteFloat, Field(ge=0)]


_SENT = TypeAdapter(Sent)


def receive(limit_s: float) -> tuple[str, ...]:
    """Say when every record came."""
    return called(PROGRAM, "receive", str(PORT), f"{limit_s:g}")


def send(address: str, limit_s: float) -> tuple[str, ...]:
    """Send both streams there."""
    rates = (f"{UDP_PER_S:g}", f"{TCP_PER_S:g}")
    return called(PROGRAM, "send", address, str(PORT), f"{limit_s:g}", *rates)


def arrival(line: str) -> tuple[Kind, Arrival] | None:
    """What a line of the receiver says; None for one that says nothing of a record, or is cut off."""
    words = line.split()
    kind = _KINDS.get(words[0]) if len(words) == _WORDS else None
    if kind is None or not all(word.isdecimal() for word in words[1:]):
        return None
    number, sent_us, at_us = (int(word) for word in words[1:])
    return kind, Arrival(number, sent_us / _US, at_us / _US)


def arrivals(text: str) -> dict[Kind, tuple[Arrival, ...]]:
    """All that came, by kind, in the order in which it came; the last line may be cut off."""
    found: dict[Kind, list[Arrival]] = {kind: [] for kind in _KINDS.values()}
    whole, _, _ = text.rpartition("\n")
    for line in whole.splitlines():
        if (one := arrival(line)) is not None:
            found[one[0]].append(one[1])
    return {kind: tuple(seen) for kind, seen in found.items()}


def sent(text: str) -> Sent:
    """What the sender said last; ToolError where its words are none of its own."""
    last = (text.strip().splitlines() or [""])[-1]
    try:
        return _SENT.validate_json(last)
    except ValidationError as error:
        raise ToolError("streams", f"no counts from the sender: {last[:160]}") from error
