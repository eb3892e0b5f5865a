"""What live checks of the criteria work on: a site, a solution, and the one scenario that stands meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import TypeVar

import tasks
from tasks.flows import Watched
from vpnmesh.criteria.observation import Observation, Part
from vpnmesh.errors import CheckError, CommandError, UnavailableError, VpnmeshError
from vpnmesh.firewall.policy import Protocol
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Stage, Status
from vpnmesh.study.scenarios import Catalogue
from vpnmesh.study.secrecy import MarkerTrial
from vpnmesh.tools import ping
from workflows.run.deploying import run_stages
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.provision import Provisioned, await_mesh, join, mesh_statuses, provisioned
from workflows.run.scenario_control import SiteControl
from workflows.run.site import Site

T = TypeVar("T")
PINGS, PING_BYTES, PING_INTERVAL_S = 300, 1000, 0.002
HEADERS_BYTES = 28
HOLDS_WITHIN_S = 60.0
"""How long a change that a running mesh was told of may take until it holds."""

Packet = tuple[str, str, Protocol, int]
"""From which member to which, by what protocol, to which port."""


@dataclass(slots=True)
class Verifier:
    """The checks' way to the nodes. One scenario stands at a time; one that is asked for again is not set up anew.

    `listening` has a marker sent through every scenario that comes up, once each; what was heard is in `trials`.
    """

    site: Site
    catalogue: Catalogue
    solution: str
    say: Callable[[str], None]
    listening: bool = False
    hold_s: float = 20.0
    trials: dict[str, tuple[Scenario, MarkerTrial]] = field(default_factory=dict)
    stood: list[str] = field(default_factory=list)
    failed: dict[str, VpnmeshError] = field(default_factory=dict)
    _standing: Provisioned | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def up(self, scenario: Scenario) -> Provisioned:
        """That scenario, set up where it does not stand; raises as `provisioned`, every time it is asked for."""
        if self._standing is not None and self._standing.scenario == scenario:
            return self._note(self._standing)
        self.down()
        if scenario.name in self.failed:
            raise self.failed[scenario.name]
        self.say(f"setting up {scenario.name}")
        try:
            self._standing = self._stack.enter_context(provisioned(self.site, scenario))
        except VpnmeshError as error:
            self.failed[scenario.name] = error
            raise
        if self.listening and scenario.name not in self.trials:
            self.trials[scenario.name] = (scenario, self._marker(scenario))
        return self._note(self._standing)

    def down(self) -> None:
        """Remove what stands."""
        self._standing = None
        self._stack.close()
        for complaint in self.site.take_complaints():
            self.say(f"not removed: {complaint}")

    def _note(self, standing: Provisioned) -> Provisioned:
        if standing.scenario.name not in self.stood:
            self.stood.append(standing.scenario.name)
        return standing

    @property
    def standing(self) -> Provisioned:
        """What stands now."""
        if self._standing is None:
            raise CheckError("verify", "no scenario stands")
        return self._standing

    @property
    def direct(self) -> Scenario:
        """The solution's scenario on the direct path; UnavailableError where it has none."""
        return self._first(Path.DIRECT, lambda _one: True, "on the direct path")

    def relayed(self, chosen: Callable[[Scenario], bool]) -> Scenario:
        """The first relayed scenario of the solution that is chosen and whose programs are at hand."""
        return self._first(Path.RELAY, chosen, "that is relayed so")

    def scenarios(self, path: Path) -> tuple[Scenario, ...]:
        """Its scenarios on that path, in the catalogue's order, without those of another version of its programs."""
        return tuple(
            one
            for one in self.catalogue.scenarios
            if one.solution == self.solution and one.path is path and not one.program_folder
        )

    def _first(self, path: Path, chosen: Callable[[Scenario], bool], words: str) -> Scenario:
        found = next((one for one in self.scenarios(path) if chosen(one)), None)
        if found is None:
            raise UnavailableError(f"{self.solution} has no scenario {words}")
        return found

    @property
    def client(self) -> str:
        """The client of the measured pair."""
        return self.site.testbed.client.name

    @property
    def server(self) -> str:
        """The server of the measured pair."""
        return self.site.testbed.server.name

    @property
    def third(self) -> str:
        """A member that is neither; UnavailableError where there is none."""
        refuse_two(self.site)
        return next(name for name in self.site.k8s if name not in (self.client, self.server))

    @property
    def control_node(self) -> Node:
        """Where the control plane runs."""
        return self.site.testbed.control_plane

    def address(self, member: str) -> IPv4Address:
        """The member's address in the VPN."""
        found = self.standing.statuses[member].address
        if found is None:
            raise CheckError("path", f"{member} has no address in the tunnel")
        return found

    def control(self) -> SiteControl:
        """The standing scenario as measurements change it."""
        return SiteControl(self.site, self.standing, self.site.testbed.pairs[0])

    def run(self, node: str, *argv: str, timeout_s: float = 20.0) -> str:
        """What a command prints on a node."""
        return str(
            run_on(self.site.nr, [node], tasks.run_command, argv=argv, timeout_s=timeout_s)[node].result
        )

    def stages(self, stages: Sequence[Stage]) -> None:
        """Run these stages on the standing mesh."""
        mesh = run_stages(self.site, stages, self.standing.mesh)
        self._standing = replace(self.standing, mesh=mesh)

    def rejoin(self, ready_s: float | None = None) -> dict[str, Status]:
        """Run all stages again, which start what does not run, and wait until every pair has its path."""
        standing = self.standing
        mesh = join(self.site, standing.solution, standing.mesh)
        statuses = await_mesh(self.site, standing.solution, mesh, ready_s)
        self._standing = replace(standing, mesh=mesh, statuses=statuses)
        return statuses

    def statuses(self) -> dict[str, Status]:
        """What every member says now."""
        return mesh_statuses(self.site, self.standing.solution, self.standing.mesh)

    def watch(self, places: Mapping[str, Sequence[str]], commands: Sequence[tuple[str, Command]]) -> Watched:
        """What passes these interfaces of nodes while the commands run, one after the other."""
        node = next(iter(places))
        done = run_on(
            self.site.nr,
            [node],
            tasks.watch_flows,
            places=places,
            commands=commands,
            others=self.site.nr.inventory.hosts,
        )
        found: Watched = done[node].result
        return found

    def reach(self, packets: Sequence[Packet]) -> dict[Packet, bool]:
        """Which of these packets get to the other member through the VPN."""
        addresses = {name: str(self.address(name)) for name in {packet[1] for packet in packets}}
        targets: dict[str, tuple[tuple[str, Protocol, int], ...]] = {}
        for source, destination, protocol, port in packets:
            targets[source] = (*targets.get(source, ()), (addresses[destination], protocol, port))
        answers = run_on(self.site.nr, targets, tasks.probe_reach, targets=targets)
        return {
            packet: bool(answers[packet[0]].result[addresses[packet[1]], packet[2], packet[3]])
            for packet in packets
        }

    def pings(self, source: str, address: object, count: int, interval_s: float) -> ping.PingSummary:
        """Small pings from a member to an address."""
        parameters = {"address": str(address), "count": count, "interval_s": interval_s}
        found: ping.PingSummary = run_on(self.site.nr, [source], tasks.ping_address, **parameters)[
            source
        ].result
        return found

    def _marker(self, scenario: Scenario) -> MarkerTrial:
        # a relay that is a member as well has what its own pods say in its tunnel
        apart = self.site.testbed.relay.name not in self.site.k8s
        results = run_on(
            self.site.nr,
            [self.client],
            tasks.listen_for_marker,
            testbed=self.site.testbed,
            others=self.site.nr.inventory.hosts,
            tunnels=solution_named(scenario.solution).interfaces if apart else (),
        )
        found: MarkerTrial = results[self.client].result
        return found


