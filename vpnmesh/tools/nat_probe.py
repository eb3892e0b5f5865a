"""How the programs that probe a NAT and list packets are called on nodes; only their text is used here."""

from importlib import resources

from vpnmesh.host.dual_stack import Address

_PROBE = resources.files(__package__).joinpath("nat_probe_program.py").read_text(encoding="utf-8")
_CAPTURE = resources.files(__package__).joinpath("header_capture_program.py").read_text(encoding="utf-8")
READY = "ready"
"""What a program prints that listens."""
FAILED = "failed: "
"""What a program's last line begins with that could not do its part."""
FIRST_PORT, SECOND_PORT = 34781, 34782
START_S = 20.0
"""How long it may take until a program listens, on a busy node."""
LIMIT_S = 90.0
"""After this a program ends by itself."""
CAPTURED_LINES = 400
CAPTURED_OF_FLOW = 6
"""So many packets of a cell are listed at most, and of each flow in each direction."""


def answer(token: str) -> tuple[str, ...]:
    """Say to whoever asks from where it was asked."""
    return _called(_PROBE, "answer", token, f"{LIMIT_S:g}", str(FIRST_PORT), str(SECOND_PORT))


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
    return _called(_PROBE, "ask", token, f"{LIMIT_S:g}", *words)


def list_headers(interfaces: tuple[str, ...], limit_s: float) -> tuple[str, ...]:
    """Print a line per packet of these interfaces, as many as are kept."""
    return _called(_CAPTURE, f"{limit_s:g}", str(CAPTURED_LINES), str(CAPTURED_OF_FLOW), *interfaces)


def _called(program: str, *words: str) -> tuple[str, ...]:
    return ("python3", "-I", "-u", "-c", program, *words)
