"""A run without machines: its schedule is the real one, its figures are drawn, and time passes as the plan says."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vpnmesh.model import Cell, Condition
from vpnmesh.study.journal import JournalEvent, VisitStarted, parse_event
from vpnmesh.study.matrix import MatrixPlan, repetition_s, visit_s
from vpnmesh.study.outcome import Failed, Measured, Sample
from vpnmesh.study.record import Record, finished, journal_line
from vpnmesh.study.visits import Visit
from workflows.run.schedule import Rounds

Draw = Callable[[Cell, float], float | None]
"""The rate of one repetition of a cell at that second of the run; None where it fails."""


@dataclass
class VirtualRun:
    """A plan that is carried out in no time; `said` is what a person would read."""

    plan: MatrixPlan
    draw: Draw
    budget_min: float | None = None
    events: list[JournalEvent] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    now_s: float = 0.0

    @property
    def finished(self) -> frozenset[tuple[str, int]]:
        """As a store has it."""
        return finished(self.events)

    def say(self, text: str) -> None:
        """Keep what is said."""
        self.said.append(text)

    def expect(self, visits: Iterable[Visit]) -> None:
        """Nobody looks at a bar."""

    def go(self, most_visits: int = 10_000) -> "VirtualRun":
        """Carry it out, up to that many visits: more are cut off, as by a kill."""
        for visit in Rounds(self.plan, self, self.budget_min, clock=lambda: self.now_s).visits(self):
            if len(self.visits) == most_visits:
                break
            self.visits.append(visit)
            self.events.append(VisitStarted(visit=visit.number, scenario=visit.scenario, round=visit.round))
            for job in visit.jobs:
                for repetition in job.repetitions:
                    self._attempt(job.cell, repetition, visit.number)
            self.now_s += visit_s(self.plan.profile, visit)
        return self

    def _attempt(self, cell: Cell, repetition: int, visit: int) -> None:
        rate = self.draw(cell, self.now_s)
        outcome = (
            Failed("tool", "nothing arrived") if rate is None else Measured((Sample("rate_mbit_s", rate),))
        )
        took_s = repetition_s(self.plan.profile, Condition.parse(cell.condition), cell.test)
        number = len(self.events)
        record = Record(cell, repetition, outcome, datetime.now(UTC), took_s, visit=visit, sequence=number)
        self.events.append(parse_event(journal_line(record)))
