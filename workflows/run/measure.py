"""One repetition: check, measure, check again, and leave one record, whatever happened."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import tasks
from tasks.observation import Look
from vpnmesh.errors import CheckError, ToolError, UnavailableError, VpnmeshError
from vpnmesh.host.pods import pod_address
from vpnmesh.host.tuning import Tuning
from vpnmesh.impairment.engine import late_ms_between
from vpnmesh.measurements import measurement_named, observed
from vpnmesh.measurements.protocol import Measurement, Question, Settings
from vpnmesh.model import Cell, Condition, Pair
from vpnmesh.solutions import all_interfaces
from vpnmesh.stats.caps import cap_mbit_s, near_cap
from vpnmesh.study.checks import check_endpoints, check_foreign, check_path, check_pod_mtu, check_share
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome
from vpnmesh.study.profile import Profile
from vpnmesh.study.record import Record
from vpnmesh.tools import ping
from vpnmesh.tools.load import NodeLoad
from vpnmesh.tools.ping import PingSummary
from workflows.run.hosts import HostsFailedError, run_on, stage_of
from workflows.run.impair import Impaired
from workflows.run.lease import lease_over
from workflows.run.provision import Provisioned
from workflows.run.scenario_control import SiteControl
from workflows.run.site import Site
from workflows.run.store import Store, StoreError


@dataclass(frozen=True, slots=True)
class VisitContext:
    """Everything that the repetitions of one visit share: the site, what is deployed on it, profile and store."""

    site: Site
    deployed: Provisioned
    profile: Profile
    store: Store

    def question(self, cell: Cell) -> Question:
        """What a measurement is told of the cell."""
        solution = self.deployed.solution
        return Question(
            self.site.testbed,
            cell.pair,
            Condition.parse(cell.condition),
            tuned(self.profile.settings, solution.tuning(self.deployed.scenario)),
            self.deployed.scenario,
            solution.processes,
            solution.fallback_s,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which repetition of which cell, in which visit, and its number among all attempts of the run, from 1.

    `at_once` = how many pairs are measured at that time, itself among them. `folder` is where its raw output is kept,
    where that is not the folder of a repetition.
    """

    cell: Cell
    repetition: int
    visit: int
    sequence: int
    at_once: int = 1
    folder: str = ""


@dataclass(frozen=True, slots=True)
class RawFolder:
    """Where an attempt's raw output is kept: raw/CELL/REPETITION/ of the run."""

    store: Store
    path: str

    @classmethod
    def of(cls, context: VisitContext, attempt: Attempt) -> "RawFolder":
        """The attempt's own folder."""
        cell = attempt.cell.key.replace(">", "-to-")
        return cls(context.store, attempt.folder or f"{cell}/{attempt.repetition}")

    def keep(self, name: str, text: str) -> None:
        """Write a text there, at once."""
        self.store.keep_raw(f"{self.path}/{name}", text)

    @property
    def name(self) -> str:
        """The folder as the record has it; "" as long as nothing was kept."""
        return f"raw/{self.path}" if (self.store.directory / "raw" / self.path).exists() else ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What an attempt has found so far; the last one counts, also where the attempt fails after it."""

    before: PingSummary | None = None
    after: PingSummary | None = None
    measured: Measured | None = None
    relay_share: float | None = None
    late_ms: float | None = None
    loads: Mapping[str, NodeLoad] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """All checks held a moment ago, and what the pods' pings said then."""

    ping: PingSummary


def tuned(settings: Settings, tuning: Tuning) -> Settings:
    """The profile's settings, with the congestion control that a scenario asks for where it asks for one."""
    return settings if tuning.congestion is None else replace(settings, congestion=tuning.congestion)


def measure(
    context: VisitContext, attempt: Attempt, impaired: Impaired, checked: Checked | None = None
) -> tuple[Record, Checked | None]:
    """Make one attempt and return its record; only a full disk (StoreError) stops the run.

    The check after a repetition is the check before the next: it is handed on as `checked`, and made anew after
    a failure.
    """
    started_at, started = datetime.now(UTC), time.monotonic()
    folder = RawFolder.of(context, attempt)
    findings, failed = Findings(), None
    try:
        for findings in _steps(context, attempt, impaired, folder, checked):  # noqa: B007 - the last one counts
            pass
    except StoreError:
        raise
    except UnavailableError as error:
        failed = Failed(UNAVAILABLE, f"unavailable: {error}")
    except ToolError as error:
        failed = Failed("tool", str(error))
    except VpnmeshError as error:
        failed = Failed(stage_of(error, "task"), str(error))
    if over := lease_over(context.site):
        failed = Failed(over.stage, over.reason)
    outcome: Outcome = failed or findings.measured or Failed("task", "nothing was measured")
    record = Record(
        cell=attempt.cell,
        repetition=attempt.repetition,
        outcome=outcome,
        started_at=started_at,
        elapsed_s=round(time.monotonic() - started, 3),
        visit=attempt.visit,
        sequence=attempt.sequence,
        at_once=attempt.at_once,
        data_plane=context.deployed.data_plane,
        rtt_ms_before=findings.before.rtt_avg_ms if findings.before else None,
        rtt_ms_after=findings.after.rtt_avg_ms if findings.after else None,
        relay_share=findings.relay_share,
        near_cap=_near_cap(context, outcome, impaired),
        impairment_late_ms=findings.late_ms,
        placement=str(context.profile.placement),
        engine=impaired.engine.name,
        loads=findings.loads,
        raw=folder.name,
    )
    return record, Checked(findings.after) if findings.after and not failed else None


