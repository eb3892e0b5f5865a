"""The events of the fallback study, made on the nodes and undone: one class each, found by the event's name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import tasks
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.host import roaming
from vpnmesh.measurements.convergence import BLOCKED
from vpnmesh.measurements.protocol import Part
from vpnmesh.model import Node, Pair, Scenario, Testbed
from vpnmesh.plan import Plan
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.study.changes import Change, ChangeKind
from vpnmesh.study.fallback import Event
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, await_mesh, firewall_policy, join
from workflows.run.scenario_control import SiteControl
from workflows.run.site import Site
from workflows.run.undoing import promise


class Happening(Protocol):
    """One event on a scenario that is up; `clear` is called whatever happened, and does nothing where all is undone."""

    def prepare(self) -> None:
        """What must be so before the streams begin."""

    def make(self) -> None:
        """Make it."""

    def undo(self) -> None:
        """Take it back."""

    def clear(self) -> None:
        """Take back what taking the scenario off does not."""


@dataclass(slots=True)
class PathCut:
    """UDP is blocked at the firewall, by its driver, as every policy is set."""

    site: Site
    deployed: Provisioned
    pair: Pair

    def prepare(self) -> None:
        """Nothing."""

    def make(self) -> None:
        """Block it."""
        firewall_policy(self.site, BLOCKED)

    def undo(self) -> None:
        """Set the scenario's own policy."""
        firewall_policy(self.site, self.deployed.scenario.policy)

    def clear(self) -> None:
        """Nothing: with the scenario its policy goes."""


@dataclass(slots=True)
class DaemonsLost:
    """The VPN's daemons on one node die as in a crash, and are started again."""

    site: Site
    deployed: Provisioned
    pair: Pair
    part: Part

    def prepare(self) -> None:
        """Nothing."""

    def make(self) -> None:
        """Kill them; CheckError where there was none."""
        if not self._control().kill(self.part):
            raise CheckError("event", f"no daemon to kill: {self.part}")

    def undo(self) -> None:
        """Start whatever does not run."""
        self._control().start()

    def clear(self) -> None:
        """Nothing: daemons go with the scenario."""

    def _control(self) -> SiteControl:
        return SiteControl(self.site, self.deployed, self.pair)


@dataclass(slots=True)
class AddressChange:
    """The client's underlay address becomes another one of its VLAN; the node itself can set it back."""

    site: Site
    deployed: Provisioned
    pair: Pair
    _moved: bool = field(default=False, init=False)

    def prepare(self) -> None:
        """Have the client set it back by itself when we fall silent; CheckError where somebody has the address."""
        more = {self.pair.client: Plan((roaming.go_home(),))}
        promise(self.site, self.deployed.solution, self.deployed.mesh, more)
        self._change(dry_run=True)

    def make(self) -> None:
        """Change it."""
        self._moved = True
        self._change(dry_run=False)

    def _change(self, *, dry_run: bool) -> None:
        node = self.site.testbed.node(self.pair.client)
        wanted = {"node": node, "address": roaming.free_address(self.site.testbed, node)}
        run_on(
            self.site.nr, [node.name], tasks.change_address, dry_run=dry_run, is_free=not dry_run, **wanted
        )

    def undo(self) -> None:
        """Set it back."""
        run_on(self.site.nr, [self.pair.client], tasks.restore_address)
        self._moved = False

    def clear(self) -> None:
        """Set it back where that was not done."""
        if self._moved:
            self.undo()


@dataclass(slots=True)
class NodeAdded:
    """A member that is no end of the pair leaves before, and joins while the streams flow."""

    site: Site
    deployed: Provisioned
    pair: Pair

    def prepare(self) -> None:
        """Take the member off, with its keys."""
        solution, mesh = self.deployed.solution, self.deployed.mesh
        names = [member_to_add(self.site.testbed, self.pair).name]  # type: ignore[union-attr]  # `impossible` asked
        run_on(self.site.nr, names, tasks.detach_pods)
        run_on(self.site.nr, names, tasks.leave_mesh, solution=solution, mesh=mesh)

    def make(self) -> None:
        """Join it, and wait until all reach it."""
        mesh = join(self.site, self.deployed.solution, self.deployed.mesh)
        await_mesh(self.site, self.deployed.solution, mesh)

    def undo(self) -> None:
        """Nothing: it belongs to the mesh."""

    def clear(self) -> None:
        """Nothing: it leaves with all others."""


def _relay_lost(site: Site, deployed: Provisioned, pair: Pair) -> Happening:
    return DaemonsLost(site, deployed, pair, "relay")


def _control_lost(site: Site, deployed: Provisioned, pair: Pair) -> Happening:
    return DaemonsLost(site, deployed, pair, "control")


HAPPENINGS: Mapping[str, Callable[[Site, Provisioned, Pair], Happening]] = {
    "path-cut": PathCut,
    "relay-lost": _relay_lost,
    "control-lost": _control_lost,
    "address-change": AddressChange,
    "node-added": NodeAdded,
}
"""How each event of `vpnmesh.study.fallback.EVENTS` is made."""


def member_to_add(testbed: Testbed, pair: Pair) -> Node | None:
    """The member that leaves and joins again: the first that is no end of the pair."""
    return next((node for node in testbed.k8s if node.name not in (pair.client, pair.server)), None)


def impossible(testbed: Testbed, solution: Solution, scenario: Scenario | None, event: Event) -> str:
    """Why this event cannot be made with this solution here; "" where it can, as far as is known in advance."""
    if scenario is None:
        return f"{solution.name} has no scenario with a {event.path} path: no relay of it is known here"
    part = {"relay-lost": testbed.relay, "control-lost": testbed.control_plane}.get(event.name)
    if part is not None and not _runs_on(Mesh(testbed, scenario), solution, part.name):
        what = "relay" if event.name == "relay-lost" else "control plane"
        return f"nothing of {solution.name} runs on {part.name}: it has no {what}"
    client = testbed.node(testbed.pairs[0].client)
    if event.name == "address-change":
        return roaming.cannot_roam(client) or ("" if roaming.free_address(testbed, client) else _NO_ADDRESS)
    if event.name == "node-added" and member_to_add(testbed, testbed.pairs[0]) is None:
        return "every member is an end of the measured pair"
    return ""


_NO_ADDRESS = "no address of the client's VLAN is free"


def _runs_on(mesh: Mesh, solution: Solution, node: str) -> bool:
    try:
        return any(node in stage.nodes for stage in solution.stages(mesh))
    except UnavailableError:
        # it says so itself before anything is set up
        return True


def changes_of(testbed: Testbed, event: Event) -> list[Change]:
    """What the event changes on which node, for a person who agrees to it."""
    client = testbed.node(testbed.pairs[0].client)
    member = member_to_add(testbed, testbed.pairs[0])
    places = {
        "path-cut": (ChangeKind.FIREWALL, testbed.firewall, f"firewall policy {BLOCKED}"),
        "relay-lost": (ChangeKind.PROCESSES, testbed.relay, "the VPN's daemons are killed and started again"),
        "control-lost": (
            ChangeKind.PROCESSES,
            testbed.control_plane,
            "the VPN's daemons are killed and started again",
        ),
        "address-change": (
            ChangeKind.INTERFACES,
            client,
            f"{client.leg.interface} gets {roaming.free_address(testbed, client)} for a while",
        ),
        "node-added": (ChangeKind.PROCESSES, member, "leaves the mesh and joins again"),
    }
    kind, node, what = places[event.name]
    return [Change(kind, node.name, what)] if node is not None else []
