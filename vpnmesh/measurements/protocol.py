"""What a kind of test must say about itself; one module of this package says it.

A measurement never touches a host. `ask` puts its question to the nodes through a `Session` and keeps what they said,
as text, by file name; `parse` reads exactly those texts. So a repetition can be parsed again from its folder below
raw/, and a folder of such files is the test of a module.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Literal, Protocol

from vpnmesh.errors import NO_JSON, ToolError
from vpnmesh.host.pods import pod_address
from vpnmesh.model import Condition, Node, Pair, Role, Scenario, Testbed
from vpnmesh.plan import Completed, Text
from vpnmesh.study.convergence import PathProbe
from vpnmesh.study.outcome import Measured

Side = Literal["client", "server", "relay"]
"""A node's part in a measurement: who asks, who answers, and the relay node."""
SIDES: tuple[Side, ...] = ("client", "server", "relay")
Part = Side | Literal["control"]
"""Where daemons of a VPN run: a side of the measured pair, the relay node, or the node with its control plane."""

UNDISTURBED = Condition()


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that one repetition gives.

    The `name` ends in its unit (`rate_mbit_s`, `lost_pct`); a plain count has none. `unit` is how people write it.
    `label` is what follows the number in a line of progress, the unit unless said. An `optional` figure is left out
    where a scenario cannot show it.
    """

    name: str
    unit: str
    title: str
    decimals: int = 1
    label: str = ""
    optional: bool = False

    @property
    def shown_unit(self) -> str:
        """What follows the number in a line of progress."""
        return self.label or self.unit


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run's profile sets for every measurement; seconds, the omitted ones not counted in `duration_s`.

    `steady` counts a flow from when it is steady, after `omit_s` at the earliest; else exactly `omit_s` are left out,
    as in the paper. `congestion`, `udp_rate` and `udp_window` are as iperf3 takes them; empty = the node's own.
    `api_requests` and `hey_requests` are those of one repetition of the API tests: sent by the clock, and by hey.
    """

    duration_s: int = 1
    omit_s: int = 1
    congestion: str = "cubic"
    udp_rate: str = "0"
    udp_window: str = ""
    steady: bool = True
    api_requests: int = 300
    hey_requests: int = 5000


DEFAULT_SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured between whom and under what; plain data, so that raw files can be parsed again later.

    `scenario` is None where nobody says which one is up (a prompt). `processes` are the names of the VPN's own
    processes; `fallback_s` is how long its direct path may take to the relay, None where it has no relay to fall
    back to.
    """

    testbed: Testbed
    pair: Pair
    condition: Condition = UNDISTURBED
    settings: Settings = DEFAULT_SETTINGS
    scenario: Scenario | None = None
    processes: tuple[str, ...] = ()
    fallback_s: float | None = None

    def node(self, side: Side) -> Node:
        """The node with that part."""
        if side == "relay":
            return self.testbed.relay
        return self.testbed.node(self.pair.client if side == "client" else self.pair.server)

    def pod(self, side: Side) -> IPv4Address:
        """The address of that node's pod."""
        return pod_address(self.testbed, self.node(side))


class Process(Protocol):
    """A program that runs on a node while others are asked; it ends with the session at the latest."""

    def wait_for(self, text: str) -> str:
        """Read its output until `text` was printed; CommandError when it ends before."""

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        """Read its output until that is enough or the time is over; what was read, whichever it was."""

    def end(self) -> None:
        """Tell it to end, without waiting."""

    def stop(self) -> Completed:
        """End it and return all that it printed since."""


@dataclass(frozen=True, slots=True)
class Needed:
    """A program that a test needs on the node of that side; where it is missing, the test's cells are unavailable.

    `any_of` are names of which one must be there; the first is the one that people are told of. `package` is the Debian
    package that brings it, "" where none does; `way` then says how people get it.
    """

    any_of: tuple[str, ...]
    side: Side
    package: str = ""
    way: str = ""


Until = Callable[[Sequence[PathProbe]], bool]
"""Whether the probes of one node so far are enough."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How a standing cluster is asked: `kubectl` as it is called on the master, and the API server's URL."""

    kubectl: tuple[str, ...]
    server: str


