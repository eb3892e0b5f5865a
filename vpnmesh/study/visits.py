"""One stay in a scenario, and in which order its jobs are made: by condition, then what can be made together."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vpnmesh.model import Cell, Condition, Pair
from vpnmesh.study.pairs import turns


@dataclass(frozen=True, slots=True)
class Job:
    """The repetitions of one cell that one visit makes, numbered from 1 over the whole run."""

    cell: Cell
    repetitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay in a scenario: jobs grouped by condition, both in shuffled order.

    `round` is which pass over the scenarios it belongs to, from 1.
    """

    number: int
    scenario: str
    jobs: tuple[Job, ...]
    round: int = 1

    def by_condition(self) -> list[tuple[str, list[Job]]]:
        """The jobs, one group for each condition, in the visit's order."""
        groups: dict[str, list[Job]] = {}
        for job in self.jobs:
            groups.setdefault(job.cell.condition, []).append(job)
        return list(groups.items())


def shuffled(jobs: Sequence[Job], order: random.Random) -> tuple[Job, ...]:
    """The jobs of one visit grouped by condition, the groups and what is in them in random order."""
    names = list(dict.fromkeys(job.cell.condition for job in jobs))
    conditions = order.sample(names, len(names))
    mixed = order.sample(jobs, len(jobs))
    in_order = turns(dict.fromkeys(job.cell.pair for job in jobs))
    turn_of = {pair: number for number, turn in enumerate(in_order) for pair in turn}
    return tuple(
        job
        for name in conditions
        for job in _grouped([job for job in mixed if job.cell.condition == name], turn_of)
    )


def _grouped(mixed: Sequence[Job], turn_of: Mapping[Pair, int]) -> list[Job]:
    """The jobs of one condition, those together that a run makes together; groups in the order of their first jobs.

    Undisturbed that is a turn, whose pairs share no member, with one test; under a condition it is a pair, since an
    impairment is set for one pair at a time.
    """
    groups: dict[tuple[Pair | int, str], list[Job]] = {}
    for job in mixed:
        cell = job.cell
        alone = bool(Condition.parse(cell.condition))
        key = (cell.pair, "") if alone else (turn_of[cell.pair], cell.test)
        groups.setdefault(key, []).append(job)
    return [job for group in groups.values() for job in group]


def made_together(jobs: Sequence[Job]) -> list[tuple[Job, ...]]:
    """The jobs of one condition of a visit, cut into what a run makes before it sets up anything else.

    Undisturbed: one test, of pairs that share no member. Under a condition: one pair, with all its tests.
    """
    groups: list[list[Job]] = []
    for job in jobs:
        if not groups or not _goes_with(job, groups[-1]):
            groups.append([])
        groups[-1].append(job)
    return [tuple(group) for group in groups]


def _goes_with(job: Job, group: Sequence[Job]) -> bool:
    if Condition.parse(job.cell.condition):
        return job.cell.pair == group[0].cell.pair
    ends = {job.cell.pair.client, job.cell.pair.server}
    busy = {end for other in group for end in (other.cell.pair.client, other.cell.pair.server)}
    return job.cell.test == group[0].cell.test and not ends & busy


def batches(jobs: Sequence[Job], at_once: int) -> list[tuple[Job, ...]]:
    """What is measured at the same time: so many jobs of different pairs; jobs of one pair never."""
    size = at_once if len({job.cell.pair for job in jobs}) == len(jobs) else 1
    return [tuple(jobs[first : first + size]) for first in range(0, len(jobs), size)]
