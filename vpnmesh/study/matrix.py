"""What a run asks, in which order, and how long that takes: cells and visits (paper, section 3.3)."""

import itertools
import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from vpnmesh.cluster import INSTALLERS
from vpnmesh.errors import InputError
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.measurements import measurement_named
from vpnmesh.model import Cell, Condition, Pair, Role, Scenario
from vpnmesh.study.profile import Profile, check_profile
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from vpnmesh.study.visits import Job, Visit, shuffled

REPETITION_OVERHEAD_S = 0.6
"""Checks, pings and set-up around a repetition on a healthy pair, without the condition's own delay."""

CELL_OVERHEAD_S = 0.9
"""Setting, reading back and probing an impairment, spread over the cells of one visit to a condition."""

CONDITION_S = 1.8
"""Setting, reading back, probing and lifting an impairment, once for each condition of a visit."""

SWITCH_S = 8.0
"""Leaving one scenario and joining the next: 2 s without a VPN, 3 to 5 s with static keys, 6 to 16 s with a control
plane and a relay; the mean of seven scenarios on a busy machine (docs/decisions/0086)."""

CONTROL_ROUND_TRIPS = 9
"""Round trips that a repetition spends beside its streams (iperf3's control connection, pings)."""

MAX_SEED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell with what it costs: all its repetitions, in seconds with overhead."""

    cell: Cell
    repetitions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MatrixPlan:
    """All cells, the visits that make them, and what was left out to stay in budget.

    `catalogue` has the scenarios that the profile names, and all others that the run knows.
    """

    profile: Profile
    cells: tuple[PlannedCell, ...]
    visits: tuple[Visit, ...]
    dropped: tuple[str, ...] = ()
    catalogue: Catalogue = BUILT_IN
    seed: int = 1

    @property
    def switching_s(self) -> float:
        """Seconds spent going from scenario to scenario."""
        return switch_s(self.profile.cluster) * len(self.visits)

    @property
    def seconds(self) -> float:
        """The whole run."""
        return self.switching_s + sum(cell.seconds for cell in self.cells)

    @property
    def judged_s(self) -> float:
        """What of it the verdicts on pairs of scenarios take: throughput, and going from scenario to scenario."""
        return self.seconds - self.beside_s

    @property
    def beside_s(self) -> float:
        """What all other tests take; a budget does not count it."""
        return sum(one.seconds for one in self.cells if one.cell.test not in THROUGHPUT_TESTS)

    @property
    def repetitions(self) -> int:
        """All attempts of the run."""
        return sum(cell.repetitions for cell in self.cells)


def plan_matrix(
    profile: Profile, pairs: Sequence[Pair], seed: int, catalogue: Catalogue = BUILT_IN, master: str = ""
) -> MatrixPlan:
    """Expand the profile into cells and put them in their seeded order; its scenarios are of the catalogue.

    `master` is the node that answers tests of clients against the master, such as the Kubernetes API's; without one
    they are left out. Every scenario is visited `blocks` times, so that drift of the machine is no factor of any one
    scenario.
    A budget is one of throughput. It drops conditions that the profile chose, from the end, named in `dropped`; never
    `none`, nor what was asked for by name. InputError for a figure that no run can have.
    """
    check_profile(profile, catalogue)
    if not 0 <= seed <= MAX_SEED:
        raise InputError("--seed", f"{seed} is not in 0 to {MAX_SEED}")
    conditions, dropped = _within_budget(profile, pairs, master)
    cells = _cells(profile, conditions, pairs, master)
    visits = _visits(profile, cells, seed)
    return MatrixPlan(profile, cells, visits, dropped, catalogue, seed)


def repetition_s(profile: Profile, condition: Condition, test: str) -> float:
    """Seconds that one repetition takes with everything around it."""
    own_s = measurement_named(test).seconds(profile.settings, condition)
    return own_s + REPETITION_OVERHEAD_S + CONTROL_ROUND_TRIPS * condition.round_trip_ms / 1000


def switch_s(cluster: str) -> float:
    """Seconds of leaving one scenario and joining the next, with the cluster that is put over each.

    One that is not known here, of a package that is not installed where a report is made, counts nothing.
    """
    return SWITCH_S + (INSTALLERS[cluster].visit_s if cluster in INSTALLERS else 0.0)


def visit_s(profile: Profile, visit: Visit) -> float:
    """Seconds that a visit takes, going there included."""
    conditions = {job.cell.condition for job in visit.jobs}
    measuring = sum(
        len(job.repetitions) * repetition_s(profile, Condition.parse(job.cell.condition), job.cell.test)
        for job in visit.jobs
    )
    return switch_s(profile.cluster) + measuring + CONDITION_S * len(conditions - {"none"})


def _cells(
    profile: Profile, conditions: Sequence[Condition], pairs: Sequence[Pair], master: str
) -> tuple[PlannedCell, ...]:
    return tuple(
        PlannedCell(
            Cell(scenario, condition.name, test, pair),
            profile.repetitions_of(test, condition),
            round(
                profile.repetitions_of(test, condition) * repetition_s(profile, condition, test)
                + CELL_OVERHEAD_S,
                1,
            ),
        )
        for scenario in profile.scenarios
        for condition in conditions
        for test in profile.tests
        for pair in _asked(test, pairs, master)
        if profile.asks(test, condition) and measurement_named(test).asked_under(condition)
    )


def _asked(test: str, pairs: Sequence[Pair], master: str) -> Sequence[Pair]:
    """The pairs of that test: the run's, or their first client and the master."""
    if measurement_named(test).server_role is not Role.K8S_MASTER:
        return pairs
    clients = (name for pair in pairs for name in (pair.client, pair.server) if name != master)
    return [Pair(name, master) for name in itertools.islice(clients, 1)] if master else []


