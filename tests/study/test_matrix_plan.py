"""Profiles become cells and visits: complete, seeded, and costed."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.model import PAPER_CONDITIONS, Condition, Pair
from vpnmesh.study.adaptive import expected_rounds
from vpnmesh.study.matrix import MatrixPlan, plan_matrix, without
from vpnmesh.study.profile import Profile
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.remarks import confounded, remarks
from vpnmesh.study.scenarios import PAPER_SCENARIOS, SCENARIO_ORDER

PAIR = Pair("worker1", "worker2")
profiles = st.builds(
    replace,
    st.just(PROFILES["quick"]),
    scenarios=st.lists(st.sampled_from(SCENARIO_ORDER), min_size=1, unique=True).map(tuple),
    conditions=st.lists(st.sampled_from(PAPER_CONDITIONS), min_size=1, unique=True).map(tuple),
    repetitions_clean=st.integers(1, 12),
    repetitions_impaired=st.integers(1, 12),
    blocks=st.integers(1, 5),
    budget_min=st.none(),
)


def attempts(plan: MatrixPlan) -> Counter[tuple[str, int]]:
    """How often each repetition of each cell is made."""
    return Counter((job.cell.key, n) for visit in plan.visits for job in visit.jobs for n in job.repetitions)


@given(profiles, st.integers(0, 99))
def test_every_repetition_is_made_exactly_once(profile: Profile, seed: int) -> None:
    """However blocks and seed cut the matrix, nothing is lost and nothing doubled."""
    plan = plan_matrix(profile, [PAIR], seed)
    wanted = Counter((one.cell.key, n) for one in plan.cells for n in range(1, one.repetitions + 1))
    assert wanted == attempts(plan)


@given(profiles, st.integers(0, 99))
def test_a_seed_is_an_order(profile: Profile, seed: int) -> None:
    """The same seed gives the same visits."""
    assert plan_matrix(profile, [PAIR], seed) == plan_matrix(profile, [PAIR], seed)


def test_conditions_are_visited_one_after_another() -> None:
    """Within a visit an impairment is set once: all tests of a condition stand together, in shuffled order."""
    plan = plan_matrix(PROFILES["paper"], [PAIR], 3)
    for visit in plan.visits:
        names = [job.cell.condition for job in visit.jobs]
        assert (
            len(visit.by_condition())
            == len(set(names))
            == sum(1 for i, name in enumerate(names) if i == 0 or names[i - 1] != name)
        )


def test_the_paper_profile_is_the_papers_count() -> None:
    """Eight scenarios, 100 clean and 10 impaired repetitions of tcp and udp: 2,560."""
    plan = plan_matrix(PROFILES["paper"], [PAIR], 1)
    assert plan.repetitions == 2560
    assert len(plan.cells) == 8 * 7 * 2
    assert 8 * PROFILES["paper"].blocks == len(plan.visits)
    assert tuple(dict.fromkeys(one.cell.scenario for one in plan.cells)) == PAPER_SCENARIOS


def test_the_quick_profile_fits_its_minutes_whole() -> None:
    """Eight scenarios, seven conditions, two tests: nothing needs to be dropped."""
    plan = plan_matrix(PROFILES["quick"], [PAIR], 1)
    assert plan.dropped == ()
    assert len(plan.cells) == 8 * 7 * 2
    assert plan.seconds <= 20 * 60


def test_scenarios_that_are_unavailable_cost_nothing() -> None:
    """What is left is fifteen minutes where two of the eight cannot be attempted; the plan itself stays whole."""
    plan = plan_matrix(PROFILES["quick"], [PAIR], 1)
    able = without(plan, PAPER_SCENARIOS[-2:])
    assert {one.cell.scenario for one in able.cells} == set(PAPER_SCENARIOS[:-2])
    assert {visit.scenario for visit in able.visits} == set(PAPER_SCENARIOS[:-2])
    assert (able.repetitions, len(able.visits)) == (plan.repetitions * 6 // 8, 6)
    assert able.seconds <= 15 * 60
    assert without(plan, ()) == plan


def test_a_budget_drops_conditions_and_names_them() -> None:
    """What does not fit is left out visibly, from the end, and never the undisturbed condition."""
    plan = plan_matrix(replace(PROFILES["quick"], budget_min=5), [PAIR], 1)
    assert plan.dropped
    assert plan.seconds <= 300
    kept = {one.cell.condition for one in plan.cells}
    assert "none" in kept
    assert {condition.name for condition in PAPER_CONDITIONS} == kept | set(plan.dropped)


def test_a_scenario_visited_twice_gets_half_its_repetitions_each_time() -> None:
    """Blocks split repetitions, so that drift of the machine is no factor of one scenario."""
    profile = replace(
        PROFILES["quick"], blocks=2, repetitions_clean=4, conditions=(Condition(),), budget_min=None
    )
    plan = plan_matrix(profile, [PAIR], 1)
    counts = Counter((visit.scenario, len(job.repetitions)) for visit in plan.visits for job in visit.jobs)
    assert {(name, 2): 2 * len(THROUGHPUT_TESTS) for name in profile.scenarios} == dict(counts)


@pytest.mark.parametrize(
    "change", [{"repetitions_clean": 0}, {"duration_s": 0}, {"blocks": 0}, {"conditions": ()}]
)
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    """A matrix that cannot be run says which option is wrong."""
    with pytest.raises(InputError):
        plan_matrix(replace(PROFILES["quick"], **change), [PAIR], 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("blocks", "scenarios", "warned"), [(1, 3, True), (2, 3, False), (1, 1, False)])
def test_one_visit_confounds_scenario_and_time(blocks: int, scenarios: int, *, warned: bool) -> None:
    """Said before the run where scenarios are visited once each; one scenario alone is held against nothing."""
    profile = replace(PROFILES["quick"], blocks=blocks, scenarios=SCENARIO_ORDER[:scenarios])
    assert ("--blocks 2" in confounded(plan_matrix(profile, [PAIR], 1))) is warned


def test_the_api_comes_on_top_of_a_budget() -> None:
    """Clients against the master, once in each cell; no condition is dropped for it; the plan says what it costs."""
    plan = plan_matrix(PROFILES["quick"], [PAIR], 1, master="k8s-master")
    bare = plan_matrix(PROFILES["quick"], [PAIR], 1)
    assert plan.dropped == bare.dropped
    assert plan.judged_s == pytest.approx(bare.seconds)
    api = [one for one in plan.cells if one.cell.test not in THROUGHPUT_TESTS]
    assert {(one.cell.pair, one.repetitions) for one in api} == {(Pair(PAIR.client, "k8s-master"), 1)}
    assert len(api) == 8 * 7 * 2
    assert plan.beside_s == pytest.approx(sum(one.seconds for one in api))
    (said,) = [one for one in remarks(plan) if "on top" in one]
    assert said.startswith("api, api-hey: about ")
    assert said.endswith(" minutes on top of the 20, which are for throughput")
    assert not [one for one in remarks(bare) if "on top" in one]


def test_one_test_may_have_rules_of_its_own() -> None:
    """The paper's API tests: ten in all, undisturbed, unless somebody names conditions."""
    paper = PROFILES["paper"]
    for asked, conditions in ((False, {"none"}), (True, {one.name for one in paper.conditions})):
        plan = plan_matrix(replace(paper, conditions_asked=asked), [PAIR], 1, master="k8s-master")
        api = [one for one in plan.cells if one.cell.test == "api"]
        assert {one.cell.condition for one in api} == conditions
        assert {one.repetitions for one in api} == {10}


def test_other_tests_change_nothing_of_an_adaptive_runs_rules() -> None:
    """As many rounds are expected with them as without: a verdict does not depend on what else is asked."""
    profile = PROFILES["adaptive"]
    with_api = plan_matrix(profile, [PAIR], 1, master="k8s-master")
    assert expected_rounds(with_api) == expected_rounds(plan_matrix(profile, [PAIR], 1))
    api = [job for visit in with_api.visits for job in visit.jobs if job.cell.test == "api"]
    assert len(api) == 8 * 3
    assert {visit.round for visit in with_api.visits if set(visit.jobs) & set(api)} == {1}
