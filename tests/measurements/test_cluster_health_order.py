"""The cluster-health test's own order: watch, change one thing after the other, undo it; and what it needs to begin."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.measurements.cases import cases, question
from tests.measurements.silent import ScriptedControl, SilentProcess, SilentSession
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.measurements.cluster_health import MEASUREMENT, PHASES
from vpnmesh.measurements.cluster_phases import RESTARTS, changes, recovered
from vpnmesh.measurements.protocol import ClusterAccess, Part, Question, Side
from vpnmesh.model import Path, Role
from vpnmesh.plan import Completed, Secret, Text, reveal
from vpnmesh.study.health_raw import CLIENT_FILE, PHASES_FILE, SERVER_FILE

ACCESS = ClusterAccess(("kubectl",), "https://10.213.0.1:6443")
TOKEN = "a-token-that-nobody-may-see"


def asked(scenario: str, **facts: Any) -> Question:
    """Of the worker and the master, as the test's role says."""
    found = question(scenario, **facts)
    bed = found.testbed
    return replace(found, pair=replace(found.pair, server=bed.master.name))


@dataclass
class Clock:
    """Seconds that pass with every look."""

    now_s: float = 1000.0


@dataclass
class Watcher(SilentProcess):
    """Prints lines of now, as one that sees a healthy cluster."""

    clock: Clock = field(default_factory=Clock)

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        now = f"{self.clock.now_s + 1:.3f}"
        healthy = (
            f'{now} begin {{}}\n{now} node {{"name":"m","event":"ADDED","ready":"True","reason":""}}\n'
            f'{now} slice {{"name":"s","event":"ADDED","ready":["10.0.0.1"]}}\n{now} api {{"code":200}}\n'
        )
        return healthy if enough(healthy) else ""


@dataclass
class WatchedSession(SilentSession):
    """Nodes with clocks, and watchers that see a healthy cluster; keeps what went in by stdin."""

    clock: Clock = field(default_factory=Clock)
    stdins: list[Text] = field(default_factory=list)

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
        self.stdins.append(stdin)
        done = super().run(side, argv, in_pod=in_pod, timeout_s=timeout_s, ok=ok)
        if argv[0] == "date":
            self.clock.now_s += 0.01
            return replace(done, stdout=f"{self.clock.now_s}\n")
        asks = argv[-1] == "-" and "TokenRequest" in reveal(stdin)
        return replace(done, stdout=json.dumps({"status": {"token": TOKEN}})) if asks else done

    def start(self, side: Side, argv: Sequence[str], *, in_pod: bool = True, timeout_s: float) -> Watcher:
        self.ran.append(tuple(argv))
        return Watcher(tuple(argv), clock=self.clock)


def watched(scenario: str, control: ScriptedControl, **facts: Any) -> WatchedSession:
    """A session over such nodes, with a cluster that stands."""
    control.standing = ACCESS
    return WatchedSession(asked(scenario, **facts), control)


def falls_back(policy: str) -> Path:
    return Path.RELAY if policy == "block-udp" else Path.DIRECT


RESTARTED = [word for part, _ in RESTARTS.values() for word in (f"kill {part}", "start")]


def test_everything_is_changed_and_undone() -> None:
    """UDP blocked and allowed; everything that was killed is started; at the end the scenario's policy again."""
    control = ScriptedControl(falls_back)
    session = watched("headscale-direct", control, fallback_s=60.0)
    MEASUREMENT.ask(session)
    assert control.events == ["block-udp", "allow-all", *RESTARTED, "allow-all"]
    log = json.loads(session.raw[PHASES_FILE])
    wanted = [name for name in PHASES if name not in ("blocked", "unblocked")]
    assert [phase["name"] for phase in log["phases"]] == wanted
    assert log["phases"][1]["wanted"] == "relay"


def test_without_a_relay_udp_is_blocked_all_the_same() -> None:
    """Long enough for a node to become NotReady; nothing is killed that is not there."""
    control = ScriptedControl(lambda _: Path.DIRECT, daemons=False)
    session = watched("wireguard-direct", control)
    MEASUREMENT.ask(session)
    names = [phase["name"] for phase in json.loads(session.raw[PHASES_FILE])["phases"]]
    assert names == ["steady", "blocked", "unblocked"]
    (blocked,) = [one for one in changes(session.question, control) if one.name == "blocked"]
    assert (blocked.wanted, blocked.stays_s > 50) == (None, True)


def test_a_relayed_scenario_is_not_blocked() -> None:
    control = ScriptedControl(lambda _: Path.RELAY)
    names = [one.name for one in changes(asked("nebula-relay"), control)]
    assert names == ["steady", *RESTARTS]


@dataclass
class Falling(ScriptedControl):
    """A relay that is killed, and a controller whose connection is cut then."""

    def kill(self, part: Part) -> bool:
        self.events.append(f"kill {part}")
        return True

    def probe_path(self, until: Any, deadline_s: float) -> Any:
        if self.events and self.events[-1] == "kill relay":
            raise CheckError("node", "cut off")
        return super().probe_path(until, deadline_s)


def test_what_was_killed_is_started_though_the_rest_fails() -> None:
    """And the account, the labels and the policy are taken back."""
    control = Falling(lambda _: Path.RELAY)
    session = watched("nebula-relay", control)
    with pytest.raises(CheckError, match="cut off"):
        MEASUREMENT.ask(session)
    assert control.events[:2] == ["kill relay", "start"]
    assert any("delete" in argv for argv in session.ran)
    assert {CLIENT_FILE, SERVER_FILE} <= set(session.raw)
    phases = json.loads(session.raw[PHASES_FILE])["phases"]
    assert [one["name"] for one in phases] == ["steady", "relay-restart"]


def test_tokens_travel_as_secrets_alone() -> None:
    """By stdin into a file; never in an argv, never in what is kept."""
    session = watched("nebula-relay", ScriptedControl(lambda _: Path.RELAY))
    MEASUREMENT.ask(session)
    secrets = [one for one in session.stdins if isinstance(one, Secret)]
    assert {reveal(one) for one in secrets} == {TOKEN}
    assert not [argv for argv in session.ran if TOKEN in " ".join(argv)]
    assert not [name for name, text in session.raw.items() if TOKEN in text]


def test_pods_that_are_namespaces_are_unavailable() -> None:
    """`--cluster pods`: a reason with the way out, before anything is changed."""
    session = SilentSession(asked("nebula-relay"), ScriptedControl())
    with pytest.raises(UnavailableError):
        MEASUREMENT.ask(session)
    assert session.control.events == []


def test_old_news_are_not_of_now() -> None:
    """A node that was ready before says nothing; nor does one without an endpoint."""
    node = '100.0 node {"name":"m","ready":"True","reason":""}\n'
    ends = '100.1 slice {"name":"s","event":"ADDED","ready":["10.0.0.1"]}\n'
    assert recovered(99.0, node + ends)
    assert not recovered(200.0, node + ends)
    assert not recovered(99.0, node)
    assert not recovered(99.0, node + ends + '101.0 slice {"name":"s","event":"MODIFIED","ready":[]}\n')


def test_it_asks_the_master() -> None:
    assert MEASUREMENT.server_role is Role.K8S_MASTER


def test_a_phase_that_a_scenario_lacks_has_no_figure() -> None:
    """Absent, not zero: of a scenario that falls back nothing is blocked, and the other way round."""
    given = [set(case.figures) for case in cases("cluster-health")]
    assert given
    for names in given:
        assert not {"to_relay_api_outage_s", "blocked_api_outage_s"} <= names
        assert "blocked_path_s" not in names
