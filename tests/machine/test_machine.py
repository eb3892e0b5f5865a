"""A worker that is a machine with systemd: set up, measured, rebooted in mid-run, gone on with, and as it was found.

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

pytestmark = [pytest.mark.live, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
NODE = "worker2"
DEADLINE_S = 1500
REPETITIONS = 4


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


def test_a_machine_is_rebooted_in_mid_run_and_left_as_it_was(worker: Machine, tmp_path: Path) -> None:
    """WireGuard on a machine: a reboot costs repetitions that say so, `--resume` makes them, and nothing stays."""
    inventory = written_inventory(tmp_path / "mine", worker.image, worker.known_hosts)
    run = tmp_path / "run"
    before, boot = listed(worker), worker.boot_id()
    process = matrix(
        *("--inventory", str(inventory), "--scenarios", "wireguard-direct", "--conditions", "none"),
        *(
            "--tests",
            "tcp,ping",
            "--repetitions",
            str(REPETITIONS),
            "--duration",
            "2",
            "--out",
            str(run),
            "--yes",
        ),
    )
    await_attempts(run, 2, process)
    worker.ssh("systemctl reboot")
    worker.await_up(not_boot=boot)
    first = ended(process)
    lost = [row for row in attempts(run) if row["outcome"] == "failed"]
    for row in attempts(run):
        print(row["test"], row["repetition"], row["outcome"], row.get("stage", ""), row.get("reason", ""))
    assert lost
    assert first == 3
    assert all(row["stage"] and NODE in str(row["reason"]) for row in lost)
    assert ended(matrix("--resume", str(run))) == 0
    good = {(row["test"], row["repetition"]) for row in attempts(run) if row["outcome"] == "measured"}
    assert good == {(test, n) for test in ("tcp", "ping") for n in range(1, REPETITIONS + 1)}
    after = listed(worker)
    print("changed by the machine itself:", by_itself(before, after))
    assert differences(before, after) == []
