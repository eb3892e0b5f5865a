"""What a run asks, in which order, and how long that takes: cells and visits (paper, section 3.3)."""

import math
import random
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from vpnmesh.errors import InputError
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Settings
from vpnmesh.model import Cell, Condition, Pair, Placement, Scenario
from vpnmesh.study.pairs import FIXED, PairChoice, turns
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

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


MAX_REPETITIONS = 10_000
"""A hundred times the paper's; more is a slip of the finger."""
MAX_DURATION_S = 86_400
"""The longest that iperf3 takes (its MAX_TIME)."""
MAX_SEED = 1_000_000_000
MAX_SHARE_PCT = 100

DEFAULT_PLACEMENT = Placement()


@dataclass(frozen=True, slots=True)
class Profile:
    """How thorough a run is; durations in seconds, the omitted second not counted.

    `conditions_asked` says that somebody named the conditions: then a budget drops none of them. `adaptive` stops each
    pair of scenarios when it is decided: they differ, or they are equal within `margin_pct` of the larger mean; then
    `repetitions_*` are those of one visit, and `blocks` the fewest visits. `precision_pct` goes on instead until the
    limits of every ratio are so near to it. `pairs` says which pairs of members are measured; a plan is made of the
    pairs themselves. `steady` counts a flow from when it is steady, else after exactly `omit_s`, as the paper does.
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
    precision_pct: float | None = None
    pairs: PairChoice = FIXED
    steady: bool = True

    def repetitions(self, condition: Condition) -> int:
        """How often a cell under that condition is repeated; in an adaptive run, at least."""
        once = self.repetitions_impaired if condition else self.repetitions_clean
        return once * self.blocks if self.adaptive else once

    @property
    def settings(self) -> Settings:
        """What every measurement is told."""
        return Settings(
            self.duration_s, self.omit_s, self.congestion, self.udp_rate, self.udp_window, self.steady
        )


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
    return MatrixPlan(profile, cells, visits, dropped, catalogue, seed)


def _check(profile: Profile, catalogue: Catalogue) -> None:
    for scenario in profile.scenarios:
        catalogue.named(scenario, f"profile {profile.name}: scenarios")
    for test in profile.tests:
        measurement_named(test)
    if not profile.conditions or not profile.tests or not profile.scenarios:
        raise InputError("matrix", "nothing to do", "name at least one scenario, condition and test")
    _check_counts(profile)
    _check_shares(profile)


def _check_counts(profile: Profile) -> None:
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


def _check_shares(profile: Profile) -> None:
    budget = profile.budget_min
    if budget is not None and not 0 < budget < math.inf:
        raise InputError("--budget", f"{budget:g} is no number of minutes above 0")
    for option, share in (("--margin", profile.margin_pct), ("--precision", profile.precision_pct)):
        if share is not None and not 0 < share < MAX_SHARE_PCT:
            raise InputError(option, f"{share:g} is no percentage between 0 and {MAX_SHARE_PCT}")


def repetition_s(profile: Profile, condition: Condition, test: str) -> float:
    """Seconds that one repetition takes with everything around it."""
    own_s = measurement_named(test).seconds(profile.settings, condition)
    return own_s + REPETITION_OVERHEAD_S + CONTROL_ROUND_TRIPS * condition.delay_ms / 1000


def visit_s(profile: Profile, visit: Visit) -> float:
    """Seconds that a visit takes, going there included."""
    conditions = {job.cell.condition for job in visit.jobs}
    measuring = sum(
        len(job.repetitions) * repetition_s(profile, Condition.parse(job.cell.condition), job.cell.test)
        for job in visit.jobs
    )
    return SWITCH_S + measuring + CONDITION_S * len(conditions - {"none"})


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
    if profile.adaptive:
        # its budget ends the rounds; what it could not decide is said to be open
        return tuple(conditions), ()
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
                visits.append(Visit(len(visits) + 1, scenario, jobs, block + 1))
    return tuple(visits)


def _jobs(cells: Sequence[PlannedCell], block: int, blocks: int, order: random.Random) -> tuple[Job, ...]:
    jobs = [
        Job(planned.cell, tuple(range(1 + block, planned.repetitions + 1, blocks)))
        for planned in cells
        if block < planned.repetitions
    ]
    return shuffled(jobs, order)


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
    if plan.profile.adaptive:
        return _adaptive_remarks(plan)
    said = [f"left out to stay in {budget:g} minutes: {name}" for name in plan.dropped]
    if budget is not None and plan.seconds > 60 * budget:
        said.append(
            f"estimated {plan.seconds / 60:.1f} minutes are more than the budget of {budget:g}; "
            "nothing that was asked for is left out"
        )
    if sentence := confounded(plan):
        said.append(sentence)
    return said


def _adaptive_remarks(plan: MatrixPlan) -> list[str]:
    """How an adaptive run goes on after the rounds of the plan, and what a budget means for it."""
    profile = plan.profile
    until = f"until {profile.budget_min:g} minutes are over" if profile.budget_min else "without a budget"
    open_pairs = (
        f"pairs that are not decided yet (equal means within {profile.margin_pct:g} %)"
        if profile.precision_pct is None
        else f"pairs whose ratio is not known to {profile.precision_pct:g} % yet"
    )
    how = f"adaptive: every scenario is visited {profile.blocks} times; then only for {open_pairs}, {until}"
    said = [how]
    if profile.budget_min is not None and plan.seconds > 60 * profile.budget_min:
        said.append(
            f"the first {profile.blocks} rounds alone are estimated at {plan.seconds / 60:.1f} minutes, more than the"
            f" budget of {profile.budget_min:g}: the run ends with the budget, and says what is open"
        )
    return said
