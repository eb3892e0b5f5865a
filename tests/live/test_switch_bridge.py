"""The switch task on a real Linux bridge, in a namespace of its own; VLANs where the kernel can filter them."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.live.bridges import BridgeShell, switch
from tests.needs import missing
from vpnmesh.errors import CheckError, CommandError
from vpnmesh.plan import Completed
from vpnmesh.switch.access import AccessPort

pytestmark = pytest.mark.live


def run_here(*argv: str) -> Completed:
    """One command in this thread's network; CommandError when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError("bridge", argv, done.returncode, done.stderr)
    return Completed(argv, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(
    root: None,
    private_network: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[BridgeShell]:
    """A network with bridge br0, its ports p1 and p2, and p3 on no bridge."""
    shell = BridgeShell(run_here)
    monkeypatch.setattr("tasks.switch.shell", lambda _task: shell)
    with private_network():
        shell.run("ip", "link", "add", "br0", "type", "bridge")
        for name in ("p1", "p2", "p3"):
            shell.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
        for name in ("p1", "p2"):
            shell.run("ip", "link", "set", name, "master", "br0")
        yield shell


@pytest.mark.parametrize(
    ("port", "complaint"),
    [("p3", "p3 is on no bridge"), ("p9", "no interface p9"), ("p1", "p1 is on br0, ")],
)
def test_a_port_whose_vlan_would_separate_nothing_is_refused(
    here: BridgeShell, port: str, complaint: str
) -> None:
    """On no bridge, not there, or on a bridge that does not filter: one sentence with the port, nothing written."""
    del here
    refused = switch(AccessPort(port, 20))
    assert isinstance(refused.exception, CheckError)
    assert complaint in str(refused.exception)


def test_vlans_are_set_verified_and_undone(here: BridgeShell) -> None:
    """The real `bridge`: from the default VLAN to 20 and back, by the kernel's own table; a tagged port is refused."""
    try:
        here.run("ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
    except CommandError as error:
        missing("bridge-vlan-filtering", f"this kernel's bridge has no VLAN filtering: {error}")
    before = here.run("bridge", "-j", "vlan", "show").stdout
    done = switch(AccessPort("p1", 20), AccessPort("p2", 30))
    assert (done.changed, done.result) == (True, (AccessPort("p1", 1), AccessPort("p2", 1))), done.exception
    assert not switch(AccessPort("p1", 20), AccessPort("p2", 30)).changed
    assert switch(*done.result).changed
    assert here.run("bridge", "-j", "vlan", "show").stdout == before
    here.run("bridge", "vlan", "del", "dev", "p2", "vid", "1-4094")
    here.run("bridge", "vlan", "add", "dev", "p2", "vid", "30")
    refused = switch(AccessPort("p1", 20), AccessPort("p2", 20))
    assert "p2 is a trunk, tagged" in str(refused.exception)
