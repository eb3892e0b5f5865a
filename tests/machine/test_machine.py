"""A worker that is a machine with systemd: set up, measured, rebooted in mid-run, set up again, and as it was found.

The other five nodes are the lab's. An emulated processor is slow: what is asked here is whether, never how fast.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.conftest import INVENTORY, place_for_a_lab
from tests.machine import machine
from tests.machine.listing import Listing, by_itself, differences, read, script
from tests.machine.machine import Image, Machine, booted, made_image
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.lifecycle import up
from workflows.full_matrix import SOME_FAILED

pytestmark = [pytest.mark.live, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
NODE = "worker2"
DEADLINE_S = 1500
REPETITIONS = 3
DURATION_S = 30
"""Longer than the machine takes to go down, so that a repetition is under way by then."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The lab without its second worker, and a machine in that one's place."""
    image, scratch = made_image(), tmp_path_factory.mktemp("machine")
    testbed = read_testbed(INVENTORY)
    others = replace(testbed, nodes=tuple(node for node in testbed.nodes if node.name != NODE))
    with place_for_a_lab(scratch / "lab"), up(others, owned=True) as lab:
        with booted(image, lab.init_pid, scratch) as standing:
            yield standing
        assert lab.close() == ()


def written_inventory(folder: Path, image: Image, known_hosts: Path) -> Path:
    """The lab's inventory with the machine as its second worker, reached as another user with another key."""
    folder.mkdir()
    for file in ("defaults", "groups", "hosts"):
        held = yaml.safe_load((INVENTORY / f"{file}.yaml").read_text())
        if file == "hosts":
            held[NODE] |= _as_a_machine(held[NODE]["data"], image, known_hosts)
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(held))
    return folder


def _as_a_machine(data: dict[str, Any], image: Image, known_hosts: Path) -> dict[str, Any]:
    login = {
        "use_keys": True,
        "allow_agent": False,
        "key_file": str(image.key),
        "ssh_strict": True,
        "system_host_keys": False,
        "alt_host_keys": True,
        "alt_key_file": str(known_hosts),
        "fast_cli": True,
        # an emulated processor on a busy machine takes longer for a login than others
        **dict.fromkeys(("conn_timeout", "banner_timeout", "auth_timeout"), 120),
    }
    names = {
        "interface": machine.UNDERLAY_INTERFACE,
        "management_interface": machine.MANAGEMENT_INTERFACE,
    }
    return {
        "username": machine.USER,
        "data": {**data, **names, "kind": "metal"},
        "connection_options": {"netmiko": {"platform": "linux", "extras": login}},
    }


def matrix(*options: str) -> subprocess.Popen[str]:
    """A run in the background."""
    argv = (sys.executable, "-m", "workflows.full_matrix", *options)
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(run: subprocess.Popen[str]) -> int:
    """Its exit code, when it is through by itself; what it said is shown."""
    try:
        said = run.communicate(timeout=DEADLINE_S)[0]
    finally:
        if run.poll() is None:
            run.kill()
    print(said)
    return run.returncode


def attempts(run: Path) -> list[dict[str, Any]]:
    """The repetitions on disk."""
    path = run / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in map(json.loads, lines) if line["type"] == "repetition"]


def await_attempts(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many repetitions are on disk."""
    deadline = time.monotonic() + DEADLINE_S
    while len(attempts(run)) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.5)


def listed(worker: Machine) -> Listing:
    """What is on the machine now."""
    return read(worker.ask(script()))


def visits(run: Path) -> list[dict[str, Any]]:
    """The visits that were begun; one that was set up anew says why, as `again`."""
    lines = map(json.loads, (run / "journal.jsonl").read_text().splitlines())
    return [line for line in lines if line["type"] == "visit"]


def shown(run: Path) -> None:
    """Print what became of the run, line by line."""
    for visit in visits(run):
        print("visit", visit["visit"], visit["scenario"], visit.get("again") or "")
    for row in attempts(run):
        print(row["test"], row["repetition"], row["outcome"], row.get("stage") or "", row.get("reason") or "")


def rebooted_in_mid_run(worker: Machine, run: Path, process: subprocess.Popen[str]) -> int:
    """Have the machine boot anew once the second test has begun; returns the run's exit code."""
    boot = worker.boot_id()
    await_attempts(run, REPETITIONS + 1, process)
    started = time.monotonic()
    worker.ssh("systemctl reboot")
    worker.await_up(not_boot=boot)
    print(f"rebooted in {time.monotonic() - started:.0f} s")
    return ended(process)


def test_a_machine_is_rebooted_in_mid_run_and_left_as_it_was(worker: Machine, tmp_path: Path) -> None:
    """WireGuard on a machine: a reboot costs what it hit, with the reason; then it is joined again; nothing stays."""
    inventory = written_inventory(tmp_path / "mine", worker.image, worker.known_hosts)
    run = tmp_path / "run"
    before = listed(worker)
    print("before:", ", ".join(f"{len(lines)} {section}" for section, lines in before.items()))
    process = matrix(
        *("--inventory", str(inventory), "--scenarios", "wireguard-direct", "--conditions", "none"),
        *("--tests", "ping,tcp", "--blocks", "1", "--repetitions", str(REPETITIONS)),
        *("--duration", str(DURATION_S)),
        *("--out", str(run), "--yes"),
    )
    code = rebooted_in_mid_run(worker, run, process)
    shown(run)
    rows = attempts(run)
    assert sorted((row["test"], row["repetition"]) for row in rows) == sorted(
        (test, n) for test in ("tcp", "ping") for n in range(1, REPETITIONS + 1)
    )
    lost = [row for row in rows if row["outcome"] == "failed"]
    assert lost
    assert code == SOME_FAILED
    assert all(row["stage"] and NODE in str(row["reason"]) for row in lost)
    # what was under way, and what was found out by looking after it; all others are measured, after one set-up more
    assert len(lost) <= 2
    assert rows[-1]["outcome"] == "measured"
    assert [bool(visit.get("again")) for visit in visits(run)] == [False, True]
    after = listed(worker)
    print("changed by the machine itself:", by_itself(before, after))
    left = differences(before, after)
    print("\n".join(left))
    assert left == []