def check(context: VisitContext, impaired: Impaired, pair: Pair) -> PingSummary:
    """Raise CheckError unless everything is as the cell says; returns what pings between the pods said."""
    deployed, names, bed = context.deployed, (pair.client, pair.server), context.site.testbed
    looks = run_on(
        context.site.nr,
        names,
        tasks.look_at_node,
        solution=deployed.solution,
        mesh=deployed.mesh,
        overlays=all_interfaces(),
        pings={name: str(pod_address(bed, bed.node(other))) for name, other in (names, names[::-1])},
    )
    for name, other in (names, names[::-1]):
        _check_look(deployed, name, other, looks[name].result)
    impaired.check()
    return _pinged(looks[pair.client].result)


def _pinged(look: Look) -> PingSummary:
    """What the client's pod heard of the server's; that nothing came back is an answer, that ping failed is none."""
    try:
        return ping.parse(look.pinged)
    except ToolError as error:
        raise CheckError("path", f"pod to pod: {error}") from error


def _check_look(deployed: Provisioned, name: str, other: str, look: Look) -> None:
    check_path(deployed.scenario, name, look.status, other)
    check_pod_mtu(deployed.scenario, name, look.pod_mtu)
    check_foreign(name, look.foreign)
    check_endpoints(deployed.mesh, name, look.status)


def _steps(
    context: VisitContext, attempt: Attempt, impaired: Impaired, folder: RawFolder, checked: Checked | None
) -> Iterator[Findings]:
    """Check, measure, parse, check again; yields what is known after every step."""
    pair, measurement = attempt.cell.pair, measurement_named(attempt.cell.test)
    question = context.question(attempt.cell)
    found = Findings(before=checked.ping if checked else check(context, impaired, pair))
    folder.keep("rtt-before.txt", found.before.text if found.before else "")
    yield found
    raw = _ask(context, measurement, question, folder)
    found = replace(found, loads=observed.loads(raw, question, measurement.program))
    yield found
    measured = measurement.parse(raw, question)
    share = observed.relay_share(raw, measured)
    found = replace(found, measured=measured, relay_share=share)
    yield found
    if share is not None:
        check_share(context.deployed.scenario, context.site.testbed.relay.name, share)
    counted = impaired.counters
    found = replace(found, after=check(context, impaired, pair))
    folder.keep("rtt-after.txt", found.after.text if found.after else "")
    yield found
    if counted is not None and impaired.counters is not None:
        yield replace(found, late_ms=late_ms_between(counted, impaired.counters))


def _ask(
    context: VisitContext, measurement: Measurement, question: Question, folder: RawFolder
) -> Mapping[str, str]:
    """What the nodes said, by file name, all of it kept; raises what the measurement itself raised."""
    client = question.pair.client
    try:
        results = run_on(
            context.site.nr,
            [client],
            tasks.measure,
            measurement=measurement,
            question=question,
            others=context.site.nr.inventory.hosts,
            keep=folder.keep,
            control=SiteControl(context.site, context.deployed, question.pair),
        )
    except HostsFailedError as error:
        if isinstance(error.first, VpnmeshError):
            raise error.first from error
        raise
    raw: Mapping[str, str] = results[client].result
    return raw


def _near_cap(context: VisitContext, outcome: Outcome, impaired: Impaired) -> bool | None:
    """Whether the figure is the queue's and not the VPN's; None where there is no rate."""
    rate = outcome.get("rate_mbit_s") if isinstance(outcome, Measured) else None
    if rate is None:
        return None
    wanted = impaired.impairment
    pod_mtu = context.deployed.scenario.pod_mtu
    return near_cap(rate, cap_mbit_s(wanted.condition.delay_ms, pod_mtu, wanted.limit_packets))
