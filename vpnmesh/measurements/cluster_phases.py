"""Carries out the phases of the cluster-health test: starts watchers, changes one thing after the other, undoes it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from vpnmesh.cluster.protocol import NAMESPACE, POD_PREFIX
from vpnmesh.errors import CheckError, ToolError
from vpnmesh.host.pods import VXLAN
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.measurements.convergence import BLOCKED, HOLD_S, RESTART_S, falls_back
from vpnmesh.measurements.protocol import (
    ClusterAccess,
    Part,
    Process,
    Question,
    ScenarioControl,
    Session,
    Side,
    Until,
)
from vpnmesh.model import Path, Scenario
from vpnmesh.plan import Secret
from vpnmesh.study.convergence import settled_s
from vpnmesh.study.health import STEP_S
from vpnmesh.study.health_raw import (
    CLIENT_FILE,
    PHASES_FILE,
    PING_FILE,
    POD_FILE,
    SERVER_FILE,
    STEADY,
    Clocks,
    Log,
    PhaseLog,
    Probe,
)
from vpnmesh.tools.cluster_watch import (
    ACCOUNT,
    LABEL,
    TOKEN_REQUEST,
    Orders,
    leases,
    lines_of,
    manifest,
    objects,
)

STEADY_S = 10.0
"""How long the untouched cluster is watched, beside the profile's seconds."""
CUT_S = 75.0
"""How long UDP stays blocked where there is no relay: longer than a node may be silent until it is NotReady (50 s)."""
DOWN_S = 10.0
"""How long a relay or control plane that was killed stays away."""
PUT_BACK_S = 10.0
"""How long routes may take to come back by themselves, once the path is there."""
RECOVER_S = 90.0
"""How long the cluster may take, once the path is there, until all its nodes and endpoints are ready."""
AFTER_S = 3.0
CHANGES_S = 150.0
"""All changes of a quick VPN."""
RESTARTS: Mapping[str, tuple[Part, float]] = {
    "relay-restart": ("relay", DOWN_S),
    "control-restart": ("control", DOWN_S),
    "worker-restart": ("client", 0.0),
    "master-restart": ("server", 0.0),
}
"""Whose daemons are killed, and for how many seconds they stay away."""
_BEGIN_S = 20.0
_LIMIT_S = 1800.0
TOKEN_FILE = f"{RUN_DIRECTORY}/health.token"
_WRITE = 'umask 077; mkdir -p "${0%/*}"; cat > "$0"'
_AUTHORITY = ("get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}")


@dataclass(frozen=True, slots=True)
class Change:
    """One phase: what is done, how long it stays so at least, what ends it, and the path that must come then.

    `act` says whether there was anything to do; a phase without is left out.
    """

    name: str
    act: Callable[[], bool]
    wanted: Path | None
    stays_s: float = 0.0
    then: Callable[[], object] | None = None
    deadline_s: float = RESTART_S


def carry_out(session: Session, scenario: Scenario) -> None:
    """All phases that the scenario can show, watched from their beginning to their end; everything is undone."""
    pair = session.question.pair
    log = Log(pair.client, pair.server)
    session.keep(PHASES_FILE, log.text)
    control = session.control
    with _account(session, control.cluster), _watchers(session, control.cluster) as watchers:
        run = _Run(session, watchers, log)
        try:
            for change in changes(session.question, control):
                run.phase(change)
        finally:
            control.set_policy(scenario.policy)
            session.keep(PHASES_FILE, log.text)


def changes(question: Question, control: ScenarioControl) -> tuple[Change, ...]:
    """What is changed, in order; without a relay to go to, UDP is blocked all the same, to see what that does."""
    scenario = question.scenario
    assert scenario is not None
    path, limit_s = scenario.path, question.fallback_s or RESTART_S
    block, allow = (partial(_set_policy, control, name) for name in (BLOCKED, scenario.policy))
    udp: tuple[Change, ...] = ()
    if falls_back(question):
        udp = (
            Change("to-relay", block, Path.RELAY, deadline_s=limit_s),
            Change("to-direct", allow, path, deadline_s=limit_s),
        )
    elif path is Path.DIRECT:
        udp = (Change("blocked", block, None, CUT_S), Change("unblocked", allow, path))
    return (
        Change(STEADY, _nothing, path, STEADY_S + question.settings.duration_s),
        *udp,
        *(
            Change(name, partial(control.kill, part), path, seconds, control.start)
            for name, (part, seconds) in RESTARTS.items()
        ),
    )


def _set_policy(control: ScenarioControl, name: str) -> bool:
    control.set_policy(name)
    return True


def _nothing() -> bool:
    return True


