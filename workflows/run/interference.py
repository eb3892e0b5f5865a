"""Whether pairs disturb each other: one is measured alone, then among others, before they are measured at once."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from vpnmesh.measurements import measurement_named
from vpnmesh.model import Pair
from vpnmesh.study.at_once import ALONE, AtOnce, declared, disturbance, fewer
from vpnmesh.study.journal import PairsAtOnce
from vpnmesh.study.outcome import Measured, Outcome
from vpnmesh.study.visits import Job
from workflows.run.impair import Impaired
from workflows.run.measure import Attempt, VisitContext, measure
from workflows.run.progress import RunProgress
from workflows.run.together import together


@dataclass(slots=True)
class Interference:
    """How many pairs are measured at once, by scenario and test: asked once in a session, then known."""

    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def at_once(
        self,
        context: VisitContext,
        jobs: Sequence[Job],
        impaired: Mapping[Pair, Impaired],
        progress: RunProgress,
    ) -> int:
        """How many of these jobs are made at once; they are of one test and of pairs that share no member."""
        cell = jobs[0].cell
        # a test without a program of its own looks at the whole mesh, or changes it: policies, daemons
        alone = not measurement_named(cell.test).program
        if alone or len(jobs) == 1 or any(one.impairment.condition for one in impaired.values()):
            return 1
        key = (cell.scenario, cell.test)
        if key not in self.known:
            here = os.cpu_count() or 1
            allowed = declared(context.site.testbed, context.deployed.scenario, here)
            event = _settled(context, jobs, impaired, allowed)
            context.store.note(event)
            progress.say(_said(event))
            self.known[key] = event.at_once
        return self.known[key]


def _settled(
    context: VisitContext, jobs: Sequence[Job], impaired: Mapping[Pair, Impaired], allowed: AtOnce
) -> PairsAtOnce:
    """The most pairs of these that do not disturb each other, at most as many as are allowed."""
    cell, count, why = jobs[0].cell, min(allowed.count, len(jobs)), allowed.why
    alone: list[float] = []
    among: list[float] = []
    if count > 1:
        alone = _figures(context, jobs[:1], impaired, "alone")
    while count > 1:
        among = _figures(context, jobs[:count], impaired, f"of-{count}")
        if not (why_not := disturbance(alone, among)):
            break
        why, count = f"{count} pairs disturb each other: {why_not}", fewer(count)
    return PairsAtOnce(
        scenario=cell.scenario,
        test=cell.test,
        allowed=allowed.count,
        at_once=count,
        why=why,
        alone=alone,
        among=among,
    )


def _figures(
    context: VisitContext, jobs: Sequence[Job], impaired: Mapping[Pair, Impaired], name: str
) -> list[float]:
    """The first pair's headline figure while all of these are measured, several times; what failed is left out."""
    headline = measurement_named(jobs[0].cell.test).figures[0].name
    found = [_first(context, jobs, impaired, f"{name}-{number}") for number in range(1, ALONE + 1)]
    figures = [outcome.get(headline) for outcome in found if isinstance(outcome, Measured)]
    return [figure for figure in figures if figure is not None]


def _first(
    context: VisitContext, jobs: Sequence[Job], impaired: Mapping[Pair, Impaired], name: str
) -> Outcome:
    """What became of the first pair; no repetition of the run, but its raw output is kept beside those."""
    cell = jobs[0].cell
    folder = f"{cell.scenario}/{cell.condition}/{cell.test}/at-once/{name}"
    attempts = [
        Attempt(job.cell, 0, 0, 0, len(jobs), f"{folder}/{job.cell.pair.client}-to-{job.cell.pair.server}")
        for job in jobs
    ]
    records = together([partial(measure, context, one, impaired[one.cell.pair]) for one in attempts])
    return records[0][0].outcome


def _said(event: PairsAtOnce) -> str:
    many = "one pair" if event.at_once == 1 else f"{event.at_once} pairs"
    return f"{event.scenario:17} {event.test}: {many} at a time, since {event.why}"
