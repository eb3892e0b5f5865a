"""What an adaptive run measures next, and that it ends where it should; real schedule, drawn figures."""

import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.virtual_run import Draw, VirtualRun
from vpnmesh.model import Cell, Condition, Pair
from vpnmesh.stats.sequential import PairVerdict
from vpnmesh.study.adaptive import Stratum, judge, next_round
from vpnmesh.study.matrix import MatrixPlan, plan_matrix
from vpnmesh.study.profiles import PROFILES

PAIR = Pair("worker1", "worker2")
LEVELS = {"native-1450": 900.0, "native-1230": 895.0, "nebula-direct": 140.0, "nebula-relay": 70.0}
TCP = Stratum("tcp", "none", PAIR)


def plan(scenarios: tuple[str, ...] = tuple(LEVELS), **changes: object) -> MatrixPlan:
    """An undisturbed TCP run of these scenarios, with the rules of the default."""
    profile = replace(
        PROFILES["adaptive"], scenarios=scenarios, conditions=(Condition(),), tests=("tcp",), budget_min=None
    )
    return plan_matrix(replace(profile, **changes), [PAIR], seed=3)  # type: ignore[arg-type]


def drawn(spread: float, seed: int = 1) -> Draw:
    """Rates about each scenario's level, log-normal, with that relative spread."""
    random = np.random.default_rng(seed)
    return lambda cell, _second: float(LEVELS[cell.scenario] * np.exp(spread * random.standard_normal()))


def test_the_first_rounds_visit_every_scenario_with_every_cell() -> None:
    """Three visits each, whatever is clear before that, in an order of its own each round."""
    run = VirtualRun(plan(), drawn(0.02)).go()
    first = [visit for visit in run.visits if visit.round <= 3]
    assert Counter(visit.scenario for visit in first) == dict.fromkeys(LEVELS, 3)
    assert len({tuple(v.scenario for v in first if v.round == n) for n in (1, 2, 3)}) > 1


def test_only_what_is_open_is_measured_on() -> None:
    """Factors of two are clear after some rounds; what lies within the margin takes longer, and it alone."""
    run = VirtualRun(plan(), drawn(0.06)).go()
    last = max(visit.round for visit in run.visits)
    assert {visit.scenario for visit in run.visits if visit.round == last} == {"native-1450", "native-1230"}
    verdicts = judge(run.plan, run.events)[TCP].progress.verdicts
    assert verdicts["native-1450", "native-1230"] is PairVerdict.EQUIVALENT
    assert Counter(verdicts.values()) == {PairVerdict.DIFFER: 5, PairVerdict.EQUIVALENT: 1}


def test_every_repetition_has_a_number_of_its_own() -> None:
    """Later rounds number on, so that nothing is taken for finished."""
    run = VirtualRun(plan(), drawn(0.06)).go()
    attempts = Counter(run.finished)
    assert max(attempts.values()) == 1
    assert len(run.finished) == sum(len(job.repetitions) for visit in run.visits for job in visit.jobs)
    assert len({visit.number for visit in run.visits}) == len(run.visits)


@pytest.mark.parametrize("cut", [1, 4, 7, 13, 14])
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(cut: int) -> None:
    """The same visits in the same order: all follows from the journal."""
    levels = dict(LEVELS)

    def fixed(cell: Cell, _second: float) -> float:
        levels[cell.scenario] *= 1.01 if levels[cell.scenario] < LEVELS[cell.scenario] else 0.985
        return levels[cell.scenario]

    whole = VirtualRun(plan(), fixed).go()
    levels = dict(LEVELS)
    begun = VirtualRun(plan(), fixed).go(most_visits=cut)
    resumed = VirtualRun(plan(), fixed, events=list(begun.events)).go()
    assert [*begun.visits, *resumed.visits] == whole.visits


def test_a_budget_ends_a_run_and_leaves_the_rest_open() -> None:
    """Every scenario is visited once at least; what is open has a verdict of its own."""
    run = VirtualRun(plan(), drawn(0.5), budget_min=2).go()
    assert run.now_s <= 120
    assert "of 2 minutes" in run.said[-1]
    assert PairVerdict.UNDECIDED in judge(run.plan, run.events)[TCP].progress.verdicts.values()
    short = VirtualRun(plan(), drawn(0.5), budget_min=0.01).go()
    assert [visit.scenario for visit in short.visits] == [v.scenario for v in run.visits if v.round == 1]


