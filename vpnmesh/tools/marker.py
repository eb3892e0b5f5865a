"""How the marker's program is called, and how its lines are read.

The program itself is `marker_program.py` beside this; only its text is used here, since it runs on nodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from pydantic import TypeAdapter, ValidationError

from vpnmesh.errors import ToolError

PROGRAM = resources.files(__package__).joinpath("marker_program.py").read_text(encoding="utf-8")
READY = "ready"
"""What a program prints that listens."""
FAILED = "failed: "
"""What a program's last line begins with that could not do its part."""
START_S = 20.0
"""How long it may take until it listens, on a busy node."""
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
        return _HEARD.validate_json(_last_line(text))
    except ValidationError as error:
        raise ToolError("marker", f"no counts from the listener: {_last_line(text)[:160]}") from error


def sent(text: str) -> Sent:
    """What the sender did; ToolError where its words are none of its own."""
    try:
        return _SENT.validate_json(_last_line(text))
    except ValidationError as error:
        raise ToolError("marker", f"no counts from the sender: {_last_line(text)[:160]}") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _called(role: str, marker: str) -> tuple[str, ...]:
    return ("python3", "-I", "-u", "-c", PROGRAM, role, marker, f"{LIMIT_S:g}")
