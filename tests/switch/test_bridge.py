"""The task on a Linux bridge: its own commands, run for real over a stand-in for `bridge` that keeps a port's VLANs.

The kernel at hand may know no VLAN filtering; the stand-in answers as iproute2 6.1 does.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Host, Inventory
from nornir.core.task import Result
from nornir.plugins.runners import SerialRunner

from tasks.switch import set_access_vlans
from vpnmesh.errors import CheckError
from vpnmesh.plan import Command, Completed
from vpnmesh.switch.access import Port

_BRIDGE = """#!{python}
import json, sys
from pathlib import Path
words, state = sys.argv[1:], Path({state!r})
ports = json.loads(state.read_text())
if words[:3] == ["-j", "vlan", "show"]:
    vlans = ports[words[4]]
    print(json.dumps([{{"ifname": words[4], "vlans": vlans}}] if vlans else []))
elif words[1] == "del":
    first, last = (int(end) for end in words[5].split("-"))
    ports[words[3]] = [one for one in ports[words[3]] if not first <= one["vlan"] <= last]
else:
    assert words[:3] + words[4:5] + words[6:] == ["vlan", "add", "dev", "vid", "pvid", "untagged"]
    ports[words[3]].append({{"vlan": int(words[5]), "flags": ["PVID", "Egress Untagged"]}})
state.write_text(json.dumps(ports))
"""


class LocalShell:
    """A Shell that runs commands here."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def run(self, *argv: str) -> Completed:
        """One command."""
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=self.environment)
        return Completed(argv, done.returncode, done.stdout, done.stderr)

    def run_all(self, steps: Sequence[Command]) -> list[Completed]:
        """Several."""
        return [self.run(*step.argv) for step in steps]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three ports: in the bridge's default VLAN, in none, and a trunk."""
    path = tmp_path / "ports.json"
    trunk = '[{"vlan": 1}, {"vlan": 30}]'
    path.write_text(
        f'{{"p1": [{{"vlan": 1, "flags": ["PVID", "Egress Untagged"]}}], "p2": [], "p3": {trunk}}}'
    )
    program = tmp_path / "bridge"
    program.write_text(_BRIDGE.format(python=sys.executable, state=str(path)))
    program.chmod(0o755)
    monkeypatch.setattr("tasks.switch.shell", lambda _task: LocalShell(tmp_path))
    return path


def run(*ports: Port, dry_run: bool = False) -> Result:
    """The task on the bridge's host."""
    host = Host("bridge", platform="linux_bridge")
    inventory = Inventory(hosts={"bridge": host})  # type: ignore[arg-type]
    nornir = Nornir(inventory, runner=SerialRunner())
    return nornir.run(task=set_access_vlans, ports=ports, dry_run=dry_run)["bridge"][0]


def test_vlan_is_set_verified_and_undone(state: Path) -> None:
    """Dry run changes nothing; then set; again unchanged; the former ports undo it, file for file."""
    before = state.read_text()
    wanted = (Port("p1", 20), Port("p2", 30))
    dry = run(*wanted, dry_run=True)
    assert (dry.changed, state.read_text()) == (True, before), dry.exception
    done = run(*wanted)
    assert (done.changed, done.result) == (True, (Port("p1", 1), Port("p2", None))), done.exception
    again = run(*wanted)
    assert (again.changed, again.result) == (False, wanted)
    assert run(*done.result).changed
    assert before == state.read_text()


def test_a_trunk_is_refused_before_anything_is_written(state: Path) -> None:
    """Port p3 carries other VLANs: neither it nor the port before it is changed."""
    before = state.read_text()
    refused = run(Port("p1", 20), Port("p3", 20))
    assert isinstance(refused.exception, CheckError)
    assert before == state.read_text()