@contextmanager
def verifier(
    site: Site, catalogue: Catalogue, solution: str, say: Callable[[str], None], *, listening: bool
) -> Iterator[Verifier]:
    """A verifier whose last scenario is removed at the end, whatever happens."""
    found = Verifier(site, catalogue, solution, say, listening)
    try:
        yield found
    finally:
        found.down()


def big_pings(address: object) -> Command:
    """The probe that is counted where it passes."""
    argv = ping.argv(str(address), PINGS, interval_s=PING_INTERVAL_S, payload_bytes=PING_BYTES)
    return Command(argv, timeout_s=30, ok=(0, 1, 2))


def carried_bytes(said: str) -> int:
    """How many bytes of a probe went there and back."""
    found = ping.parse(said)
    return (found.sent + found.received) * (PING_BYTES + HEADERS_BYTES)


def wait_for(
    look: Callable[[], T], good: Callable[[T], bool], limit_s: float = HOLDS_WITHIN_S
) -> tuple[T, float]:
    """Look until it is good or the time is over; what was seen last, and the seconds."""
    started = time.monotonic()
    while True:
        found, passed = look(), time.monotonic() - started
        if good(found) or passed >= limit_s:
            return found, passed


def refuse_two(site: Site) -> None:
    """UnavailableError where there is no member beside client and server."""
    if len(site.k8s) < 3:  # noqa: PLR2004 - two that are parted, and one beside
        raise UnavailableError("a third member is needed, and the testbed has two")


def seen(
    what: str, wanted: str, told: object, *, holds: bool, part: Part = Part.DECIDES, text: str = ""
) -> Observation:
    """An observation in one call."""
    return Observation(what, wanted, str(told), holds, part, text)


def words(error: BaseException) -> str:
    """What a program itself said last, where it was one that failed; else the error's own sentence."""
    while isinstance(error, HostsFailedError):
        error = error.first
    if isinstance(error, CommandError):
        return (error.stderr.strip().splitlines() or [f"exit {error.exit_code}"])[-1]
    return str(error)
