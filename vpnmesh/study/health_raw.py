"""From what the watchers of a cluster printed, and the log of phases, to `Health`; reads texts, touches no host."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest

from pydantic import TypeAdapter, ValidationError

from vpnmesh.errors import ToolError, readable
from vpnmesh.study.health import (
    AWAY,
    BROKEN,
    LOST,
    MISSING,
    READY,
    Event,
    Health,
    Lane,
    Phase,
    Span,
    silences,
    states,
)
from vpnmesh.tools.cluster_watch import Seen, lines_of

PHASES_FILE, CLIENT_FILE, SERVER_FILE = "phases.json", "watch-client.txt", "watch-server.txt"
POD_FILE, PING_FILE = "watch-pod.txt", "pods-ping.txt"
FILES = (PHASES_FILE, CLIENT_FILE, SERVER_FILE, POD_FILE, PING_FILE)
STEADY = "steady"
ENDED, REMOVED, RESCHEDULED = "ended", "removed", "rescheduled"
_BROKEN_SERVER = 500
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of the path from one node, by the client's clock."""

    node: str
    at_s: float
    path: str
    answered: bool

    @property
    def state(self) -> str:
        """The path, or that nothing came back."""
        return self.path if self.answered and self.path else LOST


@dataclass(slots=True)
class PhaseLog:
    """One phase as it was carried out, all times by the client's clock.

    Its change was asked for at `began_s` and done at `made_s`; `wanted` is the path that was awaited, "" for none.
    """

    name: str
    began_s: float
    made_s: float
    ended_s: float = 0.0
    wanted: str = ""
    put_back_s: float | None = None
    probes: list[Probe] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of the two nodes at one moment: the client's, the server's, the client's again."""

    before_s: float
    server_s: float
    after_s: float

    @property
    def ahead_s(self) -> float:
        """How far the server's is ahead, if it was asked half-way."""
        return self.server_s - (self.before_s + self.after_s) / 2

    @property
    def within_s(self) -> float:
        """How wrong that can be."""
        return (self.after_s - self.before_s) / 2


@dataclass(slots=True)
class Log:
    """What was done while the watchers watched."""

    client: str
    server: str
    phases: list[PhaseLog] = field(default_factory=list)
    clocks: list[Clocks] = field(default_factory=list)

    @property
    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))

    @property
    def ahead_s(self) -> float:
        """How far the server's clock is ahead of the client's, by the moment that took the least time to ask."""
        return min(self.clocks, key=lambda one: one.within_s).ahead_s

    @property
    def accuracy_s(self) -> float:
        """How wrong that can be: half the time that asking took, and by how much another moment contradicts it."""
        steps_s = [abs(one.ahead_s - self.ahead_s) - one.within_s for one in self.clocks]
        return min(one.within_s for one in self.clocks) + max(0.0, *steps_s)


def log_of(text: str) -> Log:
    """The log as it was kept; ToolError where it is none, or holds no phase."""
    try:
        log = TypeAdapter(Log).validate_json(text)
    except ValidationError as error:
        raise ToolError("raw", f"{PHASES_FILE} is no log of phases: {error.errors()[0]['msg']}") from error
    if not log.phases or not log.clocks or log.phases[0].name != STEADY:
        raise ToolError("raw", f"{PHASES_FILE} does not begin with the steady phase")
    return log


def health_of(raw: Mapping[str, str]) -> Health:
    """What was seen in a repetition, by the names of its kept files; ToolError where one is missing or no such text."""
    try:
        phases, *watched, pinged = (
            raw[name] for name in (PHASES_FILE, CLIENT_FILE, SERVER_FILE, POD_FILE, PING_FILE)
        )
    except KeyError as error:
        raise ToolError("raw", f"no {error.args[0]}") from None
    with readable("raw"):
        log = log_of(phases)
        names = (CLIENT_FILE, SERVER_FILE, POD_FILE)
        client, server, pod = (lines_of(text, name) for text, name in zip(watched, names, strict=True))
        replies = [float(stamp) for stamp in _REPLY.findall(pinged)]
        return _Reading(log, client, server, pod, replies).health()


