"""Recording the paths of a testbed: pings between all nodes, in rounds, kept as a file that a twin replays."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import tasks
from vpnmesh.doctor.paths import ROUNDS, SCHEMA_VERSION, RecordedPaths, asked_by, recorded
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.model import Testbed
from vpnmesh.tools.ping import PingSummary
from workflows.run.hosts import ask_each
from workflows.run.lab import emulated
from workflows.run.lease import refuse_beside_run
from workflows.run.site import Site


def record_paths(site: Site, rounds: int = ROUNDS) -> tuple[RecordedPaths, dict[str, VpnmeshError]]:
    """Ping every path in so many rounds; nodes that failed are in the second value, their paths in no file.

    InputError where a run holds a node: its impairments would be taken for the path's own.
    """
    refuse_beside_run(site)
    asked = asked_by(site.testbed)
    seen: list[Mapping[str, Mapping[IPv4Address, PingSummary]]] = []
    failed: dict[str, VpnmeshError] = {}
    for _ in range(rounds):
        names = [name for name in asked if name not in failed]
        errors, answers = ask_each(site.nr, names, tasks.ping_paths, asked=asked)
        failed |= errors
        seen.append({name: result.result for name, result in answers.items()})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept = recorded({name: others for name, others in asked.items() if name not in failed}, seen)
    return RecordedPaths(SCHEMA_VERSION, site.testbed.name, now, substrate_of(site.testbed), kept), failed


def substrate_of(testbed: Testbed) -> str:
    """What the paths lead through, in a word."""
    return "lab" if emulated(testbed) else "real"


def write_paths(found: RecordedPaths, path: Path) -> None:
    """Write the file; InputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.to_json())
    except OSError as error:
        raise InputError("--record-paths", f"{path} cannot be written: {error.strerror}") from error
