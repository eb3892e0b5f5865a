"""In which order a run visits scenarios: as planned, or round by round as long as something is open."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.study.adaptive import Standing, Stratum, beside_s, judge, next_round
from vpnmesh.study.journal import JournalEvent
from vpnmesh.study.matrix import MatrixPlan, visit_s
from vpnmesh.study.visits import Job, Visit
from vpnmesh.study.watch import drift_sentence
from workflows.run import standing


class Kept(Protocol):
    """What a run has kept so far (`Store` is one)."""

    @property
    def events(self) -> list[JournalEvent]:
        """The journal."""

    @property
    def finished(self) -> frozenset[tuple[str, int]]:
        """The attempts that need no repeating."""


class Told(Protocol):
    """Who is told how a run goes (`RunProgress` is one)."""

    def say(self, text: str) -> None:
        """A line that stays on the screen."""

    def expect(self, visits: Iterable[Visit]) -> None:
        """Visits that the plan did not have come now."""


class VisitOrder(Protocol):
    """Where to go next; a visit is asked for when the one before is over."""

    def visits(self, progress: Told) -> Iterator[Visit]:
        """Every visit that has anything left to do, with that alone."""


def schedule_for(plan: MatrixPlan, store: Kept, budget_min: float | None = None) -> VisitOrder:
    """The schedule of the plan's profile."""
    return Rounds(plan, store, budget_min) if plan.profile.adaptive else Planned(plan, store)


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan's own visits, one after the other."""

    plan: MatrixPlan
    store: Kept

    def visits(self, _progress: Told) -> Iterator[Visit]:
        """As planned."""
        for visit in self.plan.visits:
            if left := unfinished(visit, self.store.finished):
                yield left


@dataclass(slots=True)
class Rounds:
    """Rounds of visits until every pair is decided, or until the session has used its budget.

    Every cell is asked at least once: a budget ends nothing before the second round. It ends the run where the next
    visit would not be over in time, judged by how long visits have taken so far.
    """

    plan: MatrixPlan
    store: Kept
    budget_min: float | None = None
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _earlier: int = field(init=False)
    _estimated_s: float = 0.0
    _taken_s: float = 0.0
    _warned: bool = False

    def __post_init__(self) -> None:
        """The budget is that of the session that begins here."""
        self._began = self.clock()
        self._earlier = len(self.store.events)

    def visits(self, progress: Told) -> Iterator[Visit]:
        """Round after round; says after each where the run stands."""
        measured = False
        for number in itertools.count(1):
            judged = judge(self.plan, self.store.events, before=number)
            if measured:
                self._tell(number - 1, judged, progress)
            planned = next_round(self.plan, self.store.events, judged, number)
            if not planned:
                return
            finished = self.store.finished
            left = [visit for one in planned if (visit := unfinished(one, finished))]
            measured = bool(left)
            progress.expect(left if number > self.plan.profile.blocks else ())
            for visit in left:
                if number > 1 and not self._in_time(visit):
                    progress.say(f"round {number} ends here: {self._spent()}")
                    return
                yield from self._timed(visit)

    def _timed(self, visit: Visit) -> Iterator[Visit]:
        begun = self.clock()
        yield visit
        # what is unavailable takes no time, which says nothing of other visits
        if unfinished(visit, self.store.finished) != visit:
            self._taken_s += self.clock() - begun
            self._estimated_s += visit_s(self.plan.profile, visit)

    def _in_time(self, visit: Visit) -> bool:
        pace = self._taken_s / self._estimated_s if self._estimated_s else 1.0
        wanted_s = pace * visit_s(self.plan.profile, _judged(visit))
        return self.budget_min is None or self._spent_s() + wanted_s <= 60 * self.budget_min

    def _spent_s(self) -> float:
        """Since the session began, without the tests that no verdict is made of."""
        return self.clock() - self._began - beside_s(self.store.events[self._earlier :])

    def _spent(self) -> str:
        spent, budget = self._spent_s() / 60, self.budget_min
        return f"{spent:.1f} minutes" if budget is None else f"{spent:.1f} of {budget:g} minutes"

    def _tell(self, number: int, judged: Mapping[Stratum, Standing], progress: Told) -> None:
        progress.say(f"round {number}: {standing.told(judged)}; {self._spent()}")
        sentence = drift_sentence(self.store.events)
        if sentence and not self._warned:
            progress.say(sentence)
        self._warned = bool(sentence)


def _judged(visit: Visit) -> Visit:
    """The part of the visit that verdicts are made of."""
    jobs = tuple(job for job in visit.jobs if job.cell.test in THROUGHPUT_TESTS)
    return replace(visit, jobs=jobs)


def unfinished(visit: Visit, finished: frozenset[tuple[str, int]]) -> Visit | None:
    """The visit without the repetitions that are finished; None where nothing is left of it."""
    jobs = (_left(job, finished) for job in visit.jobs)
    left = tuple(job for job in jobs if job.repetitions)
    return Visit(visit.number, visit.scenario, left, visit.round) if left else None


def _left(job: Job, finished: frozenset[tuple[str, int]]) -> Job:
    key = job.cell.key
    return Job(job.cell, tuple(n for n in job.repetitions if (key, n) not in finished))