@dataclass(frozen=True, slots=True)
class _Reading:
    """The texts of one repetition, read; makes spans of them."""

    log: Log
    client: Sequence[Seen]
    server: Sequence[Seen]
    pod: Sequence[Seen]
    replies: Sequence[float]

    def health(self) -> Health:
        """Everything; ToolError where nothing answered in the steady phase, since then nothing was measured."""
        spans = (
            *self.paths(),
            *self.silent(),
            *self.watch(),
            *self.nodes(),
            *self.endpoints(),
            *self.routes(),
        )
        lanes = {lane for lane in (Lane.API_POD, Lane.PODS) if self.heard(lane)}
        lanes |= {Lane.PATH, Lane.API_NODE, Lane.WATCH, Lane.NODES, Lane.ENDPOINTS, Lane.ROUTES}
        self.require()
        return Health(
            tuple(self.phases()),
            tuple(span for span in spans if span.lane in lanes),
            (*self.ended(), *self.removed(), *self.rescheduled()),
            frozenset(lanes),
            round(self.log.accuracy_s, 4),
        )

    def require(self) -> None:
        """ToolError where a watcher saw nothing to begin with."""
        if not self.heard(Lane.API_NODE):
            raise ToolError("raw", f"{CLIENT_FILE}: the API server never answered in the steady phase")
        if not any(one.kind == "node" for one in self.server):
            raise ToolError("raw", f"{SERVER_FILE}: names no node")

    @property
    def end_s(self) -> float:
        return self.at(self.log.phases[-1].ended_s)

    def at(self, clock_s: float) -> float:
        """A time of the client's clock, as seconds since the first phase."""
        return round(clock_s - self.log.phases[0].began_s, 3)

    def on_server(self, one: Seen) -> float:
        """When that was, of a line of the server's watcher."""
        return self.at(one.at_s - self.log.ahead_s)

    def phases(self) -> Iterator[Phase]:
        """Each lasts until the next began: what is left between them is the time that asking the clocks took."""
        begins = [one.began_s for one in self.log.phases[1:]]
        for one, next_s in zip_longest(self.log.phases, begins):
            back_s = None if one.put_back_s is None else self.at(one.put_back_s)
            yield Phase(one.name, self.at(one.began_s), self.at(next_s or one.ended_s), _path_s(one), back_s)

    def arrivals(self, lane: Lane) -> list[float]:
        """When something was heard of what answers by itself."""
        if lane is Lane.PODS:
            return [self.at(stamp) for stamp in self.replies]
        lines = self.client if lane is Lane.API_NODE else self.pod
        return [self.at(one.at_s) for one in lines if one.kind == "api" and _answered(one)]

    def heard(self, lane: Lane) -> bool:
        """Whether it answered in the steady phase, so that its silence means something."""
        steady_s = self.at(self.log.phases[0].ended_s)
        return any(0 <= at <= steady_s for at in self.arrivals(lane))

    def paths(self) -> Iterator[Span]:
        """What the probes of either end said; a phase's probes tell nothing of the time after them."""
        for phase in self.log.phases:
            for node in (self.log.client, self.log.server):
                seen = [(self.at(one.at_s), one.state) for one in phase.probes if one.node == node]
                yield from (
                    Span(Lane.PATH, node, state, a, b)
                    for a, b, state in states(seen, seen[-1][0] if seen else 0.0)
                )

    def silent(self) -> Iterator[Span]:
        for lane in (Lane.API_NODE, Lane.API_POD, Lane.PODS):
            for a, b in silences(self.arrivals(lane), 0.0, self.end_s):
                yield Span(lane, self.log.client, AWAY, a, b)

    def watch(self) -> Iterator[Span]:
        """From the end of the client's watch until it began again."""
        said = [
            (self.at(one.at_s), READY if one.facts["what"] == "begin" else BROKEN) for one in self.watching()
        ]
        for a, b, state in states(said, self.end_s):
            yield Span(Lane.WATCH, self.log.client, state, a, b)

    def watching(self) -> Iterator[Seen]:
        return (one for one in self.client if one.kind == "watch" and one.facts.get("of") == "lease")

    def ended(self) -> Iterator[Event]:
        for one in self.watching():
            if one.facts["what"] == "end":
                yield Event(Lane.WATCH, str(one.facts.get("why", "")), ENDED, self.at(one.at_s))

    def nodes(self) -> Iterator[Span]:
        by_name: dict[str, list[tuple[float, str]]] = {}
        for one in self.server:
            if one.kind == "node":
                state = READY if one.facts["ready"] == "True" else "NotReady"
                by_name.setdefault(str(one.facts["name"]), []).append((max(0.0, self.on_server(one)), state))
        for name, said in by_name.items():
            yield from (Span(Lane.NODES, name, state, a, b) for a, b, state in states(said, self.end_s))

    def ready_addresses(self) -> Iterator[tuple[float, frozenset[str]]]:
        """The addresses that the watched service has, over time; it may have several slices."""
        slices: dict[str, frozenset[str]] = {}
        for one in self.server:
            if one.kind == "slice":
                gone = one.facts["event"] == "DELETED"
                slices[str(one.facts["name"])] = frozenset() if gone else frozenset(one.facts["ready"])
                yield max(0.0, self.on_server(one)), frozenset().union(*slices.values())

    def endpoints(self) -> Iterator[Span]:
        """How many of the most that it ever had; READY with all of them."""
        seen = list(self.ready_addresses())
        most = max((len(found) for _, found in seen), default=0)
        said = [(at, READY if len(found) == most else f"{len(found)} of {most}") for at, found in seen]
        # before all were there once, none was lost
        first = next((place for place, (_, state) in enumerate(said) if state == READY), 0)
        yield from (
            Span(Lane.ENDPOINTS, "service", state, a, b) for a, b, state in states(said[first:], self.end_s)
        )

    def removed(self) -> Iterator[Event]:
        before: frozenset[str] = frozenset()
        for at_s, found in self.ready_addresses():
            yield from (Event(Lane.ENDPOINTS, address, REMOVED, at_s) for address in sorted(before - found))
            before = found

    def rescheduled(self) -> Iterator[Event]:
        """Pods that were told to go; each once."""
        gone: set[str] = set()
        for one in self.server:
            leaves = one.kind == "pod" and (one.facts["event"] == "DELETED" or one.facts["deleting"])
            if leaves and str(one.facts["uid"]) not in gone:
                gone.add(str(one.facts["uid"]))
                yield Event(Lane.ENDPOINTS, str(one.facts["name"]), RESCHEDULED, self.on_server(one))

    def routes(self) -> Iterator[Span]:
        """Where the pods' interface or a route over it was missing, of those that were there at first."""
        for node, lines, when in (
            (self.log.client, self.client, lambda one: self.at(one.at_s)),
            (self.log.server, self.server, self.on_server),
        ):
            links = [one for one in lines if one.kind == "link"]
            whole = set(links[0].facts["routes"]) if links else set()
            said = [(max(0.0, when(one)), READY if _whole(one, whole) else MISSING) for one in links]
            yield from (Span(Lane.ROUTES, node, state, a, b) for a, b, state in states(said, self.end_s))