def _within_budget(
    profile: Profile, pairs: Sequence[Pair], master: str
) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    conditions, dropped = list(profile.conditions), []
    if profile.adaptive:
        # its budget ends the rounds; what it could not decide is said to be open
        return tuple(conditions), ()
    switching = switch_s(profile.cluster) * len(profile.scenarios) * profile.blocks
    while profile.budget_min is not None and not profile.conditions_asked and len(conditions) > 1:
        cells = _cells(profile, conditions, pairs, master)
        seconds = switching + sum(one.seconds for one in cells if one.cell.test in THROUGHPUT_TESTS)
        if seconds <= 60 * profile.budget_min:
            break
        last = next(one for one in reversed(conditions) if one or one is conditions[0])
        conditions.remove(last)
        dropped.append(last.name)
    return tuple(conditions), tuple(dropped)


def _visits(profile: Profile, cells: Sequence[PlannedCell], seed: int) -> tuple[Visit, ...]:
    order = random.Random(seed)  # noqa: S311 - an order that can be repeated, no secret
    visits: list[Visit] = []
    for block in range(profile.blocks):
        for scenario in order.sample(profile.scenarios, len(profile.scenarios)):
            jobs = _jobs(
                [cell for cell in cells if cell.cell.scenario == scenario], block, profile.blocks, order
            )
            if jobs:
                visits.append(Visit(len(visits) + 1, scenario, jobs, block + 1))
    return tuple(visits)


def _jobs(cells: Sequence[PlannedCell], block: int, blocks: int, order: random.Random) -> tuple[Job, ...]:
    jobs = [
        Job(planned.cell, tuple(range(1 + block, planned.repetitions + 1, blocks)))
        for planned in cells
        if block < planned.repetitions
    ]
    return shuffled(jobs, order)


def scenarios_of(plan: MatrixPlan) -> tuple[Scenario, ...]:
    """The scenarios of the plan, in the plan's own order."""
    return tuple(plan.catalogue.named(name) for name in plan.profile.scenarios)


def without(plan: MatrixPlan, scenarios: Container[str]) -> MatrixPlan:
    """The plan as it will go where these scenarios are unavailable: they take no time and no repetition."""
    return replace(
        plan,
        cells=tuple(one for one in plan.cells if one.cell.scenario not in scenarios),
        visits=tuple(visit for visit in plan.visits if visit.scenario not in scenarios),
    )
