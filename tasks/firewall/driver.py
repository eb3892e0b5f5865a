"""What a firewall driver says of itself: its name, what it needs, and how a run begins to work with it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nornir.core.inventory import Host
from nornir.core.task import Task

from tasks.firewall.journal import Journal
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.session import ChangeOrigin, FirewallSession
from vpnmesh.host.probes import Program
from vpnmesh.model import Testbed
from vpnmesh.plan import Step

Say = Callable[[str], None]
"""Takes what a person must know before the first write."""


@dataclass(frozen=True, slots=True)
class FirewallJob:
    """One run on one firewall: the Nornir task on its host, whose changes they are, and where they are journalled."""

    task: Task
    testbed: Testbed
    mark: Mark
    say: Say
    journal: Journal
    origin: ChangeOrigin


@dataclass(frozen=True, slots=True)
class ApiRemark:
    """One line of what the doctor says of a firewall's API; `fatal` when the driver cannot work with it."""

    text: str
    fatal: bool = False


def management_address(host: Host) -> str:
    """The address that the inventory gives the host; two firewalls of one name are told apart by it."""
    return str(host.hostname)


@dataclass(frozen=True, slots=True)
class FirewallDriver:
    """One kind of firewall. A module registers it as `DRIVER`; the inventory names it with `firewall_driver`.

    `session` begins a run's work. An appliance is a firewall on which none of our other commands can run: no VPN is
    looked for there, and no impairment set. `programs` (on PATH) and `kernel_features` (names of
    `vpnmesh.host.probes`) are what the doctor asks the node for. `examine` compares the firewall's API with what the
    driver needs and writes nothing; None where there is no API. `take_back` are the steps by which the firewall itself
    removes our rules when its controller is gone, where it can; rules that it cannot end by themselves, later.
    `entry` is what a host with it has in a new inventory beside its name, `{hostname}` standing for where it is
    managed. One driver `is_default`. One that is not reached `by_ssh` has no host key to be known.
    """

    name: str
    purpose: str
    session: Callable[[FirewallJob], FirewallSession[Any, Any]]
    is_appliance: bool = False
    is_default: bool = False
    by_ssh: bool = True
    programs: tuple[Program, ...] = ()
    kernel_features: tuple[str, ...] = ()
    address: Callable[[Host], str] = management_address
    examine: Callable[[Host], Iterator[ApiRemark]] | None = None
    take_back: Callable[[Testbed], tuple[Step, ...]] | None = None
    entry: Mapping[str, Any] = field(default_factory=dict)
