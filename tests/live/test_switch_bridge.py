"""The switch task on a real Linux bridge, in a namespace of its own; VLANs where the kernel can filter them."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Host, Inventory
from nornir.core.task import Result
from nornir.plugins.runners import SerialRunner

from tasks.switch import set_access_vlans
from tests.needs import missing
from vpnmesh.errors import CheckError, CommandError
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.switch.access import AccessPort

pytestmark = pytest.mark.live

T = TypeVar("T")


class HereShell:
    """A Shell that runs commands in this thread's network, with a /sys that shows it."""

    def run(self, *argv: str) -> Completed:
        """One command; CommandError when it fails."""
        inside = ("unshare", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh", *argv)
        done = subprocess.run(inside, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError("bridge", argv, done.returncode, done.stderr)
        return Completed(argv, done.returncode, done.stdout, done.stderr)

    look = run

    def run_all(self, steps: Sequence[Command]) -> list[Completed]:
        """Several."""
        return [self.run(*step.argv) for step in steps]

    def gather(self, fact: Fact[T]) -> T:
        """Questions."""
        return fact.parse([self.run(*one.argv) for one in fact.commands])


@pytest.fixture
def here(
    root: None,
    private_network: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[HereShell]:
    """A network with bridge br0, its ports p1 and p2, and p3 on no bridge."""
    shell = HereShell()
    monkeypatch.setattr("tasks.switch.shell", lambda _task: shell)
    with private_network():
        shell.run("ip", "link", "add", "br0", "type", "bridge")
        for name in ("p1", "p2", "p3"):
            shell.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
        for name in ("p1", "p2"):
            shell.run("ip", "link", "set", name, "master", "br0")
        yield shell


def run(*ports: AccessPort) -> Result:
    """The task."""
    inventory = Inventory(hosts={"bridge": Host("bridge", platform="linux_bridge", data={"testbed": True})})  # type: ignore[arg-type]
    return Nornir(inventory, runner=SerialRunner()).run(task=set_access_vlans, ports=ports)["bridge"][0]


@pytest.mark.parametrize(
    ("port", "complaint"),
    [("p3", "p3 is on no bridge"), ("p9", "no interface p9"), ("p1", "p1 is on br0, ")],
)
def test_a_port_whose_vlan_would_separate_nothing_is_refused(
    here: HereShell, port: str, complaint: str
) -> None:
    """On no bridge, not there, or on a bridge that does not filter: one sentence with the port, nothing written."""
    del here
    refused = run(AccessPort(port, 20))
    assert isinstance(refused.exception, CheckError)
    assert complaint in str(refused.exception)


def test_vlans_are_set_verified_and_undone(here: HereShell) -> None:
    """The real `bridge`: from the default VLAN to 20 and back, by the kernel's own table; a tagged port is refused."""
    try:
        here.run("ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
    except CommandError as error:
        missing("bridge-vlan-filtering", f"this kernel's bridge has no VLAN filtering: {error}")
    before = here.run("bridge", "-j", "vlan", "show").stdout
    done = run(AccessPort("p1", 20), AccessPort("p2", 30))
    assert (done.changed, done.result) == (True, (AccessPort("p1", 1), AccessPort("p2", 1))), done.exception
    assert not run(AccessPort("p1", 20), AccessPort("p2", 30)).changed
    assert run(*done.result).changed
    assert here.run("bridge", "-j", "vlan", "show").stdout == before
    here.run("bridge", "vlan", "del", "dev", "p2", "vid", "1-4094")
    here.run("bridge", "vlan", "add", "dev", "p2", "vid", "30")
    refused = run(AccessPort("p1", 20), AccessPort("p2", 20))
    assert "p2 is a trunk, tagged" in str(refused.exception)
