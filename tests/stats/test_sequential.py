"""Sequential stopping: its design, its verdicts, and how often they are wrong."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.stats.describe import Floats, Summary, describe
from vpnmesh.stats.sequential import (
    Evidence,
    Progress,
    Rules,
    Verdict,
    begin,
    decide,
    look_counts,
    look_weights,
    weigh,
)

RULES = Rules()
PAIR = ("a", "b")


def run(samples: dict[str, Floats], rules: Rules = RULES) -> tuple[Progress, dict[str, int]]:
    """Measure and look until every pair is decided or the budget is spent."""
    progress, counts = begin(tuple(samples), rules), dict.fromkeys(samples, 0)
    while progress.undecided and progress.wanted:
        counts = {name: min(progress.wanted.get(name, n), samples[name].size) for name, n in counts.items()}
        progress = decide(progress, {name: describe(samples[name][:n]) for name, n in counts.items()}, rules)
    return progress, counts


@given(st.integers(3, 20), st.floats(1.05, 2), st.integers(20, 300))
def test_looks_rise_to_the_budget_and_spend_all(first: int, growth: float, budget: int) -> None:
    """Looks rise strictly from the first to the budget, and their shares of the error add up to 1."""
    rules = Rules(first=first, growth=growth, budget=budget)
    counts = look_counts(rules)
    assert (first, budget) == (counts[0], counts[-1])
    assert all(before < after for before, after in pairwise(counts))
    assert sum(look_weights(rules)) == pytest.approx(1)
    assert min(look_weights(rules)) > 0


@pytest.mark.parametrize(
    "bad",
    [
        {"first": 2},
        {"first": 101},
        {"growth": 1.0},
        {"margin": 0.0},
        {"alpha_differ": 1.0},
        {"alpha_equivalent": 0},
    ],
)
def test_designs_that_cannot_work(bad: dict[str, float]) -> None:
    """A design without looks, margin or error rates is refused."""
    with pytest.raises(InputError, match="sequential"):
        Rules(**bad)  # type: ignore[arg-type]


def test_far_apart_is_decided_at_the_first_look(rng: np.random.Generator) -> None:
    """Means of 700 and 200 with spreads of 3 need six repetitions each."""
    progress, counts = run({"a": rng.normal(700, 3, 100), "b": rng.normal(200, 3, 100)})
    assert Verdict.DIFFER is progress.verdicts[PAIR]
    assert counts == {"a": 6, "b": 6}


def test_the_same_is_equivalent_before_the_budget(rng: np.random.Generator) -> None:
    """Means of 700 with spreads of 0.5 % are equivalent within 2 % after a few repetitions."""
    progress, counts = run({"a": rng.normal(700, 3.5, 100), "b": rng.normal(700, 3.5, 100)})
    assert Verdict.EQUIVALENT is progress.verdicts[PAIR]
    assert max(counts.values()) < 20


def test_too_noisy_to_tell_stays_open(rng: np.random.Generator) -> None:
    """Spreads of 30 % about the same mean show neither within 100 repetitions."""
    progress, counts = run({"a": rng.normal(700, 210, 100), "b": rng.normal(700, 210, 100)})
    assert progress.undecided == (PAIR,)
    assert counts == {"a": 100, "b": 100}


def test_the_noisier_end_is_measured_more(rng: np.random.Generator) -> None:
    """Of a pair with spreads of 1 and 10, the second gets more repetitions."""
    _, counts = run({"a": rng.normal(700, 1, 100), "b": rng.normal(704, 10, 100)})
    assert counts["a"] < counts["b"]


def test_a_decided_scenario_is_not_measured_on(rng: np.random.Generator) -> None:
    """A scenario far from all others stops at the first look while a close pair goes on."""
    _, counts = run(
        {"far": rng.normal(100, 1, 100), "a": rng.normal(700, 10, 100), "b": rng.normal(705, 10, 100)}
    )
    assert counts["far"] == 6
    assert min(counts["a"], counts["b"]) > 6


def test_equal_figures_are_no_certainty() -> None:
    """Six times the same rounded figure still has the spread that rounding hides."""
    flat = Summary(6, 710.0, 0.0)
    evidence = weigh(Evidence(), flat, Summary(6, 710.4, 0.0), 1.0, RULES)
    assert evidence.differ > 0.05


def test_evidence_only_grows(rng: np.random.Generator) -> None:
    """A later look that shows less does not take back what an earlier one proved."""
    strong = weigh(Evidence(), Summary(10, 700, 1), Summary(10, 600, 1), 0.5, RULES)
    assert strong == weigh(strong, Summary(20, 700, 500), Summary(20, 600, 500), 0.5, RULES)


def test_a_look_needs_spread() -> None:
    """One repetition has no spread, so there is nothing to look at."""
    with pytest.raises(InputError, match="two repetitions"):
        weigh(Evidence(), Summary(1, 700, None), Summary(6, 700, 1), 1.0, RULES)


def wrong_share(
    rng: np.random.Generator, means: list[float], sd: float, wrong: Verdict, *, skew: bool
) -> float:
    """In what share of 600 studies at least one pair got the wrong verdict."""
    # a log-normal's mean is exp(sigma^2 / 2)
    hits, shift = 0, np.exp(0.125) if skew else 0.0
    for _ in range(600):
        noise = [rng.lognormal(0, 0.5, 100) if skew else rng.normal(0, 1, 100) for _ in means]
        named = zip(means, noise, strict=True)
        samples = {f"s{i}": mean + sd * (part - shift) for i, (mean, part) in enumerate(named)}
        progress, _ = run(samples)
        hits += any(verdict is wrong for verdict in progress.verdicts.values())
    return hits / 600


@pytest.mark.parametrize("skew", [False, True])
def test_equal_scenarios_seldom_differ(rng: np.random.Generator, *, skew: bool) -> None:
    """Four scenarios with the same mean: any `differ` among six pairs in at most 5 % of studies."""
    assert wrong_share(rng, [500.0] * 4, 25.0, Verdict.DIFFER, skew=skew) <= 0.05


@pytest.mark.parametrize("skew", [False, True])
def test_scenarios_at_the_margin_are_seldom_equivalent(rng: np.random.Generator, *, skew: bool) -> None:
    """A pair exactly 2 % apart: `equivalent` in at most 5 % of studies (alone, the hardest case)."""
    assert wrong_share(rng, [500.0, 490.0], 10.0, Verdict.EQUIVALENT, skew=skew) <= 0.05


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 1000), st.integers(0, 2**32 - 1))
def test_units_do_not_matter(scale: float, seed: int) -> None:
    """Verdicts and counts are the same in Mbit/s and in any other unit."""
    rng = np.random.default_rng(seed)
    samples = {name: rng.normal(mean, 5, 60) for name, mean in (("a", 100), ("b", 101), ("c", 130))}
    here, counts = run(samples)
    there, other = run({name: values * scale for name, values in samples.items()})
    assert dict(here.verdicts) == dict(there.verdicts)
    assert counts == other
