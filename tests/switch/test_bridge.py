"""The task on a Linux bridge: its own commands, run for real over a stand-in for `bridge` that keeps a port's VLANs.

The kernel at hand may know no VLAN filtering; the stand-in answers as iproute2 6.1 does.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Host, Inventory
from nornir.core.task import Result
from nornir.plugins.runners import SerialRunner

from tasks.switch import set_access_vlans
from vpnmesh.errors import CheckError, CommandError
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.switch.access import AccessPort

T = TypeVar("T")
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
    assert int(words[5]) < 4095
    ports[words[3]].append({{"vlan": int(words[5]), "flags": ["PVID", "Egress Untagged"]}})
state.write_text(json.dumps(ports))
"""


class LocalShell:
    """A Shell that runs commands here."""

    def __init__(self, folder: Path) -> None:
        self.sysfs = folder / "net"
        self.environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def run(self, *argv: str) -> Completed:
        """One command."""
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=self.environment)
        if done.returncode:
            raise CommandError("bridge", argv, done.returncode, done.stderr)
        return Completed(argv, done.returncode, done.stdout, done.stderr)

    look = run

    def gather(self, fact: Fact[T]) -> T:
        """Questions, to a /sys/class/net of the test's own."""
        argvs = [
            [str(self.sysfs) if word == "/sys/class/net" else word for word in one.argv]
            for one in fact.commands
        ]
        return fact.parse([self.run(*argv) for argv in argvs])

    def run_all(self, steps: Sequence[Command]) -> list[Completed]:
        """Several."""
        return [self.run(*step.argv) for step in steps]


def on_bridge(sysfs: Path, port: str, bridge: str, filtering: str | None) -> None:
    """A port on a bridge, as the kernel shows them (Documentation/ABI/testing/sysfs-class-net)."""
    (sysfs / port / "brport").mkdir(parents=True)
    (sysfs / bridge / "bridge").mkdir(parents=True, exist_ok=True)
    (sysfs / port / "brport" / "bridge").symlink_to(sysfs / bridge)
    if filtering is not None:
        (sysfs / bridge / "bridge" / "vlan_filtering").write_text(f"{filtering}\n")


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
    for name in ("p1", "p2", "p3"):
        on_bridge(tmp_path / "net", name, "br0", "1")
    monkeypatch.setattr("tasks.switch.shell", lambda _task: LocalShell(tmp_path))
    return path


def run(*ports: AccessPort, dry_run: bool = False) -> Result:
    """The task on the bridge's host."""
    host = Host("bridge", platform="linux_bridge", data={"testbed": True})
    inventory = Inventory(hosts={"bridge": host})  # type: ignore[arg-type]
    nornir = Nornir(inventory, runner=SerialRunner())
    return nornir.run(task=set_access_vlans, ports=ports, dry_run=dry_run)["bridge"][0]


def test_vlan_is_set_verified_and_undone(state: Path) -> None:
    """Dry run changes nothing; then set; again unchanged; the former ports undo it, file for file."""
    before = state.read_text()
    wanted = (AccessPort("p1", 20), AccessPort("p2", 30))
    dry = run(*wanted, dry_run=True)
    assert (dry.changed, state.read_text()) == (True, before), dry.exception
    done = run(*wanted)
    assert (done.changed, done.result) == (True, (AccessPort("p1", 1), AccessPort("p2", None))), (
        done.exception
    )
    again = run(*wanted)
    assert (again.changed, again.result) == (False, wanted)
    assert run(*done.result).changed
    assert before == state.read_text()


def test_a_trunk_is_refused_before_anything_is_written(state: Path) -> None:
    """AccessPort p3 carries other VLANs: neither it nor the port before it is changed."""
    before = state.read_text()
    refused = run(AccessPort("p1", 20), AccessPort("p3", 20))
    assert isinstance(refused.exception, CheckError)
    assert before == state.read_text()


@pytest.mark.parametrize(
    ("port", "complaint"),
    [
        ("free", "free is on no bridge; put it on one"),
        ("gone", "there is no interface gone"),
        (
            "open",
            r"open is on br1, which does not separate VLANs .*`ip link set br1 type bridge vlan_filtering 1`",
        ),
        ("old", "old is on br2, and this kernel has no VLAN filtering"),
    ],
)
def test_a_port_whose_vlan_would_separate_nothing_is_refused(state: Path, port: str, complaint: str) -> None:
    """The port, its bridge and the way out are named, for a change, a dry run and a reading; nothing is written."""
    sysfs, before = state.parent / "net", state.read_text()
    (sysfs / "free").mkdir()
    on_bridge(sysfs, "open", "br1", "0")
    on_bridge(sysfs, "old", "br2", None)
    for dry_run in (True, False):
        refused = run(AccessPort("p1", 20), AccessPort(port, 20), dry_run=dry_run)
        assert isinstance(refused.exception, CheckError)
        assert re.search(complaint, str(refused.exception))
    assert before == state.read_text()


def test_a_failure_in_the_middle_sets_the_port_back(state: Path) -> None:
    """`bridge vlan add` fails after `del` was done: the port has its former VLAN again, and the failure is said."""
    before = state.read_text()
    refused = run(AccessPort("p1", 4095))
    assert isinstance(refused.exception, CommandError)
    assert before == state.read_text()
