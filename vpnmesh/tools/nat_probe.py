"""How the programs that probe a NAT and list packets are called on nodes."""

from vpnmesh.host.dual_stack import Address
from vpnmesh.tools.programs import called, text_of

_PROBE, _CAPTURE = text_of("nat_probe_program"), text_of("header_capture_program")
FIRST_PORT, SECOND_PORT = 34781, 34782
LIMIT_S = 90.0
"""After this a program ends by itself."""
CAPTURED_LINES = 400
CAPTURED_OF_FLOW = 6
"""So many packets of a cell are listed at most, and of each flow in each direction."""


def answer(token: str) -> tuple[str, ...]:
    """Say to whoever asks from where it was asked."""
    return called(_PROBE, "answer", token, f"{LIMIT_S:g}", str(FIRST_PORT), str(SECOND_PORT))


def ask(
    token: str,
    targets: tuple[Address, Address],
    me: str,
    other: str,
    wait_s: float,
    beside: Address | None = None,
) -> tuple[str, ...]:
    """Ask the two, and try to reach the other end through them; an empty `other` leaves that out.

    `beside` is the first one's address of the other family, where there is one.
    """
    where = (*map(str, targets), str(FIRST_PORT), str(SECOND_PORT))
    words = (*where, me, other, f"{wait_s:g}", str(beside or ""))
    return called(_PROBE, "ask", token, f"{LIMIT_S:g}", *words)


def list_headers(interfaces: tuple[str, ...], limit_s: float) -> tuple[str, ...]:
    """Print a line per packet of these interfaces, as many as are kept."""
    return called(_CAPTURE, f"{limit_s:g}", str(CAPTURED_LINES), str(CAPTURED_OF_FLOW), *interfaces)
