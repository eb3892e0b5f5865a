"""What sampling promises is what simulated meshes show: slowest pairs seen, means and quantiles within their bounds."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from vpnmesh.errors import InputError
from vpnmesh.model import Condition, Pair, Testbed
from vpnmesh.study.matrix import repetition_s
from vpnmesh.study.pairs import FIXED, PairChoice, full_mesh, pairs_of, sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.sampling import (
    mean_within,
    members_for,
    mesh_cost,
    pairs_to_see,
    quantile_within,
    share_seen,
    told,
)

REPETITION_S = repetition_s(replace(PROFILES["quick"], duration_s=10), Condition(), "tcp")
NAMES = [f"n{number:02}" for number in range(24)]
ALL = full_mesh(NAMES)


def scattered(chance: random.Random, count: int) -> set[Pair]:
    """Slow pairs anywhere."""
    return set(chance.sample(ALL, count))


def one_member(chance: random.Random, count: int) -> set[Pair]:
    """Slow pairs of as few members as there can be."""
    slow = chance.sample(NAMES, len(NAMES))
    found = [pair for name in slow for pair in ALL if name in (pair.client, pair.server)]
    return set(found[:count])


def one_site(chance: random.Random, count: int) -> set[Pair]:
    """Slow pairs among a group of neighbours."""
    group = chance.sample(NAMES, math.ceil((1 + math.sqrt(1 + 4 * count)) / 2))
    return set([pair for pair in ALL if {pair.client, pair.server} <= set(group)][:count])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [scattered, one_member, one_site])
def test_one_of_the_slowest_is_seen(shape: Callable[[random.Random, int], set[Pair]]) -> None:
    """59 pairs miss the slowest 5 % in at most 5 % of the samples, wherever the slow pairs are."""
    draws, chance = 600, random.Random(7)
    slowest = [shape(chance, math.ceil(0.05 * len(ALL))) for _ in range(draws)]
    missed = sum(not slow & set(sample(NAMES, pairs_to_see(0.05), seed)) for seed, slow in enumerate(slowest))
    # four standard deviations of 5 % among so many
    assert missed / draws <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / draws)


@pytest.mark.parametrize(("share", "wanted"), [(0.01, 299), (0.05, 59), (0.10, 29), (0.25, 11)])
def test_known_numbers_of_pairs(share: float, wanted: int) -> None:
    """log(0.05) / log(1 - share), rounded up."""
    assert wanted == pairs_to_see(share)


@given(st.integers(1, 5000))
def test_what_a_sample_sees_is_what_it_takes(pairs: int) -> None:
    """Both directions of one rule."""
    assert pairs_to_see(share_seen(pairs) + 1e-9) <= pairs


@pytest.mark.slow
def test_a_mean_is_within_its_bound_in_95_of_100_samples() -> None:
    """Skewed rates with a spread of half their mean; 59 of 552 pairs."""
    chance = np.random.default_rng(3)
    rates = chance.lognormal(0, math.sqrt(math.log(1.25)), len(ALL))
    by_pair = dict(zip(ALL, rates, strict=True))
    bound = mean_within(59, len(ALL), float(rates.std(ddof=1) / rates.mean()))
    errors = [
        abs(np.mean([by_pair[pair] for pair in sample(NAMES, 59, seed)]) / rates.mean() - 1)
        for seed in range(400)
    ]
    assert 0.90 <= np.mean(np.array(errors) <= bound) <= 0.99


@pytest.mark.slow
def test_a_median_is_within_its_quantiles() -> None:
    """Of 59 pairs: the sample's median lies between these quantiles of all pairs in 95 of 100 samples."""
    low, high = quantile_within(59, 0.5)
    rank = {pair: place / len(ALL) for place, pair in enumerate(sorted(ALL))}
    medians = [np.median([rank[pair] for pair in sample(NAMES, 59, seed)]) for seed in range(400)]
    assert np.mean([low <= one <= high for one in medians]) >= 0.95 - 4 * 0.011


@pytest.mark.parametrize(
    ("members", "at_once", "pairs", "turns"), [(33, 1, 1056, 66), (317, 1, 100172, 634), (24, 12, 552, 46)]
)
def test_the_cost_of_all_pairs(members: int, at_once: int, pairs: int, turns: int) -> None:
    """N(N-1) pairs in two turns a round; with all of a turn at once, a turn costs one pair's seconds."""
    cost = mesh_cost(members, 10.0, at_once)
    assert (cost.pairs, cost.turns) == (pairs, turns)
    assert cost.seconds == (10.0 * pairs if at_once == 1 else 10.0 * turns)


def test_a_thousand_and_a_hundred_thousand_pairs_have_so_many_members() -> None:
    """The fewest that make as many."""
    assert (members_for(1000), members_for(100_000)) == (33, 317)
    assert mesh_cost(317, 2.0, 4, sampled=59).seconds == 2.0 * 15
    with pytest.raises(InputError):
        mesh_cost(1, 1.0)
    with pytest.raises(InputError):
        pairs_to_see(1.0)


def test_the_pages_figures_are_these() -> None:
    """docs/mesh.md has the cost of 10^3 and 10^5 pairs, and what samples see, as they are computed."""
    page = (ROOT / "docs" / "mesh.md").read_text(encoding="utf-8")
    for pairs in (1000, 100_000):
        members = members_for(pairs)
        costs = [mesh_cost(members, REPETITION_S, at_once) for at_once in (1, 4, members // 2)]
        shown = " | ".join(in_words(cost.seconds) for cost in costs)
        assert f"| {costs[0].pairs:,} | {members} | {costs[0].turns} | {shown} |" in page
    for pairs in (11, 29, 59, 299):
        low, high = quantile_within(pairs, 0.5)
        cost = in_words(mesh_cost(317, REPETITION_S, 1, pairs).seconds)
        within = f"{low:.2f} to {high:.2f} | ± {100 * mean_within(pairs, 10**9, 0.5):.0f} %"
        assert f"| {pairs} | {cost} | {100 * share_seen(pairs):.0f} % | {within} |" in page


def in_words(seconds: float) -> str:
    """Days, hours or minutes, as a person says it."""
    if seconds > 86400:
        return f"{seconds / 86400:.1f} days"
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"


def test_a_run_says_what_its_pairs_are(bed: Testbed) -> None:
    """Nothing for the paper's one pair."""
    choice = PairChoice.parse("sample:4")
    assert told(bed, FIXED, bed.pairs) == []
    (said,) = told(bed, choice, pairs_of(bed, choice))
    assert said.startswith(
        "pairs: 4 of the 6 ordered pairs of 3 members, in 4 turns of disjoint ones; with 95 %"
    )
