"""What a run asks, in which order, and how long that takes: cells and visits (paper, section 3.3)."""

import math
import random
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from vpnmesh.errors import InputError
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Settings
from vpnmesh.model import Cell, Condition, Pair, Placement, Scenario
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

REPETITION_OVERHEAD_S = 0.6
"""Checks, pings and set-up around a repetition on a healthy pair, without the condition's own delay."""
CELL_OVERHEAD_S = 0.9
"""Setting, reading back and probing an impairment, spread over the cells of one visit to a condition."""
SWITCH_S = 8.0
"""Leaving one scenario and joining the next: 2 s without a VPN, 3 to 5 s with static keys, 6 to 16 s with a control
plane and a relay; the mean of seven scenarios on a busy machine (docs/decisions/0086)."""
CONTROL_ROUND_TRIPS = 9
"""Round trips that a repetition spends beside its streams (iperf3's control connection, pings)."""


MAX_REPETITIONS = 10_000
"""A hundred times the paper's; more is a slip of the finger."""
MAX_DURATION_S = 86_400
"""The longest that iperf3 takes (its MAX_TIME)."""
MAX_SEED = 1_000_000_000

DEFAULT_PLACEMENT = Placement()


@dataclass(frozen=True, slots=True)
class Profile:
    """How thorough a run is; durations in seconds, the omitted second not counted.

    `conditions_asked` says that somebody named the conditions: then a budget drops none of them. `adaptive` stops each
    pair of scenarios when it is decided: they differ, or they are equal within `margin_pct` of the larger mean; then
    `repetitions_*` are those of one visit, and `blocks` the fewest visits.
    """

    name: str
    scenarios: tuple[str, ...]
    conditions: tuple[Condition, ...]
    tests: tuple[str, ...]
    repetitions_clean: int
    repetitions_impaired: int
    duration_s: int
    blocks: int
    placement: Placement = DEFAULT_PLACEMENT
    omit_s: int = 1
    congestion: str = "cubic"
    udp_rate: str = "0"
    udp_window: str = ""
    budget_min: float | None = None
    conditions_asked: bool = False
    adaptive: bool = False
    margin_pct: float = 2.0

    def repetitions(self, condition: Condition) -> int:
        """How often a cell under that condition is repeated."""
        return self.repetitions_impaired if condition else self.repetitions_clean

    @property
    def settings(self) -> Settings:
        """What every measurement is told."""
        return Settings(self.duration_s, self.omit_s, self.congestion, self.udp_rate, self.udp_window)


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell with what it costs: all its repetitions, in seconds with overhead."""

    cell: Cell
    repetitions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """The repetitions of one cell that one visit makes, numbered from 1 over the whole run."""

    cell: Cell
    repetitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay in a scenario: jobs grouped by condition, both in shuffled order."""

    number: int
    scenario: str
    jobs: tuple[Job, ...]

    def by_condition(self) -> list[tuple[str, list[Job]]]:
        """The jobs, one group for each condition, in the visit's order."""
        groups: dict[str, list[Job]] = {}
        for job in self.jobs:
            groups.setdefault(job.cell.condition, []).append(job)
        return list(groups.items())


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

    @property
    def switching_s(self) -> float:
        """Seconds spent going from scenario to scenario."""
        return SWITCH_S * len(self.visits)

    @property
    def seconds(self) -> float:
        """The whole run."""
        return self.switching_s + sum(cell.seconds for cell in self.cells)

    @property
    def repetitions(self) -> int:
        """All attempts of the run."""
        return sum(cell.repetitions for cell in self.cells)


def plan_matrix(
    profile: Profile, pairs: Sequence[Pair], seed: int, catalogue: Catalogue = BUILT_IN
) -> MatrixPlan:
    """Expand the profile into cells and put them in their seeded order; its scenarios are of the catalogue.

    Every scenario is visited `blocks` times, so that drift of the machine is no factor of any one scenario.
    A budget drops conditions that the profile chose, from the end, named in `dropped`; never `none`, nor what
    was asked for by name. InputError for a figure that no run can have.
    """
    _check(profile, catalogue)
    if not 0 <= seed <= MAX_SEED:
        raise InputError("--seed", f"{seed} is not in 0 to {MAX_SEED}")
    conditions, dropped = _within_budget(profile, pairs)
    cells = _cells(profile, conditions, pairs)
    visits = _visits(profile, cells, seed)
    return MatrixPlan(profile, cells, visits, dropped, catalogue)


