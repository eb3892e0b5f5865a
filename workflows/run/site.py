"""A testbed with its connections: what the machinery of a run works on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nornir.core import Nornir

from inventory.secrets import learned
from tasks.firewall.registry import driver_of
from vpnmesh.cluster.protocol import Installer
from vpnmesh.model import Testbed
from vpnmesh.plan import Secret
from vpnmesh.why.words import Diagnosis
from workflows.run.firewall import FirewallRun
from workflows.run.held_lease import HeldLease

Tell = Callable[[str, float | None], None]
"""Hears of a phase of deploying when it begins (None) and when it is done (its seconds)."""


def tell_nobody(_phase: str, _seconds: float | None) -> None:
    """Say nothing."""


@dataclass(slots=True)
class Site:
    """A testbed with its connections.

    `complaints` and `logs` gather what goes wrong while scenarios are removed, until a run keeps it; `secrets` are
    those that nodes made and that were asked for, to be masked in all that is kept; `firewall` is the run that
    firewall changes are made for.
    `installer` puts Kubernetes over every scenario; None where pods are namespaces. `tell` hears of every phase of
    deploying. `lease` is the run's hold on the nodes, while it has one. `foreign` are solutions whose
    product is on the nodes already, and not of our making, with what to say of them. `asks_why` has every failed or
    relayed pair diagnosed; `diagnoses` are of scenarios that did not come up, until a run keeps them.
    """

    nr: Nornir
    testbed: Testbed
    complaints: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    secrets: set[Secret] = field(default_factory=lambda: learned)
    firewall: FirewallRun = field(default_factory=FirewallRun)
    installer: Installer | None = None
    tell: Tell = tell_nobody
    lease: HeldLease | None = None
    foreign: dict[str, str] = field(default_factory=dict)
    asks_why: bool = False
    diagnoses: list[Diagnosis] = field(default_factory=list)

    @property
    def all_nodes(self) -> list[str]:
        """Every node that our commands run on: not a firewall whose driver says that it is an appliance."""
        hosts = self.nr.inventory.hosts.items()
        appliances = {name for name, host in hosts if driver_of(host).is_appliance}
        return [node.name for node in self.testbed.nodes if node.name not in appliances]

    @property
    def k8s(self) -> list[str]:
        """The nodes that carry pods."""
        return [node.name for node in self.testbed.k8s]

    def take_complaints(self) -> list[str]:
        """What teardowns could not clean since the last time this was asked."""
        said, self.complaints = self.complaints, []
        return said

    def take_diagnoses(self) -> list[Diagnosis]:
        """Why scenarios did not come up, since the last time this was asked."""
        said, self.diagnoses = self.diagnoses, []
        return said

    def take_logs(self) -> dict[str, str]:
        """What daemons logged in scenarios that failed, by file name, since the last time this was asked."""
        said, self.logs = self.logs, {}
        return said
