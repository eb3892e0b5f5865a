"""What can go wrong, as types with fields; every message says who, what, and the way out."""


class VpnmeshError(Exception):
    """The root of every error that vpnmesh raises on purpose."""


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
        super().__init__(place, f"unknown {kind} '{name}'", f"known are: {', '.join(known)}")


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