class ScenarioControl(Protocol):
    """What a measurement may do with the scenario that is up; every change is undone by whoever makes it."""

    @property
    def join_s(self) -> float:
        """Seconds from the members' start until every pair had the scenario's path, as this visit began."""

    def tunnel_address(self, side: Side) -> IPv4Address:
        """The node's address in the VPN; CheckError where it has none."""

    def probe_path(self, until: Until, deadline_s: float) -> Mapping[str, Sequence[PathProbe]]:
        """Probe the path to the other from both ends at once, each until its probes are enough or the deadline.

        By node name, of the pair. A probe asks the VPN for its path and pings through the tunnel.
        """

    def set_policy(self, name: str) -> None:
        """Set the firewall policy of that name."""

    def restart(self, side: Side) -> float | None:
        """Kill the VPN's daemons on that node and start them again at once; seconds until they are started.

        None where there is no daemon to kill.
        """

    def kill(self, part: Part) -> bool:
        """Kill the VPN's daemons there, as a crash would; whether there was one. Whoever kills them starts them."""

    def start(self) -> float:
        """Start again whatever of the VPN was killed, wherever; seconds until that is done."""

    @property
    def cluster(self) -> ClusterAccess:
        """The Kubernetes cluster that stands over the scenario; UnavailableError where pods are namespaces."""

    def attach_pods(self) -> None:
        """Put the pod network over the tunnel again: an interface that went with its daemon took the routes along."""


class Session(Protocol):
    """How a measurement reaches the nodes: commands, load, and a place for what they said.

    Commands run as root, in the node's pod unless `in_pod` says otherwise. Everything that a session starts ends
    with it.
    """

    @property
    def question(self) -> Question:
        """What to measure."""

    @property
    def control(self) -> ScenarioControl:
        """The scenario that is up; UnavailableError where the session was opened without one."""

    def run(
        self,
        side: Side,
        argv: Sequence[str],
        *,
        in_pod: bool = True,
        timeout_s: float = 20.0,
        ok: tuple[int, ...] = (0,),
        stdin: Text = "",
    ) -> Completed:
        """Run one command; CommandError unless its exit code is in `ok`. What is secret goes in by `stdin`."""

    def start(self, side: Side, argv: Sequence[str], *, in_pod: bool = True, timeout_s: float) -> Process:
        """Start a program that runs beside what follows, for `timeout_s` at most."""

    def wait(self, seconds: float) -> None:
        """Let time pass; NodeUnreachableError as soon as the client's connection is gone."""

    def observed(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Sample the load of client, server and relay, and count the relay's sent bytes, around what is inside.

        `timeout_s` is how long that may take at most. The samples are kept as `load-SIDE.txt` and the counter as
        `relay-sent.json`, also when what is inside fails.
        """

    def keep(self, name: str, text: str) -> None:
        """Keep what a tool said under that file name: on disk at once, and for `parse`."""


class Measurement(Protocol):
    """One kind of test.

    A module of this package registers one by defining `MEASUREMENT`, or `MEASUREMENTS` for several; a package of
    one's own by an entry point of the group `vpnmesh.measurements`.
    """

    @property
    def name(self) -> str:
        """A slug: what `--tests` takes, and the test in tables, cells and folders."""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What a repetition gives; the first is the headline, which progress and reports show."""

    @property
    def program(self) -> str:
        """The process that measures, as the kernel names it: its CPU is not the VPN's; "" where there is none.

        Without one a test looks at the mesh, or changes it: then it is asked of one pair at a time.
        """

    @property
    def server_role(self) -> Role:
        """Who answers: another worker (`Role.K8S_WORKER`), or the master (`Role.K8S_MASTER`) for all its clients."""

    @property
    def needed(self) -> tuple[Needed, ...]:
        """The programs that it needs on the pair's nodes, beside what every test needs (iperf3, ping)."""

    def seconds(self, settings: Settings, condition: Condition, /) -> float:
        """How long one repetition takes, without the checks around it; a plan is made of this."""

    def asked_under(self, condition: Condition, /) -> bool:
        """Whether this is measured under that condition at all."""

    def ask(self, session: Session, /) -> None:
        """Put the question to the nodes and keep every answer.

        What goes wrong is a VpnmeshError; CheckError names the stage where something is not as it should be.
        """

    def parse(self, raw: Mapping[str, str], question: Question, /) -> Measured:
        """The figures from what was kept, by file name; ToolError where they are not all there."""


def text_of(raw: Mapping[str, str], name: str) -> str:
    """One of the kept texts; ToolError where it is missing."""
    try:
        return raw[name]
    except KeyError:
        raise ToolError("raw", f"no {name}") from None


def json_of(raw: Mapping[str, str], name: str) -> Any:
    """One of the kept texts as JSON; ToolError where it is missing or cut off."""
    try:
        return json.loads(text_of(raw, name))
    except NO_JSON as error:
        raise ToolError("raw", f"{name} is no JSON: {error}") from error