def _check(profile: Profile, catalogue: Catalogue) -> None:
    for scenario in profile.scenarios:
        catalogue.named(scenario, f"profile {profile.name}: scenarios")
    for test in profile.tests:
        measurement_named(test)
    if not profile.conditions or not profile.tests or not profile.scenarios:
        raise InputError("matrix", "nothing to do", "name at least one scenario, condition and test")
    for option, value, most in (
        ("--repetitions", profile.repetitions_clean, MAX_REPETITIONS),
        ("--repetitions", profile.repetitions_impaired, MAX_REPETITIONS),
        ("--duration", profile.duration_s, MAX_DURATION_S),
        ("--blocks", profile.blocks, MAX_REPETITIONS),
    ):
        if value < 1:
            raise InputError(option, f"{value} is less than 1")
        if value > most:
            raise InputError(option, f"{value} is more than {most}")
    budget = profile.budget_min
    if budget is not None and not 0 < budget < math.inf:
        raise InputError("--budget", f"{budget:g} is no number of minutes above 0")


def repetition_s(profile: Profile, condition: Condition, test: str) -> float:
    """Seconds that one repetition takes with everything around it."""
    own_s = measurement_named(test).seconds(profile.settings, condition)
    return own_s + REPETITION_OVERHEAD_S + CONTROL_ROUND_TRIPS * condition.delay_ms / 1000


def _cells(
    profile: Profile, conditions: Sequence[Condition], pairs: Sequence[Pair]
) -> tuple[PlannedCell, ...]:
    return tuple(
        PlannedCell(
            Cell(scenario, condition.name, test, pair),
            profile.repetitions(condition),
            round(
                profile.repetitions(condition) * repetition_s(profile, condition, test) + CELL_OVERHEAD_S, 1
            ),
        )
        for scenario in profile.scenarios
        for condition in conditions
        for test in profile.tests
        for pair in pairs
        if measurement_named(test).asked_under(condition)
    )


def _within_budget(profile: Profile, pairs: Sequence[Pair]) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    conditions, dropped = list(profile.conditions), []
    switching = SWITCH_S * len(profile.scenarios) * profile.blocks
    while profile.budget_min is not None and not profile.conditions_asked and len(conditions) > 1:
        seconds = switching + sum(cell.seconds for cell in _cells(profile, conditions, pairs))
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
                visits.append(Visit(len(visits) + 1, scenario, jobs))
    return tuple(visits)


def _jobs(cells: Sequence[PlannedCell], block: int, blocks: int, order: random.Random) -> tuple[Job, ...]:
    jobs = [
        Job(planned.cell, tuple(range(1 + block, planned.repetitions + 1, blocks)))
        for planned in cells
        if block < planned.repetitions
    ]
    names = list(dict.fromkeys(job.cell.condition for job in jobs))
    shuffled = order.sample(names, len(names))
    mixed = order.sample(jobs, len(jobs))
    return tuple(job for name in shuffled for job in mixed if job.cell.condition == name)


VISITED_ONCE = (
    "each scenario was visited once, so differences between scenarios are confounded with time (drift of the machine);"
    " --blocks 2 with 2 repetitions or more visits each twice"
)
"""What a reader must know of a run whose scenarios were measured at one time each."""


def confounded(plan: MatrixPlan) -> str:
    """That scenario and time will not be told apart by this plan, as a sentence; "" where they will.

    A scenario of one visit is measured at one time: drift of the machine is then a difference between scenarios.
    """
    visits = Counter(visit.scenario for visit in plan.visits)
    alone = len(visits) > 1 and min(visits.values()) == 1
    return VISITED_ONCE.replace("was visited", "is visited") if alone else ""


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


def remarks(plan: MatrixPlan) -> list[str]:
    """What a reader of the plan has to know beside the cells: what a budget did, and what the order cannot tell."""
    budget = plan.profile.budget_min
    said = [f"left out to stay in {budget:g} minutes: {name}" for name in plan.dropped]
    if budget is not None and plan.seconds > 60 * budget:
        said.append(
            f"estimated {plan.seconds / 60:.1f} minutes are more than the budget of {budget:g}; "
            "nothing that was asked for is left out"
        )
    if sentence := confounded(plan):
        said.append(sentence)
    return said
