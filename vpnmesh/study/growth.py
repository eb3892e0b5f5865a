"""What a mesh costs as it grows: which sizes are asked for, and what its control plane spent on each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vpnmesh.errors import InputError, ToolError
from vpnmesh.model import Testbed
from vpnmesh.tools.ticks import ProcessTicks, read_process

FEWEST_MEMBERS = 3
"""Master and two workers: what every testbed has."""
_TICKS_PER_S = 100
_OURS = frozenset({"sh", "sudo", "cat", "timeout", "sshd", "sshd-session", "sshd-auth"})
"""What we ourselves run on a node to look at it."""

SCRIPT = """
cat "/sys/class/net/$1/statistics/rx_bytes" "/sys/class/net/$1/statistics/tx_bytes"
cat /proc/[0-9]*/stat 2>/dev/null
true
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """A node at one moment: the bytes on its link so far, and its processes."""

    link_bytes: float
    processes: tuple[ProcessTicks, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """What the processes that a scenario started on a node took: CPU seconds, 10^6 bytes of memory and of its link."""

    cpu_s: float
    ram_mb: float
    link_mb: float


@dataclass(frozen=True, slots=True)
class GrowthStep:
    """One mesh of one size: seconds until every pair had its path, and what that cost on the control plane's node."""

    scenario: str
    members: int
    repetition: int
    join_s: float
    spent: Spent


def parse_members(text: str, most: int) -> tuple[int, ...]:
    """Read `3,6,12,24`; InputError for what no mesh can have."""
    try:
        found = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise InputError("--members", f"'{text[:80]}' is no list of numbers", "e.g. 3,6,12,24") from None
    if not found or found[0] < FEWEST_MEMBERS or found[-1] > most:
        raise InputError(
            "--members", f"'{text[:80]}' is not within {FEWEST_MEMBERS} to {most}", "e.g. 3,6,12,24"
        )
    return tuple(found)


def with_members(testbed: Testbed, members: int) -> Testbed:
    """The testbed with its first members only; all other nodes stay."""
    kept = {node.name for node in testbed.k8s[:members]}
    dropped = {node.name for node in testbed.k8s} - kept
    return replace(testbed, nodes=tuple(node for node in testbed.nodes if node.name not in dropped))


def usage_argv(interface: str) -> tuple[str, ...]:
    """What a node is asked for `parse_usage`."""
    return ("sh", "-c", SCRIPT, "sh", interface)


def parse_usage(text: str) -> Usage:
    """What `usage_argv` printed; ToolError where it is cut off."""
    lines = text.splitlines()
    try:
        received, sent = (float(line) for line in lines[:2])
        return Usage(received + sent, tuple(read_process(line) for line in lines[2:] if line))
    except ValueError as error:
        raise ToolError("usage", f"not to be read: {error}") from error


def spent(before: Usage, after: Usage) -> Spent:
    """What processes that started in between took until now, with the children that they waited for."""
    known = {one.key for one in before.processes}
    new = [one for one in after.processes if one.key not in known and one.name not in _OURS]
    return Spent(
        cpu_s=sum(one.ticks.user + one.ticks.system for one in new) / _TICKS_PER_S,
        ram_mb=sum(one.rss_bytes for one in new) / 1e6,
        link_mb=max(0.0, after.link_bytes - before.link_bytes) / 1e6,
    )


FIGURES = {
    "join_s": "seconds until every pair has its path",
    "control_cpu_s": "CPU seconds of the control plane until then",
    "control_ram_mb": "memory of the control plane then, MB",
    "control_link_mb": "bytes on the control plane's link until then, MB",
}
"""The figures that are fitted, with their titles."""


def rows(steps: Sequence[GrowthStep]) -> list[dict[str, object]]:
    """A row per mesh, under the names of the CSV's columns."""
    return [
        {
            "scenario": step.scenario,
            "members": step.members,
            "repetition": step.repetition,
            "join_s": round(step.join_s, 3),
            "control_cpu_s": round(step.spent.cpu_s, 3),
            "control_ram_mb": round(step.spent.ram_mb, 3),
            "control_link_mb": round(step.spent.link_mb, 4),
        }
        for step in steps
    ]
