"""How long a mesh takes to join, to fall back to its relay when UDP is blocked, to return, and to restart.

Before anything is changed the path must be steady: a mesh that flaps is left out by evidence (section 3.2.4).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from vpnmesh.documents.numbers import amount
from vpnmesh.errors import UNREADABLE, CheckError, ToolError, UnavailableError, readable
from vpnmesh.measurements.idle import watch_idle
from vpnmesh.measurements.protocol import Figure, Needed, Question, Session, Settings, json_of, text_of
from vpnmesh.model import Condition, Path, Role, Scenario
from vpnmesh.study.convergence import (
    DEFAULT_LIMITS,
    PathProbe,
    judge_ends,
    longest_outage_s,
    settled_s,
)
from vpnmesh.study.outcome import Measured, Sample

HOLD_S = 2.0
"""How long a path must hold until it counts as settled; not part of the measured time."""
RESTART_S = 90.0
"""How long daemons that were killed may take until the path is back."""
STEADY_DEADLINE_S = 60.0
"""How long the probes of a steady path may take on a busy machine."""
CHANGES_S = 45.0
"""Falling back, returning and restarting; ZeroTier takes minutes (section 3.2.4)."""
BLOCKED = "block-udp"
"""The firewall policy that makes a direct mesh fall back."""
PING_INTERVAL_S = 0.1
_PING_OUTLIVES_S = 30.0

JOIN_FILE, RESTART_FILE = "join.json", "restart.json"
STEADY = "steady"


@dataclass(frozen=True, slots=True)
class PathChange:
    """Something that moves a path: its name in files and figures, the path that must come, and by when."""

    name: str
    wanted: Path
    deadline_s: float
    after: str

    @property
    def ping_file(self) -> str:
        """Where the ping that ran meanwhile is kept."""
        return f"{self.name}-ping.txt"


@dataclass(frozen=True, slots=True)
class Convergence:
    """All that a scenario can show; it is up as before when this ends."""

    name: str = "convergence"
    figures: tuple[Figure, ...] = (
        Figure("join_s", "s", "until every pair had the path", label="s join"),
        Figure("steady_outage_s", "s", "longest silence of the untouched path"),
        Figure("to_relay_s", "s", "to the relay after UDP was blocked", optional=True),
        Figure("to_relay_outage_s", "s", "longest silence meanwhile", optional=True),
        Figure("to_direct_s", "s", "back to the direct path", optional=True),
        Figure("to_direct_outage_s", "s", "longest silence meanwhile", optional=True),
        Figure("restart_s", "s", "after the client's daemons were killed", optional=True),
    )
    program: str = ""
    server_role: Role = Role.K8S_WORKER
    needed: tuple[Needed, ...] = ()

    def seconds(self, settings: Settings, _condition: Condition) -> float:
        """The idle seconds before, and the changes of a quick VPN."""
        return settings.duration_s + CHANGES_S

    def asked_under(self, condition: Condition) -> bool:
        """Only undisturbed: how fast a path comes is a question about healthy networks."""
        return not condition

    def ask(self, session: Session) -> None:
        """Watch it idle, prove that it is steady, then block, unblock and restart.

        CheckError: "stability" when the path is not steady to begin with, "path" when a change did not bring the
        wanted path in time.
        """
        control, question = session.control, session.question
        watch_idle(session)
        session.keep(JOIN_FILE, json.dumps({"join_s": control.join_s}))
        probes = control.probe_path(DEFAULT_LIMITS.enough, STEADY_DEADLINE_S)
        _keep_probes(session, STEADY, probes)
        _require_steady(probes, _scenario(question).path)
        if falls_back(question):
            _fall_back(session)
        restarted_s = control.restart("client")
        session.keep(RESTART_FILE, json.dumps({"restarted_s": restarted_s}))
        if restarted_s is not None:
            _await(session, _restart(question))
            control.attach_pods()

    def parse(self, raw: Mapping[str, str], question: Question) -> Measured:
        """Every time that the scenario can show, from the probes and pings that were kept."""
        probes = _probes(raw, STEADY, question)
        outage_s = _require_steady(probes, _scenario(question).path)
        samples = [Sample("steady_outage_s", outage_s), Sample("join_s", _seconds(raw, JOIN_FILE, "join_s"))]
        for change in _changes(question):
            samples += [
                Sample(f"{change.name.replace('-', '_')}_s", _settled(raw, change, question)),
                Sample(f"{change.name.replace('-', '_')}_outage_s", _outage(raw, change)),
            ]
        if json_of(raw, RESTART_FILE) != {"restarted_s": None}:
            again_s = _seconds(raw, RESTART_FILE, "restarted_s") + _settled(raw, _restart(question), question)
            samples.append(Sample("restart_s", round(again_s, 3)))
        return Measured(tuple(samples))


def falls_back(question: Question) -> bool:
    """Whether blocking UDP sends this scenario's packets to the relay."""
    return question.fallback_s is not None and _scenario(question).path is Path.DIRECT


