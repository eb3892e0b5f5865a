"""How the marker's program is called, and how its lines are read.

The program itself is `marker_program.py` beside this.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from vpnmesh.errors import ToolError
from vpnmesh.tools.programs import called, last_line, text_of

PROGRAM = text_of("marker_program")
PORT = 47808
TIMES = 60
"""How often the marker is sent by each protocol."""
LIMIT_S = 60.0
"""After this a program ends by itself."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What passed an interface: frames, bytes, frames with the marker in them, and frames nobody could look at."""

    packets: int
    bytes: int
    marked: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Sent:
    """How many bytes were sent by each protocol, and how many of them came back."""

    sent: int
    udp: int
    tcp: int


_HEARD = TypeAdapter(dict[str, Heard])
_SENT = TypeAdapter(Sent)


def listen(marker: str, interfaces: Iterable[str]) -> tuple[str, ...]:
    """Listen for it on these interfaces."""
    return (*_called("listen", marker), *interfaces)


def answer(marker: str) -> tuple[str, ...]:
    """Give it back."""
    return (*_called("answer", marker), str(PORT))


def send(marker: str, address: str) -> tuple[str, ...]:
    """Send it there."""
    return (*_called("send", marker), address, str(PORT), str(TIMES))


def heard(text: str) -> dict[str, Heard]:
    """What a listener heard, by interface; ToolError where its words are none of its own."""
    try:
        return _HEARD.validate_json(last_line(text))
    except ValidationError as error:
        raise ToolError("marker", f"no counts from the listener: {last_line(text)[:160]}") from error


def sent(text: str) -> Sent:
    """What the sender did; ToolError where its words are none of its own."""
    try:
        return _SENT.validate_json(last_line(text))
    except ValidationError as error:
        raise ToolError("marker", f"no counts from the sender: {last_line(text)[:160]}") from error


def _called(role: str, marker: str) -> tuple[str, ...]:
    return called(PROGRAM, role, marker, f"{LIMIT_S:g}")