def _answered(one: Seen) -> bool:
    """Whether the API server answered, be it that it does not know who asks."""
    return int(one.facts.get("code", _BROKEN_SERVER)) < _BROKEN_SERVER


def _whole(one: Seen, routes: set[str]) -> bool:
    return bool(one.facts["there"]) and routes <= set(one.facts["routes"])


def _path_s(phase: PhaseLog) -> float | None:
    """Seconds until both ends had the wanted path for good; None where none was wanted, or one end lacks it."""
    slowest = 0.0
    if not phase.wanted or not phase.probes:
        return None
    for node in {one.node for one in phase.probes}:
        seen = [one for one in phase.probes if one.node == node]
        bad = [place for place in range(len(seen)) if _off(seen, place, phase.wanted)]
        if bad and bad[-1] == len(seen) - 1:
            return None
        if bad:
            slowest = max(slowest, seen[bad[-1] + 1].at_s - phase.made_s)
    return round(slowest, 3)


def _off(seen: Sequence[Probe], place: int, wanted: str) -> bool:
    """Whether that probe is off the path: it names another, or no ping came back twice in a row.

    One lost ping alone is what an impairment does.
    """
    lost = [not one.answered for one in seen[max(0, place - 1) : place + 2]]
    return seen[place].path != wanted or (not seen[place].answered and sum(lost) > 1)
