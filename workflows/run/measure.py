"""One repetition: check, measure, check again, and leave one record, whatever happened."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import tasks
from tasks.observation import Look
from vpnmesh.errors import CheckError, ToolError, UnavailableError, VpnmeshError, readable
from vpnmesh.host.pods import pod_address
from vpnmesh.host.tuning import Tuning
from vpnmesh.impairment.engine import late_ms_between
from vpnmesh.measurements import measurement_named, observed
from vpnmesh.measurements.protocol import Measurement, Question, Settings
from vpnmesh.model import Cell, Condition, End, Pair
from vpnmesh.solutions import all_interfaces, solution_named
from vpnmesh.stats.caps import cap_mbit_s, near_cap
from vpnmesh.study.checks import check_endpoints, check_foreign, check_path, check_pod_mtu, check_share
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome
from vpnmesh.study.profile import Profile
from vpnmesh.study.record import Record
from vpnmesh.tools import ping
from vpnmesh.tools.load import NodeLoad
from vpnmesh.tools.ping import PingSummary
from workflows.run import clock
from workflows.run.hosts import HostsFailedError, run_on, stage_of, within
from workflows.run.impair import Impaired
from workflows.run.lease import lease_over
from workflows.run.provision import Provisioned
from workflows.run.scenario_control import SiteControl
from workflows.run.site import Site
from workflows.run.store import Store, StoreError

MORE_PINGS = 30
"""How many pings must all be lost before a path that a VPN still claims counts as none."""
BY_CHANCE = 1e-6
"""What is less likely than this does not happen."""


@dataclass(frozen=True, slots=True)
class VisitContext:
    """Everything that the repetitions of one visit share: the site, what is deployed on it, profile and store.

    `set_up_anew` says that the scenario broke down once in this visit, and was deployed again.
    """

    site: Site
    deployed: Provisioned
    profile: Profile
    store: Store
    set_up_anew: bool = False

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
class Checked:
    """All checks held a moment ago: what the pods' pings said then, and how often each node's link had changed."""

    ping: PingSummary
    link_changes: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """What an attempt has found so far; the last one counts, also where the attempt fails after it."""

    before: PingSummary | None = None
    after: PingSummary | None = None
    checked: Checked | None = None
    measured: Measured | None = None
    relay_share: float | None = None
    late_ms: float | None = None
    loads: Mapping[str, NodeLoad] = field(default_factory=dict)


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
    started_at, started = clock.now(), time.monotonic()
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
    return record, None if failed else findings.checked


def check(context: VisitContext, impaired: Impaired, pair: Pair) -> Checked:
    """Raise CheckError unless everything is as the cell says; returns what can be compared with a later check."""
    deployed, names, bed = context.deployed, (pair.client, pair.server), context.site.testbed
    looks = run_on(
        context.site.nr,
        names,
        tasks.look_at_node,
        solution=deployed.solution,
        mesh=deployed.mesh,
        overlays=_overlays(context.site),
        pings={name: str(pod_address(bed, bed.node(other))) for name, other in (names, names[::-1])},
    )
    for name, other in (names, names[::-1]):
        _check_look(deployed, name, other, looks[name].result)
    impaired.check()
    heard = _pinged(looks[pair.client].result)
    _require_answer(context.site, impaired.impairment.condition, pair, heard)
    return Checked(heard, {name: looks[name].result.link_changes for name in names})


def _overlays(site: Site) -> tuple[str, ...]:
    """The interfaces of which only the scenario's own may be up; not those of foreign VPNs."""
    theirs = {name for one in site.foreign for name in solution_named(one).interfaces}
    return tuple(name for name in all_interfaces() if name not in theirs)


def _pinged(look: Look) -> PingSummary:
    """What the client's pod heard of the server's; whether it must have heard anything depends on the condition."""
    try:
        return ping.parse(look.pinged)
    except ToolError as error:
        raise CheckError("path", f"pod to pod: {error}") from error


