"""Does a cluster survive what happens to its VPN: API, watches, nodes, endpoints and routes beside the path.

Watchers on the client, in its pod and on the master print what they see, while UDP is blocked and allowed again,
the relay and the control plane are killed and started again, and so are the daemons of a worker and of the master.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.errors import ToolError, UnavailableError, readable
from vpnmesh.measurements.cluster_phases import CHANGES_S, carry_out
from vpnmesh.measurements.protocol import Figure, Needed, Question, Session, Settings
from vpnmesh.model import Condition, Role
from vpnmesh.study.health import Health, Lane, Phase
from vpnmesh.study.health_raw import ENDED, REMOVED, RESCHEDULED, STEADY, health_of
from vpnmesh.study.outcome import Measured, Sample

PHASES = {
    STEADY: "untouched",
    "to-relay": "UDP blocked, on the relay",
    "to-direct": "UDP allowed again",
    "blocked": "UDP blocked, without a relay",
    "unblocked": "UDP allowed again",
    "relay-restart": "relay killed and started",
    "control-restart": "VPN's control plane killed and started",
    "worker-restart": "worker's VPN daemon restarted",
    "master-restart": "master's VPN daemon restarted",
}
"""Every phase that a scenario may have, in order, and what is done in it."""
_OF_PHASE = {
    "api_outage_s": (Lane.API_NODE, "longest silence of the API, from the worker"),
    "not_ready_s": (Lane.NODES, "longest time that a node was not Ready"),
}
"""What every phase gives a figure of; the rest is given over all phases."""
_LONGEST = {
    **_OF_PHASE,
    "pod_api_outage_s": (Lane.API_POD, "longest silence of the API, from a pod"),
    "pods_outage_s": (Lane.PODS, "longest silence between two pods"),
    "watch_broken_s": (Lane.WATCH, "longest time without a watch"),
    "endpoints_missing_s": (Lane.ENDPOINTS, "longest time that a service lacked an endpoint"),
    "routes_missing_s": (Lane.ROUTES, "longest time that pods' interface or routes were missing"),
}
_COUNTS = {
    "watch_reconnects": (Lane.WATCH, ENDED, "watches that ended"),
    "endpoints_removed": (Lane.ENDPOINTS, REMOVED, "endpoints taken out of a service"),
    "pods_rescheduled": (Lane.ENDPOINTS, RESCHEDULED, "pods told to go"),
}
_ONLY_IF_HEARD = {"pod_api_outage_s", "pods_outage_s"}


def _figures() -> tuple[Figure, ...]:
    whole = [
        Figure(name, "s", title, 2, "s API away" if name == "api_outage_s" else "", name in _ONLY_IF_HEARD)
        for name, (_, title) in _LONGEST.items()
    ]
    counts = [Figure(name, "", title, 0) for name, (_, _, title) in _COUNTS.items()]
    phases = [figure for name, title in PHASES.items() for figure in _phase_figures(name, title)]
    return (*whole, *counts, Figure("clocks_ms", "ms", "how well the nodes' clocks are known"), *phases)


def _phase_figures(name: str, title: str) -> list[Figure]:
    found = [
        Figure(f"{_slug(name)}_{figure}", "s", f"{title}: {what}", 2, optional=name != STEADY)
        for figure, (_, what) in _OF_PHASE.items()
    ]
    if name not in (STEADY, "blocked"):
        found.append(
            Figure(f"{_slug(name)}_path_s", "s", f"{title}: until the path was there", 2, optional=True)
        )
    return found


def _slug(phase: str) -> str:
    return phase.replace("-", "_")


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """All that a scenario can show; it is up as before when this ends."""

    name: str = "cluster-health"
    figures: tuple[Figure, ...] = _figures()
    program: str = ""
    server_role: Role = Role.K8S_MASTER
    needed: tuple[Needed, ...] = (
        Needed(("python3",), "client", "python3"),
        Needed(("python3",), "server", "python3"),
    )

    def seconds(self, settings: Settings, _condition: Condition) -> float:
        """The steady seconds, and the changes of a quick VPN."""
        return settings.duration_s + CHANGES_S

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition: an impairment is one of the things that a cluster may not survive."""
        return True

    def ask(self, session: Session) -> None:
        """Watch the cluster while everything is changed in turn.

        CheckError: "cluster" where it does not answer to begin with, or does not recover at the end. UnavailableError
        where pods are namespaces: there is no cluster then.
        """
        question = session.question
        if question.scenario is None:
            raise UnavailableError("cluster-health needs a scenario that is up: measure it with full_matrix")
        carry_out(session, question.scenario)

    def parse(self, raw: Mapping[str, str], _question: Question) -> Measured:
        """Every figure that the scenario can show, from what the watchers printed."""
        health = health_of(raw)
        if unknown := [phase.name for phase in health.phases if phase.name not in PHASES]:
            raise ToolError("raw", f"a phase that no scenario has: {unknown[0][:40]}")
        with readable("raw"):
            return Measured(tuple(_samples(health)))


def _samples(health: Health) -> list[Sample]:
    heard = {name: lane for name, (lane, _) in _LONGEST.items() if lane in health.watched}
    found = [Sample(name, round(health.longest_s(lane), 3)) for name, lane in heard.items()]
    found += [Sample(name, health.happened(lane, what)) for name, (lane, what, _) in _COUNTS.items()]
    found.append(Sample("clocks_ms", round(health.accuracy_s * 1000, 1)))
    return found + [sample for phase in health.phases for sample in _of_phase(health, phase)]


def _of_phase(health: Health, phase: Phase) -> list[Sample]:
    slug = _slug(phase.name)
    found = [
        Sample(f"{slug}_{name}", round(health.longest_s(lane, phase), 3))
        for name, (lane, _) in _OF_PHASE.items()
    ]
    if phase.path_s is not None and phase.name not in (STEADY, "blocked"):
        found.append(Sample(f"{slug}_path_s", phase.path_s))
    return found


MEASUREMENT = ClusterHealth()
