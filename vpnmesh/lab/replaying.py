"""Setting the delay lines of a twin that is up, and looking at its paths, from the controller and without any login."""

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vpnmesh.doctor.paths import RecordedPaths, asked_by, round_to
from vpnmesh.errors import InputError, UnavailableError
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.lab.nfqueue.build import binary_path
from vpnmesh.lab.replay import (
    Ends,
    ReplayedPath,
    delay_lines,
    plan_replay,
    restore_text,
    start_command,
)
from vpnmesh.lab.substrate import examine
from vpnmesh.lab.topology import Argv
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed
from vpnmesh.tools.ping import PingSummary

STEP = "paths"
_INSIDE = "/run/lab/twin"
"""The lab's directory as its own processes see it."""
_TIMEOUT_S = 60.0
_OWN_PINGS = 10
_OWN_INTERVAL_S = 0.02
_REPLAYED = TypeAdapter(tuple[ReplayedPath, ...])


def check_engine() -> None:
    """UnavailableError where this machine cannot replay: no engine, or no queue to user space."""
    if not binary_path().is_file():
        raise UnavailableError(
            "paths are replayed by the lab's own engine, and there is no vpnmesh-nfq: run `make engine`"
        )
    if not examine().has("nfqueue"):
        raise UnavailableError("paths are replayed by the lab's own engine, and this kernel has no NFQUEUE")


def replay(lab: Lab, testbed: Testbed, found: RecordedPaths, place: str) -> tuple[ReplayedPath, ...]:
    """Give every path of the twin what it lacks of the recorded round trip, and the recorded loss.

    A replay that stands already is left alone if it is of the same file; InputError if it is of another.
    """
    if (standing := replayed_in(lab.directory)) is not None:
        _check_same(standing, found)
        return standing
    own = {ends: seen.rtt.min_ms for ends, seen in look(lab, testbed).items() if seen.rtt}
    silent = [" - ".join(path.ends) for path in found.paths if path.ends not in own]
    if silent:
        raise LabError(STEP, f"no answer on the twin's own path {silent[0]}")
    paths = plan_replay(found, testbed, own, place)
    lines = delay_lines(paths)
    for line in lines:
        _in_firewall(lab, testbed, start_command(line, str(binary_path()), _INSIDE))
    if lines:
        _in_firewall(lab, testbed, ("iptables-restore", "-w", "-n"), restore_text(lines, testbed))
    write_atomic(_record(lab.directory), _REPLAYED.dump_json(paths, indent=1))
    return paths


def _record(directory: Path) -> Path:
    return directory / "twin" / "replayed.json"


def replayed_in(directory: Path | None = None) -> tuple[ReplayedPath, ...] | None:
    """What is replayed in the lab of that directory; None where nothing is."""
    record = _record(directory or lab_directory(None).path)
    try:
        return _REPLAYED.validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return None


def _check_same(standing: Sequence[ReplayedPath], found: RecordedPaths) -> None:
    held = {(path.first, path.second): (path.recorded_ms, path.recorded_loss_pct) for path in standing}
    if held != {path.ends: (path.rtt_ms, path.loss_pct) for path in found.paths}:
        raise InputError(
            "--paths",
            "other paths are replayed in the lab that is up",
            "take it down first: python -m vpnmesh.lab down",
        )


def look(lab: Lab, testbed: Testbed) -> dict[Ends, PingSummary]:
    """Every path of the twin pinged a few times, each in both nodes' order of the inventory."""
    asked = asked_by(testbed)
    with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
        answers = dict(
            zip(asked, pool.map(lambda name: _look_from(lab, name, asked[name]), asked), strict=True)
        )
    return {
        ends: answers[one][address]
        for one, others in asked.items()
        for other, address in others.items()
        for ends in ((one, other), (other, one))
    }


def _look_from(lab: Lab, name: str, others: Mapping[str, IPv4Address]) -> Mapping[IPv4Address, PingSummary]:
    fact = round_to(tuple(others.values()), _OWN_PINGS, _OWN_INTERVAL_S)
    network = f"--net=/proc/{lab.node_pid(name)}/ns/net"
    (command,) = fact.commands
    done = _run(("nsenter", network, "--", *command.argv))
    return fact.read([Completed(command.argv, done.returncode, done.stdout, done.stderr)])


def _in_firewall(lab: Lab, testbed: Testbed, argv: Argv, stdin: str = "") -> None:
    """Run it in the firewall's network, but as a process of the lab, which no task on the node sees or stops."""
    network = f"--net=/proc/{lab.node_pid(testbed.firewall.name)}/ns/net"
    enter = ("nsenter", "--target", str(lab.init_pid), "--mount", "--pid", network, "--")
    done = _run((*enter, *argv), stdin)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[:1] or ["no message"]
        raise LabError(STEP, f"{' '.join(argv[:3])}: exit {done.returncode}: {said[0]}")


def _run(argv: Argv, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise LabError(STEP, f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(STEP, f"{' '.join(argv[:6])}: no answer in {_TIMEOUT_S:g} s") from None