@dataclass(slots=True)
class _Watchers:
    """The programs that watch, by the file that keeps what they print, and what was read of them so far."""

    session: Session
    running: dict[str, Process] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, enough: Callable[[str], bool], within_s: float) -> bool:
        """Read on until all that was printed is enough; whether it is."""
        before, judged = self.texts.get(name, ""), -1

        def look(new: str) -> bool:
            nonlocal judged
            if len(new) == judged:
                return False
            judged = len(new)
            return enough(before + new)

        self.texts[name] = before + self.running[name].read_until(look, within_s=within_s)
        return enough(self.texts[name])

    def end(self) -> None:
        """End them all and keep what they printed."""
        for name, process in self.running.items():
            self.session.keep(name, self.texts.get(name, "") + process.stop().stdout)


@dataclass(slots=True)
class _Run:
    """The phases as they are carried out."""

    session: Session
    watchers: _Watchers
    log: Log
    routes: str = ""

    def phase(self, change: Change) -> None:
        """Make the change, probe the path until it is there, and wait until the cluster has recovered."""
        began_s = self.mark()
        if not change.act():
            return
        phase = PhaseLog(change.name, began_s, self.mark(), wanted=str(change.wanted or ""))
        self.log.phases.append(phase)
        try:
            self.probe(phase, lambda seen: seen[-1].at_s >= change.stays_s, change.stays_s)
        finally:
            if change.then is not None:
                change.then()
        if change.wanted is not None:
            if change.name != STEADY:
                self.await_path(phase, change.wanted, change.deadline_s)
            self.recover(phase)
        phase.ended_s = self.mark()
        self.session.keep(PHASES_FILE, self.log.text)

    def await_path(self, phase: PhaseLog, wanted: Path, deadline_s: float) -> None:
        """Probe until both ends have it; whether they do is seen in the probes."""
        self.probe(phase, lambda seen: settled_s(seen, wanted, HOLD_S) is not None, deadline_s)

    def recover(self, phase: PhaseLog) -> None:
        """Wait for routes, nodes and endpoints; put the pods' interface back where nothing else does."""
        if not self.routes:
            self.routes = self.seen_routes()
        waited_s = 0.0
        while self.seen_routes() != self.routes and waited_s < PUT_BACK_S:
            self.session.wait(1.0)
            waited_s += 1.0
        if self.seen_routes() != self.routes:
            self.session.control.attach_pods()
            phase.put_back_s = self.mark()
        self.mark()
        since_s = self.log.clocks[-1].server_s
        if not self.watchers.read(SERVER_FILE, partial(recovered, since_s), RECOVER_S):
            raise CheckError(
                "cluster", f"{RECOVER_S:.0f} s after {phase.name}: {lacking(self.watchers.texts)}"
            )
        self.session.wait(AFTER_S)

    def seen_routes(self) -> str:
        """What is routed over the pods' interface of both ends."""
        argv = ("ip", "route", "show", "dev", VXLAN)
        sides: tuple[Side, ...] = ("client", "server")
        done = [self.session.run(side, argv, in_pod=False, ok=(0, 1)) for side in sides]
        return "\n".join(one.stdout for one in done)

    def probe(self, phase: PhaseLog, until: Until, deadline_s: float) -> None:
        """Probe the path from both ends and note it, by the client's clock."""
        began_s = self.mark()
        for node, seen in self.session.control.probe_path(until, deadline_s).items():
            phase.probes += [
                Probe(node, round(began_s + one.at_s, 3), str(one.path or ""), one.answered) for one in seen
            ]

    def mark(self) -> float:
        """The client's clock now; the server's is noted beside it."""
        clocks = Clocks(
            _clock(self.session, "client"), _clock(self.session, "server"), _clock(self.session, "client")
        )
        self.log.clocks.append(clocks)
        return clocks.after_s


def recovered(since_s: float, text: str) -> bool:
    """Whether all nodes are ready and the service has all endpoints that it ever had, by the master's watcher.

    Its last line must be younger than that, or it says nothing of now.
    """
    last = text.rpartition("\n")[0].rpartition("\n")[2].partition(" ")[0]
    return bool(last) and float(last) > since_s and not _lacking(text)


def lacking(texts: dict[str, str]) -> str:
    """What is not as it was, for a sentence."""
    return "; ".join(_lacking(texts.get(SERVER_FILE, "")))