def _changes(question: Question) -> Iterator[PathChange]:
    """Falling back and returning, where there is something to fall back to."""
    if falls_back(question):
        deadline_s = question.fallback_s or 0.0
        yield PathChange("to-relay", Path.RELAY, deadline_s, "UDP was blocked")
        yield PathChange("to-direct", Path.DIRECT, deadline_s, "UDP was allowed again")


def _restart(question: Question) -> PathChange:
    path = _scenario(question).path
    return PathChange("restart", path, RESTART_S, f"{question.pair.client}'s daemons were killed")


def _fall_back(session: Session) -> None:
    """Block UDP, wait for the relay, and allow it again whatever came."""
    to_relay, to_direct = _changes(session.question)
    try:
        session.control.set_policy(BLOCKED)
        _await(session, to_relay)
    finally:
        session.control.set_policy(_scenario(session.question).policy)
    _await(session, to_direct)


def _await(session: Session, change: PathChange) -> None:
    """Probe both ends until the path has settled, a ping through the tunnel running; CheckError when it has not."""
    address = session.control.tunnel_address("server")
    argv = ("stdbuf", "-oL", "ping", "-n", "-i", f"{PING_INTERVAL_S:g}", "-W", "1", str(address))
    ping = session.start("client", argv, in_pod=False, timeout_s=change.deadline_s + _PING_OUTLIVES_S)
    try:
        probes = session.control.probe_path(
            lambda seen: settled_s(seen, change.wanted, HOLD_S) is not None, change.deadline_s
        )
    finally:
        session.keep(change.ping_file, ping.stop().stdout)
    _keep_probes(session, change.name, probes)
    _slowest(probes, change)


def _slowest(probes: Mapping[str, Sequence[PathProbe]], change: PathChange) -> float:
    """Seconds until the slower end had settled; CheckError names the end that did not."""
    slowest_s = 0.0
    for node, seen in probes.items():
        seconds = settled_s(seen, change.wanted, HOLD_S)
        if seconds is None:
            late = f"{change.deadline_s:.0f} s after {change.after}"
            raise CheckError("path", f"{late}, {node} is not {change.wanted} but {_last(seen)}")
        slowest_s = max(slowest_s, seconds)
    return slowest_s


def _last(probes: Sequence[PathProbe]) -> str:
    if not probes:
        return "without a probe"
    last = probes[-1]
    return f"{last.path or 'without a path'}, pings {'answered' if last.answered else 'lost'}"


def _require_steady(probes: Mapping[str, Sequence[PathProbe]], wanted: Path) -> float:
    """The longest silence of a steady path; CheckError says why it is not."""
    verdict = judge_ends(probes, wanted)
    if not verdict.included:
        raise CheckError("stability", verdict.reason)
    return verdict.longest_outage_s


def _keep_probes(session: Session, name: str, probes: Mapping[str, Sequence[PathProbe]]) -> None:
    for node, seen in probes.items():
        session.keep(f"{name}-{node}.json", json.dumps([asdict(probe) for probe in seen]))


def _probes(raw: Mapping[str, str], name: str, question: Question) -> dict[str, list[PathProbe]]:
    return {
        node: _read_probes(json_of(raw, f"{name}-{node}.json"), f"{name}-{node}.json")
        for node in (question.pair.client, question.pair.server)
    }


def _read_probes(rows: object, name: str) -> list[PathProbe]:
    try:
        return [
            PathProbe(_moment(row["at_s"]), Path(row["path"]) if row["path"] else None, bool(row["answered"]))
            for row in (rows if isinstance(rows, list) else [{}])
        ]
    except UNREADABLE as error:
        raise ToolError("raw", f"{name} holds no probes: {error}") from error


def _moment(value: object) -> float:
    if (at_s := amount(value)) is None:
        raise ValueError(f"{str(value)[:20]} is no moment")
    return at_s


def _settled(raw: Mapping[str, str], change: PathChange, question: Question) -> float:
    return _slowest(_probes(raw, change.name, question), change)


def _outage(raw: Mapping[str, str], change: PathChange) -> float:
    text = text_of(raw, change.ping_file)
    with readable("ping"):
        return longest_outage_s(text, PING_INTERVAL_S)


def _seconds(raw: Mapping[str, str], name: str, key: str) -> float:
    kept = json_of(raw, name)
    value = amount(kept.get(key) if isinstance(kept, dict) else None)
    if value is None:
        raise ToolError("raw", f"{name} holds no {key}")
    return value


def _scenario(question: Question) -> Scenario:
    if question.scenario is None:
        raise UnavailableError("convergence needs a scenario that is up: measure it with full_matrix")
    return question.scenario


MEASUREMENT = Convergence()
