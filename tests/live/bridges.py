"""The switch task on a Linux bridge of a test: a Shell that runs commands where the bridge is, and the one host."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from nornir.core import Nornir
from nornir.core.inventory import Host, Inventory
from nornir.core.task import Result
from nornir.plugins.runners import SerialRunner

from tasks.switch import set_access_vlans
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.switch.access import AccessPort

T = TypeVar("T")
Run = Callable[..., Completed]


class BridgeShell:
    """A Shell over `run`, which carries one argv out (CommandError when it fails), with a /sys of its own network."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def run(self, *argv: str) -> Completed:
        """One command."""
        return self._run(
            "unshare", "--mount", "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh", *argv
        )

    look = run

    def run_all(self, steps: Sequence[Command]) -> list[Completed]:
        """Several."""
        return [self.run(*step.argv) for step in steps]

    def gather(self, fact: Fact[T]) -> T:
        """Questions."""
        return fact.parse([self.run(*one.argv) for one in fact.commands])


def switch(*ports: AccessPort) -> Result:
    """The task on a bridge that is marked as testbed; a BridgeShell is to stand at `tasks.switch.shell`."""
    bridge = Host("bridge", platform="linux_bridge", data={"testbed": True})
    inventory = Inventory(hosts={"bridge": bridge})  # type: ignore[arg-type]
    return Nornir(inventory, runner=SerialRunner()).run(task=set_access_vlans, ports=ports)["bridge"][0]
