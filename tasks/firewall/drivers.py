"""The driver for a host, as its inventory asks: `firewall_driver` is nftables, pfsense-rest, pfsense-ssh or manual."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nornir.core.inventory import Host
from nornir.core.task import Task

from tasks.connection import Shell, shell
from tasks.firewall.journal import Journal
from tasks.firewall.manual import Manual
from tasks.firewall.pfsense_api import Access, Api
from tasks.firewall.pfsense_rest import PfsenseRest, Say
from tasks.firewall.pfsense_ssh import PfsenseSsh
from vpnmesh.errors import CheckError, InputError, UnknownNameError
from vpnmesh.firewall import nftables
from vpnmesh.firewall.nftables import Held
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import Ruleset
from vpnmesh.firewall.protocol import DRIVERS, Driver, Origin
from vpnmesh.model import Testbed
from vpnmesh.plan import Plan, Secret

KEY_VARIABLE = "VPNMESH_PFSENSE_KEY"
"""The environment variable with the API key, unless the host's `pfsense_key_file` names a file."""


@dataclass(frozen=True, slots=True)
class Nftables:
    """A Linux router over SSH. Its table is ours alone, so whichever run made it may be taken away."""

    here: Shell
    testbed: Testbed

    def observe(self) -> Held:
        """What the kernel holds in our table."""
        return self.here.gather(nftables.held())

    def holds(self, held: Held) -> bool:
        """Whether our table has any rule."""
        return bool(held.lines)

    def snapshot(self, held: Held) -> Mapping[str, object]:
        """Nothing: the transactions name our table alone, so no other can change with them."""
        del held
        return {}

    def revision(self, held: Held) -> str:
        """The kernel counts no revisions that mean anything later."""
        del held
        return ""

    def plan(self, held: Held, wanted: Ruleset) -> Plan:
        """One transaction that makes our table anew, or a renewal."""
        return nftables.plan(held, wanted, self.testbed)

    def apply(self, plan: Plan, wanted: Ruleset) -> None:
        """Carry it out in one round trip."""
        del wanted
        self.here.run_all(plan.steps)

    def verify(self, wanted: Ruleset) -> None:
        """The kernel holds what was wanted."""
        if left := self.plan(self.observe(), wanted):
            raise CheckError(
                "firewall", f"{self.here.host}: after the change there is still a difference: {left.diff}"
            )

    def roll_back(self, snapshot: Mapping[str, object] | None) -> bool:
        """Remove our table."""
        del snapshot
        nothing = Ruleset("allow-all")
        if plan := self.plan(self.observe(), nothing):
            self.apply(plan, nothing)
            self.verify(nothing)
        return bool(plan)


def driver_name(host: Host) -> str:
    """The driver that the inventory asks for; UnknownNameError lists the known ones."""
    name = str(host.get("firewall_driver") or "nftables")
    if name not in DRIVERS:
        raise UnknownNameError(f"{host.name}: firewall_driver", "driver", name, list(DRIVERS))
    return name


def origin_of(host: Host, run: str) -> Origin:
    """The run's changes on this host's firewall."""
    name = driver_name(host)
    address = access(host).url if name == "pfsense-rest" else str(host.hostname)
    return Origin(run, host.name, name, address)


def driver_of(task: Task, testbed: Testbed, mark: Mark, say: Say, journal: Journal) -> Driver[Any, Any]:
    """The driver of the task's host, for one run; the journal is where a run remembers what cannot be read."""
    makers: dict[str, Callable[[], Driver[Any, Any]]] = {
        "nftables": lambda: Nftables(shell(task), testbed),
        "pfsense-rest": lambda: PfsenseRest(
            Api(access(task.host)),
            testbed,
            mark,
            say,
            loaded_check=task.host.get("pfsense_command_prompt") is True,
        ),
        "pfsense-ssh": lambda: PfsenseSsh(shell(task), testbed, mark, say),
        "manual": lambda: Manual(testbed, mark, sys.stdin, print, journal, origin_of(task.host, mark.run)),
    }
    return makers[driver_name(task.host)]()


def access(host: Host) -> Access:
    """Where the host's API is and how it is trusted; InputError names the key that is missing."""
    url = str(host.get("pfsense_url") or f"https://{host.hostname}")
    ca_file, fingerprint = host.get("pfsense_tls_ca"), host.get("pfsense_tls_fingerprint")
    return Access(
        host.name,
        url,
        _key(host),
        str(ca_file) if ca_file else None,
        str(fingerprint) if fingerprint else None,
    )


def _key(host: Host) -> Secret:
    if path := host.get("pfsense_key_file"):
        try:
            return Secret(Path(str(path)).read_text(encoding="utf-8").strip())
        except OSError as error:
            raise InputError(f"{host.name}: pfsense_key_file", f"{path}: {error.strerror}") from error
    if key := os.environ.get(KEY_VARIABLE):
        return Secret(key)
    raise InputError(
        f"{host.name}: pfsense_key_file", "missing", f"name a file with the API key, or set {KEY_VARIABLE}"
    )