def _require_answer(site: Site, condition: Condition, pair: Pair, heard: PingSummary) -> None:
    """CheckError where pods do not answer though a VPN or a route still says that there is a path.

    Some pings may be lost by chance: more are sent before anything is said, and nothing is where the condition loses
    so much that all of them may be.
    """
    if heard.received or not answers_expected(condition):
        return
    address = str(pod_address(site.testbed, site.testbed.node(pair.server)))
    wait_s = 1 + 2 * condition.round_trip_ms / 1000
    parameters = {"address": address, "count": MORE_PINGS, "wait_s": wait_s, "from_pod": True}
    again = run_on(site.nr, [pair.client], tasks.ping_address, **parameters)[pair.client].result
    if not again.received:
        sent = heard.sent + again.sent
        raise CheckError("path", f"{pair.server}'s pod answers none of {sent} pings of {pair.client}'s")


def answers_expected(condition: Condition) -> bool:
    """Whether of `MORE_PINGS` one is answered for all that is likely, each lost on its way there or back."""
    back = condition.back or condition
    answered = (1 - condition.loss_pct / 100) * (1 - back.loss_pct / 100)
    if condition.burst_packets or back.burst_packets:
        # of a few pings in a row all may fall into one burst
        return (1 - answered) * condition.lost_again ** (MORE_PINGS - 1) < BY_CHANCE
    return (1 - answered) ** MORE_PINGS < BY_CHANCE


def check_links(before: Checked, after: Checked) -> None:
    """CheckError names a node whose underlay interface lost its link in between: what flowed then says little."""
    for name, changes in after.link_changes.items():
        if changes != before.link_changes.get(name):
            raise CheckError(
                "path", f"{name}: the link of its underlay interface went away or came back meanwhile"
            )


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
    begun = checked or check(context, impaired, pair)
    found = Findings(before=begun.ping)
    folder.keep("rtt-before.txt", begun.ping.text)
    yield found
    raw = _ask(context, measurement, question, folder)
    with readable(measurement.name):
        loads = _loads(raw, question, measurement)
    found = replace(found, loads=loads)
    yield found
    # of a package of one's own, too: whatever it stumbles over is a failed repetition, and not the end of the run
    with readable(measurement.name):
        measured = measurement.parse(raw, question)
        share = observed.relay_share(raw, measured)
    found = replace(found, measured=measured, relay_share=share)
    yield found
    if share is not None:
        check_share(
            context.deployed.scenario, context.site.testbed.relay.name, share, (pair.client, pair.server)
        )
    counted = impaired.counters
    ended = check(context, impaired, pair)
    check_links(begun, ended)
    found = replace(found, after=ended.ping, checked=ended)
    folder.keep("rtt-after.txt", ended.ping.text)
    yield found
    if counted is not None and impaired.counters is not None:
        yield replace(found, late_ms=late_ms_between(counted, impaired.counters))


def _loads(raw: Mapping[str, str], question: Question, measurement: Measurement) -> Mapping[str, NodeLoad]:
    """The nodes' load; a tool that ended at once leaves too few samples, and then its own words are the reason."""
    try:
        return observed.loads(raw, question, measurement.program)
    except ToolError:
        measurement.parse(raw, question)
        raise


def _ask(
    context: VisitContext, measurement: Measurement, question: Question, folder: RawFolder
) -> Mapping[str, str]:
    """What the nodes said, by file name, all of it kept; raises what the measurement itself raised."""
    client = question.pair.client
    try:
        # how long a measurement takes is the profile's to say; each of its commands has a limit of its own
        results = run_on(
            within(context.site.nr, None),
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
    forth = _forth(wanted.condition, context.profile.placement.end)
    return near_cap(rate, cap_mbit_s(wanted.condition.delay_ms, pod_mtu, wanted.limit_packets, forth))


def _forth(condition: Condition, end: End) -> float | None:
    """The limited rate that what the client sends has to pass, if there is one."""
    if end is not End.SERVER:
        return condition.rate_mbit_s
    return condition.back.rate_mbit_s if condition.back else None
