"""One attempt of the fallback study: a scenario set up, two streams, an event made and undone, what the streams saw."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import tasks
from tasks.streams import RECEIVED, SENT, Streams
from vpnmesh.errors import CheckError, UnavailableError, VpnmeshError
from vpnmesh.model import Scenario, Testbed
from vpnmesh.solutions import solution_named
from vpnmesh.study.fallback import BACK_S, Event, Marks, Seen, scenario_of, seen
from vpnmesh.study.fallback_record import UNAVAILABLE, Attempt, Outcome, When
from vpnmesh.study.scenarios import Catalogue
from vpnmesh.tools import streams as program
from workflows.run import clock
from workflows.run.disk import DiskError
from workflows.run.fallback_events import HAPPENINGS, Happening, impossible
from workflows.run.held_lease import TestbedHeldError
from workflows.run.hosts import HostsFailedError, run_on, stage_of, within
from workflows.run.lease import lease_over
from workflows.run.provision import Provisioned, carried_out, hold_again, provisioned
from workflows.run.site import Site

BEFORE_S, HOLD_S = 4.0, 10.0
LIMIT_S = 1800.0
"""After this the streams end by themselves, whatever became of the controller."""
_FIRST_S = 30.0
"""How long the streams may take until both flow without a break."""

Keep = Callable[[str, str], object]
Doing = Callable[[str], object]
"""Hears what is under way."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that the streams flow before the event, and that are watched at least after it and after its end."""

    before_s: float = BEFORE_S
    hold_s: float = HOLD_S


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt that is to be made, in which scenario, or why it cannot be made."""

    solution: str
    event: Event
    repetition: int
    scenario: Scenario | None
    impossible: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """As the record has it."""
        return self.solution, self.event.name, self.repetition

    @property
    def name(self) -> str:
        """For people, and for the folder of what was said."""
        return f"{self.solution}-{self.event.name}-{self.repetition}"

    def record(self, outcome: Outcome, **more: object) -> Attempt:
        """What is written down of it."""
        known = {
            "scenario": self.scenario.name if self.scenario else "",
            "at": clock.now().isoformat("T", "seconds"),
        }
        return Attempt(self.solution, self.event.name, self.repetition, outcome=outcome, **(known | more))  # type: ignore[arg-type]


def asked(
    testbed: Testbed, catalogue: Catalogue, solutions: list[str], events: list[Event], repetitions: int
) -> Iterator[Asked]:
    """Every attempt, by repetition first: so an interrupted run has as much of each as can be."""
    for number in range(1, repetitions + 1):
        for name in solutions:
            for event in events:
                scenario = scenario_of(catalogue, name, event)
                why = impossible(testbed, solution_named(name), scenario, event)
                if number == 1 or not why:
                    yield Asked(name, event, number, scenario, why)


def expected_s(one: Asked, timing: Timing) -> float:
    """About how long an attempt takes, its scenario's set-up and removal among it."""
    if one.impossible:
        return 0.0
    held_s = max(timing.hold_s, one.event.least_s)
    return SET_UP_S + timing.before_s + held_s + (timing.hold_s if one.event.undone else 0)


SET_UP_S = 25.0
"""What setting a scenario up, the first streams and removing it take in a lab."""


def attempt(site: Site, one: Asked, timing: Timing, keep: Keep, doing: Doing) -> Attempt:
    """Make it; what goes wrong is in the record, with the stage and the reason.

    TestbedHeldError where another run holds the nodes by now, DiskError where what was said cannot be kept.
    """
    if one.impossible or one.scenario is None:
        return one.record(Outcome.IMPOSSIBLE, reason=one.impossible)
    try:
        doing(f"{one.scenario.name}: joining")
        hold_again(site)
        with provisioned(site, one.scenario) as deployed:
            watched = _watched(site, deployed, one.event, timing, doing)
            for name, text in watched.said.items():
                keep(f"{one.name}/{name}", text)
            if over := lease_over(site):
                raise over
            return one.record(
                Outcome.MEASURED,
                data_plane=deployed.data_plane,
                when=When.of(watched.marks),
                seen=judged(watched.said, watched.marks),
                raw=f"raw/{one.name}",
            )
    except (TestbedHeldError, DiskError):
        raise
    except UnavailableError as error:
        return one.record(Outcome.IMPOSSIBLE, stage=UNAVAILABLE, reason=str(error))
    except VpnmeshError as error:
        return one.record(Outcome.FAILED, stage=stage_of(error, "provision"), reason=str(error))


def judged(said: Mapping[str, str], marks: Marks) -> Seen:
    """What the streams saw, from what was said."""
    came = program.arrivals(said[RECEIVED])
    return seen(came["u"], came["t"], program.sent(said[SENT]), marks)


@dataclass(frozen=True, slots=True)
class _Watched:
    marks: Marks
    said: Mapping[str, str]


@dataclass(slots=True)
class _Course:
    """What is done while the streams flow."""

    happening: Happening
    event: Event
    timing: Timing
    fallback_s: float
    doing: Doing
    marks: list[Marks] = field(default_factory=list)

    def __call__(self, streams: Streams) -> None:
        """Let them flow, make the event, watch, undo it, watch again; the marks are there at the end."""
        if not streams.until(streams.flowing, _FIRST_S):
            raise CheckError("streams", f"not both streams flowed without a break within {_FIRST_S:.0f} s")
        streams.wait(self.timing.before_s)
        self.doing(self.event.title)
        begun_s = streams.now_s()
        self.happening.make()
        done_s = streams.now_s()
        streams.wait(hold_s := max(self.timing.hold_s, self.event.least_s))
        if not self.event.undone:
            streams.until(streams.flowing, BACK_S)
            self.marks.append(Marks(begun_s, done_s, streams.now_s()))
            return
        streams.until(streams.flowing, max(0.0, self.fallback_s - hold_s))
        self.doing(f"{self.event.title}: {self.event.undone}")
        undo_s = streams.now_s()
        self.happening.undo()
        undone_s = streams.now_s()
        streams.wait(self.timing.hold_s)
        streams.until(streams.flowing, BACK_S)
        self.marks.append(Marks(begun_s, done_s, streams.now_s(), undo_s, undone_s))


def _watched(site: Site, deployed: Provisioned, event: Event, timing: Timing, doing: Doing) -> _Watched:
    """Carry the streams through the event; whatever happens, nothing of it is left on any node."""
    pair = site.testbed.pairs[0]
    happening = HAPPENINGS[event.name](site, deployed, pair)
    fallback_s = (deployed.solution.fallback_s or 0.0) if event.falls_back else 0.0
    course = _Course(happening, event, timing, fallback_s, doing)
    try:
        happening.prepare()
        results = run_on(
            within(site.nr, None),
            [pair.client],
            tasks.carry_streams,
            testbed=site.testbed,
            pair=pair,
            others=site.nr.inventory.hosts,
            during=course,
            limit_s=LIMIT_S,
        )
    except HostsFailedError as error:
        if isinstance(error.first, VpnmeshError):
            raise error.first from error
        raise
    finally:
        if interrupt := carried_out(site, happening.clear):
            raise interrupt
    return _Watched(course.marks[0], results[pair.client].result)