def test_a_cell_that_never_gives_a_figure_holds_up_nobody() -> None:
    """It is asked in the first rounds and not after them; the others are decided."""

    def draw(cell: Cell, second: float) -> float | None:
        return None if cell.scenario == "nebula-relay" else drawn(0.02, int(second))(cell, second)

    run = VirtualRun(plan(), draw).go()
    assert {visit.round for visit in run.visits if visit.scenario == "nebula-relay"} == {1, 2, 3}
    found = judge(run.plan, run.events)[TCP]
    assert not any("nebula-relay" in pair for pair in found.progress.verdicts)
    assert not found.progress.undecided


def test_a_scenario_that_stops_giving_figures_is_given_up() -> None:
    """After three attempts in a row that failed, whatever else is open; without a budget the run ends all the same."""
    random = drawn(0.06)
    run = VirtualRun(
        plan(precision_pct=1.0),
        lambda cell, second: (
            None if cell.scenario == "nebula-relay" and second > 200 else random(cell, second)
        ),
        budget_min=20,
    ).go()
    late = [visit for visit in run.visits if visit.scenario == "nebula-relay"]
    assert late[-1].round < max(visit.round for visit in run.visits)


def test_nothing_to_compare_is_nothing_to_go_on_for() -> None:
    """One scenario, or a test that gives no rate, ends after the first rounds."""
    alone = VirtualRun(plan(("native-1450",)), drawn(0.02)).go()
    assert len(alone.visits) == 3
    pinged = VirtualRun(plan(tests=("ping",)), lambda _cell, _second: None).go()
    assert len(pinged.visits) == 12


def test_precision_goes_on_after_a_verdict() -> None:
    """Until every ratio is known as well as asked, decided or not; twice as well takes about four times as long."""
    rounds = {}
    for wanted_pct in (8.0, 4.0):
        run = VirtualRun(plan(precision_pct=wanted_pct), drawn(0.06)).go()
        assert not judge(run.plan, run.events)[TCP].needed
        rounds[wanted_pct] = max(visit.round for visit in run.visits)
    assert rounds[8.0] >= 6
    assert 2 * rounds[8.0] <= rounds[4.0] <= 8 * rounds[8.0]


def test_a_round_that_is_asked_for_again_is_the_same() -> None:
    """Whatever was measured since: it follows from the rounds before it alone."""
    run = VirtualRun(plan(), drawn(0.06)).go()
    fourth = tuple(visit for visit in run.visits if visit.round == 4)
    assert next_round(run.plan, run.events, judge(run.plan, run.events, before=4), 4) == fourth


def test_a_budget_that_is_used_up_ends_the_next_session_at_once() -> None:
    """Going on without minutes measures nothing more, and says so."""
    begun = VirtualRun(plan(), drawn(0.5), budget_min=2).go()
    again = VirtualRun(plan(), drawn(0.5), budget_min=0.0, events=list(begun.events)).go()
    assert again.visits == []
    assert [one.partition(" ends")[2] for one in again.said] == [" here: 0.0 of 0 minutes"]


def test_the_api_takes_no_minute_from_throughput() -> None:
    """The same attempts at every cell of throughput with and without it; its own time comes on top."""

    def tcp_attempts(*tests: str) -> tuple[Counter[Cell], float]:
        asked = Counter[Cell]()

        def draw(cell: Cell, _second: float) -> float:
            asked[cell] += 1
            random = np.random.default_rng(zlib.crc32(f"{cell.key} {asked[cell]}".encode()))
            return float(LEVELS.get(cell.scenario, 100) * np.exp(0.3 * random.standard_normal()))

        profile = replace(PROFILES["adaptive"], tests=tests, conditions=(Condition(),))
        whole = plan_matrix(profile, [PAIR], 1, master="k8s-master")
        run = VirtualRun(whole, draw, budget_min=8).go()
        return Counter({cell: count for cell, count in asked.items() if cell.test == "tcp"}), run.now_s

    (alone, alone_s), (beside, beside_s) = tcp_attempts("tcp"), tcp_attempts("tcp", "api")
    assert alone == beside
    assert beside_s > alone_s + 8 * 5
