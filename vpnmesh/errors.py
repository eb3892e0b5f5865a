"""What can go wrong, as types with fields; every message says who, what, and the way out."""

from collections.abc import Iterator
from contextlib import contextmanager

MOST_NAMED = 80
MOST_SAID = 3000


def printable(text: str) -> str:
    """A text as one line that only prints: what would move a terminal's cursor, colour it, or turn writing round is
    shown as its number, for names and tools' words may hold anything.
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else _shown(one) for one in text)


def _shown(one: str) -> str:
    if one in "\n\r\t\N{NO-BREAK SPACE}":
        return " "
    return f"\\x{ord(one):02x}" if ord(one) <= 0xFF else f"\\u{ord(one):04x}"  # noqa: PLR2004 - as Python writes it


class VpnmeshError(Exception):
    """The root of every error that vpnmesh raises on purpose; its text is one line that only prints."""

    def __str__(self) -> str:
        said = printable(super().__str__())
        return said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]}..."


class InputError(VpnmeshError):
    """Something the user wrote is wrong: a command line, a file, an inventory (exit code 2)."""

    def __init__(self, place: str, problem: str, way_out: str = "") -> None:
        self.place = place
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"{place}: {problem}" + (f"; {way_out}" if way_out else ""))


class UnknownNameError(InputError):
    """A name that is none of the known ones; the message lists those."""

    def __init__(self, place: str, kind: str, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        super().__init__(place, f"unknown {kind} '{name[:MOST_NAMED]}'", f"known are: {', '.join(known)}")


class CommandError(VpnmeshError):
    """A command on a node that ended with another exit code than 0, or not in time."""

    def __init__(self, host: str, argv: tuple[str, ...], exit_code: int, stderr: str) -> None:
        self.host = host
        self.argv = argv
        self.exit_code = exit_code
        self.stderr = stderr
        tail = " | ".join(stderr.strip().splitlines()[-3:]) or "no message"
        why = "timed out" if exit_code in (124, 137) else f"exit {exit_code}"
        super().__init__(f"{host}: {' '.join(argv)[:160]}: {why}: {tail}")


class NodeUnreachableError(VpnmeshError):
    """A node that does not answer over SSH, or stopped answering; `reason` names neither it nor its address."""

    def __init__(self, host: str, reason: str, address: str = "") -> None:
        self.host = host
        self.reason = reason
        self.address = address
        super().__init__(f"{host}: no SSH: {reason}" + (f" at {address}" if address else ""))


class TurnEndedError(VpnmeshError):
    """A task that was ended on a host before it was done: its deadline, or an interruption."""

    def __init__(self, host: str, reason: str) -> None:
        self.host = host
        self.reason = reason
        super().__init__(f"{host}: {reason}")


class VerifyError(VpnmeshError):
    """A change that was applied and yet is not what the node holds."""

    def __init__(self, host: str, wanted: str, found: str) -> None:
        self.host = host
        self.wanted = wanted
        self.found = found
        super().__init__(f"{host}: wanted {wanted}, found {found}")


class CheckError(VpnmeshError):
    """A condition of an honest measurement that does not hold; `stage` names which (path, mtu, ...)."""

    def __init__(self, stage: str, reason: str) -> None:
        self.stage = stage
        self.reason = reason
        super().__init__(f"{stage}: {reason}")


class ToolError(VpnmeshError):
    """A tool's output that holds no usable figure; `reason` is what the record keeps."""

    def __init__(self, tool: str, reason: str) -> None:
        self.tool = tool
        self.reason = reason
        super().__init__(f"{tool}: {reason}")


class UnavailableError(VpnmeshError):
    """Something a scenario needs that this machine does not have: a row of its own, never a gap."""

    def __init__(self, missing: str) -> None:
        self.missing = missing
        super().__init__(missing)


NO_JSON = (ValueError, RecursionError)
"""What `json.loads` ends in: no JSON, a number of thousands of digits (a plain ValueError), or nested too deep."""
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading ends in where words have another shape than a reader takes for granted."""
_MOST_SHOWN = 80


@contextmanager
def readable(tool: str) -> Iterator[None]:
    """Around the reading of what a tool printed: ToolError where it has a shape that nobody expected."""
    try:
        yield
    except UNREADABLE as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ToolError(tool, f"what it printed cannot be read ({why[:_MOST_SHOWN]})") from error