def _lacking(text: str) -> list[str]:
    nodes: dict[str, str] = {}
    endpoints: dict[str, int] = {}
    most: dict[str, int] = {}
    told = "".join(line for line in text.splitlines(keepends=True) if " node " in line or " slice " in line)
    for one in lines_of(told, SERVER_FILE):
        name = str(one.facts.get("name", ""))
        if one.kind == "node":
            nodes[name] = (
                "" if one.facts["ready"] == "True" else f"node {name} is not ready ({one.facts['reason']})"
            )
        elif one.kind == "slice":
            endpoints[name] = len(one.facts["ready"])
            most[name] = max(most.get(name, 0), endpoints[name])
    found = [reason for reason in nodes.values() if reason] or ([] if nodes else ["no node was seen"])
    if not endpoints or not max(most.values()):
        found.append("the watched service has no endpoint")
    return found + [f"{n} of {most[name]} endpoints" for name, n in endpoints.items() if n < most[name]]


def _clock(session: Session, side: Side) -> float:
    said = session.run(side, ("date", "+%s.%N"), in_pod=False).stdout
    try:
        return round(float(said), 4)
    except ValueError:
        raise ToolError("date", f"printed '{said.strip()[:40]}'") from None


@contextmanager
def _account(session: Session, access: ClusterAccess) -> Iterator[None]:
    """Make what the watchers need in the cluster, and take it away again."""
    bed = session.question.testbed
    kubectl = (*access.kubectl, "-n", NAMESPACE)
    pods = [f"{POD_PREFIX}{node.name}" for node in bed.k8s]
    try:
        session.run("server", (*kubectl, "apply", "-f", "-"), in_pod=False, stdin=manifest(NAMESPACE))
        session.run(
            "server", (*kubectl, "label", "--overwrite", "pod", *pods, f"{LABEL}=watched"), in_pod=False
        )
        yield
    finally:
        session.run("server", (*kubectl, "label", "pod", *pods, f"{LABEL}-"), in_pod=False, ok=(0, 1))
        delete = (*kubectl, "delete", "--ignore-not-found", "--wait=false", "-f", "-")
        session.run("server", delete, in_pod=False, ok=(0, 1), stdin=manifest(NAMESPACE))


@contextmanager
def _watchers(session: Session, access: ClusterAccess) -> Iterator[_Watchers]:
    """Start all watchers and wait until they see the cluster; what they printed is kept however it ends."""
    kubectl = (*access.kubectl, "-n", NAMESPACE)
    patience_s = 5.0 + 8 * session.question.condition.round_trip_ms / 1000
    authority = session.run("server", (*kubectl, *_AUTHORITY), in_pod=False).stdout
    asks = Orders(access.server, authority, STEP_S, patience_s)
    orders: dict[str, tuple[Side, Orders]] = {
        CLIENT_FILE: ("client", _watching(asks, leases())),
        SERVER_FILE: ("server", _watching(asks, objects(NAMESPACE))),
    }
    watchers = _Watchers(session)
    try:
        for name, (side, order) in orders.items():
            token = _token(session, access)
            session.run(side, ("sh", "-c", _WRITE, TOKEN_FILE), in_pod=False, stdin=token)
            watchers.running[name] = session.start(side, order.argv, in_pod=False, timeout_s=_LIMIT_S)
            watchers.read(name, lambda text: " begin " in text, _BEGIN_S)
        watchers.running[POD_FILE] = session.start("client", asks.argv, timeout_s=_LIMIT_S)
        ping = ("stdbuf", "-oL", "ping", "-D", "-n", "-i", f"{STEP_S:g}", "-W", "1")
        argv = (*ping, str(session.question.pod("server")))
        watchers.running[PING_FILE] = session.start("client", argv, timeout_s=_LIMIT_S)
        _require(watchers)
        yield watchers
    finally:
        watchers.end()


def _token(session: Session, access: ClusterAccess) -> Secret:
    """A token of the watchers' account: asked of the API itself, since `kubectl create token` is of 1.24."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    argv = (*access.kubectl, "create", "--raw", path, "-f", "-")
    said = session.run("server", argv, in_pod=False, stdin=TOKEN_REQUEST).stdout
    try:
        return Secret(str(json.loads(said)["status"]["token"]))
    except (ValueError, KeyError, TypeError):
        raise ToolError("kubectl", f"gave no token of {ACCOUNT}") from None


def _require(watchers: _Watchers) -> None:
    """CheckError where the cluster is not well to begin with."""
    if not watchers.read(CLIENT_FILE, lambda text: '"code":' in text, _BEGIN_S):
        said = watchers.texts[CLIENT_FILE].splitlines()[-1:] or ["nothing"]
        raise CheckError("cluster", f"the API server does not answer the client: {said[0][:200]}")
    if not watchers.read(SERVER_FILE, partial(recovered, 0.0), RECOVER_S):
        raise CheckError("cluster", lacking(watchers.texts))


def _watching(asks: Orders, resources: dict[str, str]) -> Orders:
    return Orders(asks.server, asks.authority, asks.every_s, asks.patience_s, VXLAN, TOKEN_FILE, resources)
