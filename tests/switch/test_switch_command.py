"""`vpnmesh switch` on a bridge's host: what is shown, planned, set and taken back, and what the inventory must say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.switch.test_bridge import state  # noqa: F401 - a fixture
from workflows.switch import main

LAB = Path(__file__).resolve().parents[2] / "inventory" / "lab"
NAMES = {"worker1": "p1", "worker2": "p2"}


def folder(place: Path, **data: Any) -> str:
    """The lab's inventory with a switch below it that has this data."""
    place.mkdir(exist_ok=True)
    for name in ("hosts", "groups", "defaults"):
        content = yaml.safe_load((LAB / f"{name}.yaml").read_text())
        if name == "hosts":
            own = {"testbed": True, "ports": NAMES} | data
            switch = {"hostname": "192.0.2.9", "platform": "linux_bridge", "groups": ["role__switch"]}
            content["switch1"] = {**switch, "data": own}
        if name == "groups":
            content["role__switch"] = {}
        (place / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return str(place)


@pytest.fixture
def inventory(state: Path, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811 - the fixture above
    """Ports p1 and p2 on a bridge, and a state directory of the test's own."""
    monkeypatch.setenv("VPNMESH_STATE_DIR", str(state.parent / "kept"))
    return folder(state.parent / "inventory")


def run(*words: str) -> Result:
    """The command's answer."""
    return CliRunner().invoke(main, words)


def test_there_and_back(state: Path, inventory: str) -> None:  # noqa: F811
    """The plan has every line and changes nothing; undo leaves the ports as they were, byte for byte."""
    before = state.read_text()
    planned = run("plan", "--inventory", inventory)
    assert planned.exit_code == 0, planned.output
    assert "bridge vlan add dev p1 vid 20 pvid untagged\n" in planned.output
    assert "+p2: access, VLAN 30\n" in planned.output
    assert state.read_text() == before
    refused = run("apply", "--inventory", inventory)
    assert (refused.exit_code, state.read_text()) == (2, before), refused.output
    done = run("apply", "--inventory", inventory, "--yes")
    assert "switch1: set and read back: p1, p2" in done.output
    assert "nothing to do" in run("apply", "--inventory", inventory).output
    assert "switch1: p1: access, VLAN 20" in run("show", "--inventory", inventory).output
    undone = run("undo", "--inventory", inventory)
    assert (undone.exit_code, state.read_text()) == (0, before), undone.output
    assert "nothing to undo" in run("undo", "--inventory", inventory).output


def test_what_somebody_else_changed_since_is_left_and_said(state: Path, inventory: str) -> None:  # noqa: F811
    """The other port is set back; the exit code is 1, and the record stays."""
    before = state.read_text()
    run("apply", "--inventory", inventory, "--yes")
    theirs = state.read_text().replace('"vlan": 20', '"vlan": 44')
    assert '"vlan": 44' in theirs
    state.write_text(theirs)
    undone = run("undo", "--inventory", inventory)
    assert undone.exit_code == 1
    assert "left as it is: p1: access, VLAN 44; we had written: p1: access, VLAN 20" in undone.output
    state.write_text(state.read_text().replace('"vlan": 44', '"vlan": 20'))
    assert run("undo", "--inventory", inventory).exit_code == 0
    assert state.read_text() == before


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"ports": None}, "switch1: ports: missing; write NODE: PORT"),
        ({"ports": {"worker1": "p1", "worker2": "p1"}}, "switch1: ports: two nodes have one port"),
        ({"ports": {"worker9": "p1"}}, "switch1: ports: 'worker9' is no node"),
        ({"testbed": False}, "switch1: is not marked as testbed"),
    ],
)
def test_a_wrong_switch_is_one_sentence(
    state: Path,  # noqa: F811
    inventory: str,
    data: dict[str, Any],
    said: str,
) -> None:
    """Exit code 2, and nothing is written."""
    before = state.read_text()
    refused = run("apply", "--inventory", folder(Path(inventory), **data), "--yes")
    assert (refused.exit_code, state.read_text()) == (2, before)
    assert said in refused.output


def test_an_inventory_without_a_switch_says_so() -> None:
    """The way out is the group."""
    assert "put its host into the group role__switch" in run("show", "--inventory", "lab").output
