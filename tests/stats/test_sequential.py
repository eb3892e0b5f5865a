"""Sequential stopping: its design, its verdicts, what it asks to be measured, and what it says of open pairs."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.stats.describe import Floats
from vpnmesh.stats.levels import in_both, level_of, log_visits
from vpnmesh.stats.looks import look_counts, look_weights
from vpnmesh.stats.sequential import (
    PairVerdict,
    Progress,
    Rules,
    Visits,
    begin,
    decide,
    likely_needed,
    ratio_limits,
    resumed,
)

RULES = Rules.for_figures(100)
LIVE = Rules.for_visits(6, margin=0.05)
PAIR = ("a", "b")


def run(samples: dict[str, Floats], rules: Rules = RULES) -> tuple[Progress, dict[str, int]]:
    """Take figures of one long visit each, and look, until nothing is wanted."""
    progress, counts = begin(tuple(samples), rules), dict.fromkeys(samples, 0)
    while progress.wanted:
        counts = {name: min(progress.wanted.get(name, n), samples[name].size) for name, n in counts.items()}
        progress = decide(progress, {name: [samples[name][:n]] for name, n in counts.items()}, rules)
    return progress, counts


def live(taken: dict[str, Floats], rules: Rules = LIVE) -> list[Progress]:
    """Take visits (rows) of every scenario, a round at a time, with a look after each from the third on."""
    steps = [begin(tuple(taken), rules)]
    while steps[-1].wanted:
        rounds = max(steps[-1].wanted.values())
        steps.append(decide(steps[-1], {name: list(rows[:rounds]) for name, rows in taken.items()}, rules))
    return steps


def visits_of(rng: np.random.Generator, rate: float, spread: float, rounds: int = 8) -> Floats:
    """Two figures per visit."""
    return rng.normal(rate, rate * spread, (rounds, 2))


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.floats(1.05, 2), st.integers(20, 300))
def test_looks_rise_to_the_budget_and_spend_all(first: int, growth: float, budget: int) -> None:
    """Looks rise strictly from the first to the budget, and their shares of the error add up to 1."""
    rules = Rules(first=first, growth=growth, budget=budget)
    counts = look_counts(rules)
    assert (first, budget) == (counts[0], counts[-1])
    assert all(before < after for before, after in pairwise(counts))
    assert sum(look_weights(rules)) == pytest.approx(1)
    assert min(look_weights(rules)) > 0


def test_a_live_run_looks_after_every_visit_from_the_third_on() -> None:
    """Six visits: four looks, the first with half the share of the others."""
    assert look_counts(LIVE) == (3, 4, 5, 6)
    first, *others = look_weights(LIVE)
    assert others == pytest.approx([2 * first] * 3)


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 2},
        {"first": 101},
        {"growth": 1.0},
        {"margin": 0.0},
        {"alpha_differ": 1.0},
        {"alpha_equivalent": 0},
        {"trusted": 0.0},
        {"indifference": 1.0},
    ],
)
def test_designs_that_cannot_work(bad: dict[str, float]) -> None:
    """A design without looks, margin or error rates is refused."""
    with pytest.raises(InputError, match="sequential"):
        Rules(**bad)  # type: ignore[arg-type]


def test_a_level_is_what_a_scenario_does_nearly_always() -> None:
    """One dip in twenty figures moves the level by nothing; with eight figures it is all the rules have, and counts."""
    steady = np.log([100.0, 101.0] * 10)
    with_dip = steady.copy()
    with_dip[3] = math.log(1)
    assert level_of(with_dip).level == pytest.approx(level_of(steady).level, abs=0.002)
    assert level_of(with_dip[:8]).spread > 1


def test_pairs_are_compared_over_rounds_that_both_have() -> None:
    """A round that one side missed, and rounds after it stopped, are left out of both."""
    a = log_visits([[10.0, 30.0], [], [40.0], [50.0]])
    b = log_visits([[1.0], [2.0], [3.0]])
    in_a, in_b = in_both(a, b)
    assert np.exp(in_a) == pytest.approx([20, 40])
    assert np.exp(in_b) == pytest.approx([1, 3])


def test_far_apart_is_decided_at_the_first_look(rng: np.random.Generator) -> None:
    """Rates of 700 and 200 with spreads of 3 need eight figures each."""
    progress, counts = run({"a": rng.normal(700, 3, 100), "b": rng.normal(200, 3, 100)})
    assert PairVerdict.DIFFER is progress.verdicts[PAIR]
    assert counts == {"a": 8, "b": 8}


def test_the_same_is_equivalent_before_the_budget(rng: np.random.Generator) -> None:
    """Rates of 700 with spreads of 0.5 % are equivalent within 2 % after a few figures."""
    progress, counts = run({"a": rng.normal(700, 3.5, 100), "b": rng.normal(700, 3.5, 100)})
    assert PairVerdict.EQUIVALENT is progress.verdicts[PAIR]
    assert max(counts.values()) < 20


def test_too_noisy_to_tell_is_hopeless(rng: np.random.Generator) -> None:
    """Spreads of 30 % about the same rate: no verdict, and not all of the budget is spent on finding that out."""
    progress, counts = run({"a": rng.normal(700, 210, 100), "b": rng.normal(700, 210, 100)})
    assert (progress.undecided, progress.open) == ((PAIR,), ())
    assert max(counts.values()) < 100


def test_the_noisier_end_is_measured_more(rng: np.random.Generator) -> None:
    """Of a pair with spreads of 1 and 12, the second gets more figures."""
    _, counts = run({"a": rng.normal(700, 1, 100), "b": rng.normal(704, 12, 100)})
    assert counts["a"] < counts["b"]


def test_a_decided_scenario_is_not_measured_on(rng: np.random.Generator) -> None:
    """A scenario far from all others stops at the first look while a close pair goes on."""
    _, counts = run(
        {"far": rng.normal(100, 1, 100), "a": rng.normal(700, 10, 100), "b": rng.normal(703, 10, 100)}
    )
    assert counts["far"] == 8
    assert max(counts["a"], counts["b"]) > 8


def test_equal_figures_are_no_certainty() -> None:
    """Eight times the same rounded figure still has the spread that rounding hides: a step of it is no difference."""
    progress = decide(begin(PAIR, RULES), {"a": [[710.0] * 8], "b": [[710.4] * 8]}, RULES)
    assert progress.verdicts[PAIR] is not PairVerdict.DIFFER


def test_evidence_only_grows(rng: np.random.Generator) -> None:
    """A later look that shows less does not take back what an earlier one proved, nor widen the limits."""
    before = decide(begin(PAIR, RULES), {"a": [rng.normal(700, 9, 8)], "b": [rng.normal(600, 9, 8)]}, RULES)
    after = decide(before, {"a": [rng.normal(700, 400, 12)], "b": [rng.normal(600, 40, 12)]}, RULES)
    old, new = before.evidence[PAIR], after.evidence[PAIR]
    assert (new.differ, new.low, new.high) == (old.differ, old.low, old.high)
    assert after.verdicts[PAIR] is PairVerdict.DIFFER


def test_half_as_fast_is_decided_within_five_visits(rng: np.random.Generator) -> None:
    """Six scenarios a factor 1.5 apart, spreads of 8 %, two figures a visit: all fifteen pairs after five visits."""
    taken = {f"s{i}": visits_of(rng, 100 * 1.5**i, 0.08) for i in range(6)}
    *before, last = live(taken)
    assert set(last.verdicts.values()) == {PairVerdict.DIFFER}
    assert len(before) <= 3


def test_a_drift_that_all_share_makes_no_difference(rng: np.random.Generator) -> None:
    """The machine loses a tenth per round; a scenario that stopped early is compared over its own rounds."""
    drift = 0.9 ** np.arange(6)[:, None]
    taken = {name: drift * visits_of(rng, 100, 0.03, 6) for name in PAIR}
    visits: dict[str, Visits] = {"a": list(taken["a"][:3]), "b": list(taken["b"])}
    progress = begin(PAIR, LIVE)
    for _ in range(4):
        progress = decide(progress, visits, LIVE)
    assert progress.verdicts[PAIR] is not PairVerdict.DIFFER


@pytest.mark.parametrize("rules", [RULES, LIVE])
@pytest.mark.parametrize("lacking", [None, [], [[]], [[], [], []], [[5.0]], [[], [5.0], []], [[0.0] * 9]])
def test_a_scenario_without_enough_figures_stays_open(rules: Rules, lacking: Visits | None) -> None:
    """No figure, few figures, or figures without a log: its pairs stay open, others are decided all the same."""
    full: Visits = [[100.0, 101.0, 99.0]] * 3
    visits: dict[str, Visits] = {"a": full, "b": [[2 * figure for figure in visit] for visit in full]}
    if lacking is not None:
        visits["c"] = lacking
    progress = decide(begin(("a", "b", "c"), rules), visits, rules)
    assert progress.verdicts[PAIR] is PairVerdict.DIFFER
    assert progress.undecided == (("a", "c"), ("b", "c"))
    assert {likely_needed(progress, visits, rules)[pair] for pair in progress.undecided} == {None}
    assert ratio_limits(progress, rules)["a", "c"] is None
    assert progress.wanted["c"] > 0


def test_after_the_budget_nothing_is_wanted_until_it_grows(rng: np.random.Generator) -> None:
    """Further calls change nothing; a larger budget goes on with what is left of the error."""
    taken = {name: visits_of(rng, rate, 0.06, 20) for name, rate in (("a", 100), ("b", 106))}
    *_, last = live(taken)
    short = {name: list(rows[:6]) for name, rows in taken.items()}
    assert (last.verdicts[PAIR], last.wanted) == (PairVerdict.UNDECIDED, {})
    spent = replace(last, look=len(look_counts(LIVE)))
    assert decide(spent, short, LIVE) == spent
    longer = Rules.for_visits(20, margin=0.05)
    further = resumed(last, short, longer)
    assert max(further.wanted.values()) > 3
    while further.wanted:
        rounds = max(further.wanted.values())
        further = decide(further, {name: list(rows[:rounds]) for name, rows in taken.items()}, longer)
    assert last.spent < further.spent < 1


def test_what_an_open_pair_needs_shrinks_with_the_spread() -> None:
    """More visits where figures scatter more, none to be told on a border, and keys are the undecided pairs."""

    def need(spread: float, ratio: float) -> int | None:
        visits = {
            name: [[rate * (1 + sign * spread)] for sign in (-1, 0, 1)]
            for name, rate in (("a", 100.0), ("b", 100.0 * ratio))
        }
        return likely_needed(decide(begin(PAIR, LIVE), visits, LIVE), visits, LIVE).get(PAIR)

    near, farther = need(0.1, 1.2), need(0.2, 1.2)
    assert near is not None
    assert farther is not None
    assert 3 <= near < farther
    assert need(0.001, 3.0) is None


def test_the_projection_is_about_right(rng: np.random.Generator) -> None:
    """What is said after three visits to be needed is, in the middle, within a factor of 2.5 of what it takes."""
    said, took = [], []
    for _ in range(25):
        taken = {name: visits_of(rng, rate, 0.1, 30) for name, rate in (("a", 100), ("b", 114))}
        rules = Rules.for_visits(30, margin=0.05)
        steps = live(taken, rules)
        first = {name: list(rows[:3]) for name, rows in taken.items()}
        if (need := likely_needed(steps[1], first, rules).get(PAIR)) is not None:
            said.append(need)
            took.append(len(steps) - 2)
    assert 0.4 < float(np.median(said)) / float(np.median(took)) < 2.5


def test_limits_say_the_same_as_the_verdict(rng: np.random.Generator) -> None:
    """Ratio a / b: of a pair that differs the limits leave out 1, of an equivalent one they lie inside the margin."""
    samples = {"a": rng.normal(700, 4, 100), "b": rng.normal(701, 4, 100), "c": rng.normal(350, 4, 100)}
    progress, _ = run(samples)
    limits = ratio_limits(progress, RULES)
    assert {PairVerdict.EQUIVALENT, PairVerdict.DIFFER} == set(progress.verdicts.values())
    same, apart = limits["a", "b"], limits["a", "c"]
    assert same is not None
    assert apart is not None
    assert 0.98 <= same.low <= same.estimate <= same.high <= 1 / 0.98
    assert 1.8 < apart.low < 2 < apart.high < 2.2


def test_limits_of_few_figures_only_with_a_verdict() -> None:
    """Three visits of one figure may decide a pair: then its limits leave out 1. An open one has none."""
    visits = {
        "a": [[100.0], [101.0], [99.0]],
        "b": [[300.0], [301.0], [299.0]],
        "c": [[98.0], [130.0], [110.0]],
    }
    progress = decide(begin(("a", "b", "c"), LIVE), visits, LIVE)
    assert progress.verdicts[PAIR] is PairVerdict.DIFFER
    limits = ratio_limits(progress, LIVE)
    apart = limits[PAIR]
    assert apart is not None
    assert apart.low < 1 / 3 < apart.high < 1
    assert progress.verdicts["a", "c"] is PairVerdict.UNDECIDED
    assert limits["a", "c"] is None


@settings(max_examples=8, deadline=None)
@given(st.floats(0.1, 1000), st.integers(0, 2**32 - 1))
def test_units_do_not_matter(scale: float, seed: int) -> None:
    """Verdicts and counts are the same in Mbit/s and in any other unit."""
    rng = np.random.default_rng(seed)
    samples = {name: rng.normal(mean, 5, 40) for name, mean in (("a", 100), ("b", 101), ("c", 130))}
    rules = Rules.for_figures(40)
    here, counts = run(samples, rules)
    there, other = run({name: values * scale for name, values in samples.items()}, rules)
    assert dict(here.verdicts) == dict(there.verdicts)
    assert counts == other


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_names_do_not_matter(seed: int) -> None:
    """Turned round, a pair gets the same verdict and the inverse ratio."""
    rng = np.random.default_rng(seed)
    a, b = visits_of(rng, 100, 0.05), visits_of(rng, 120, 0.1)
    *_, here = live({"a": a, "b": b})
    *_, there = live({"a": b, "b": a})
    assert here.verdicts == there.verdicts
    one, other = (ratio_limits(progress, LIVE)[PAIR] for progress in (here, there))
    assert one is not None
    assert other is not None
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))
