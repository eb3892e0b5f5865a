"""Every ordered pair once, in rounds that share no member; samples are drawn evenly; nonsense is one sentence."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.model import Condition, Pair, Testbed
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.pairs import FIXED, PairChoice, PairsKind, full_mesh, pairs_of, rounds, sample, turns
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.visits import batches, made_together

members = st.integers(2, 31).map(lambda count: [f"n{number}" for number in range(count)])


def ends(pairs: tuple[Pair, ...]) -> Counter[str]:
    """How many of the pairs each member is in."""
    return Counter(end for pair in pairs for end in (pair.client, pair.server))


@given(members)
def test_rounds_are_as_few_as_there_can_be(names: list[str]) -> None:
    """N-1 rounds of N/2 pairs for an even N; N rounds in which one member rests for an odd one."""
    found = rounds(names)
    assert len(names) - 1 + len(names) % 2 == len(found)
    assert all(set(ends(one).values()) == {1} and len(one) == len(names) // 2 for one in found)
    met = [frozenset((pair.client, pair.server)) for one in found for pair in one]
    assert len(set(met)) == len(met) == len(names) * (len(names) - 1) // 2


@given(members)
def test_a_full_mesh_has_every_ordered_pair_once_in_two_turns_a_round(names: list[str]) -> None:
    """N(N-1) pairs; a turn is a round in one direction, so that nobody is client and server at once."""
    pairs = full_mesh(names)
    assert {Pair(a, b) for a in names for b in names if a != b} == set(pairs)
    assert len(pairs) == len(names) * (len(names) - 1)
    if len(names) > 3:
        assert 2 * len(rounds(names)) == len(turns(pairs))


@given(st.lists(st.sampled_from(full_mesh(list("abcdefg"))), max_size=30))
def test_turns_cut_any_list_where_a_member_would_come_twice(pairs: list[Pair]) -> None:
    """Nothing is lost or moved."""
    found = turns(pairs)
    assert pairs == [pair for turn in found for pair in turn]
    assert all(set(ends(turn).values()) == {1} for turn in found)


@given(members, st.data())
def test_a_sample_is_even(names: list[str], data: st.DataObject) -> None:
    """So many different pairs, each member in nearly equally many; the same seed draws the same."""
    most = len(names) * (len(names) - 1)
    count, seed = data.draw(st.integers(1, most)), data.draw(st.integers(0, 99))
    pairs = sample(names, count, seed)
    assert count == len(set(pairs)) == len(pairs)
    assert pairs == sample(names, count, seed)
    often = [ends(pairs)[name] for name in names]
    assert max(often) - min(often) <= 1 + len(names) % 2
    if 2 * count <= most:
        assert len({frozenset((pair.client, pair.server)) for pair in pairs}) == count


def test_each_pair_is_drawn_equally_often() -> None:
    """Over many seeds no pair is preferred: of 20, eight are drawn, so each in 40 % of the samples."""
    drawn = Counter(pair for seed in range(2000) for pair in sample(list("abcde"), 8, seed))
    assert set(drawn) == set(full_mesh(list("abcde")))
    # six standard deviations of a share of 40 % among 2000 draws
    assert all(abs(count / 2000 - 0.4) < 6 * 0.011 for count in drawn.values())


@pytest.mark.parametrize("text", ["fixed", "full-mesh", "sample:1", "sample:12"])
def test_a_choice_is_written_as_it_is_read(text: str) -> None:
    """The manifest, the option and the profile's key have one form."""
    assert text == str(PairChoice.parse(text))


@pytest.mark.parametrize(
    "text",
    ["", "all", "sample", "sample:", "sample:0", "sample:-3", "sample:1.5", "sample:9999999", "full-mesh:3"],
)
def test_nonsense_is_refused(text: str) -> None:
    """Said with the option's name."""
    with pytest.raises(InputError) as caught:
        PairChoice.parse(text)
    assert "--pairs" in str(caught.value)


def test_the_lab_has_six_ordered_pairs(bed: Testbed) -> None:
    """Master and two workers carry pods; relay, hypervisor and firewall are no members."""
    assert bed.pairs == pairs_of(bed, FIXED)
    assert len(pairs_of(bed, PairChoice(PairsKind.FULL_MESH))) == 6
    with pytest.raises(InputError, match="3 members make 6"):
        pairs_of(bed, PairChoice(PairsKind.SAMPLE, 7))


def test_a_plan_measures_a_turns_pairs_one_after_another() -> None:
    """Undisturbed a group is one test of one turn; under a condition it is one pair with all its tests."""
    profile = replace(
        PROFILES["quick"],
        scenarios=("native-1450",),
        conditions=(Condition(), Condition(loss_pct=1)),
        budget_min=None,
    )
    pairs = full_mesh([f"n{number}" for number in range(8)])
    plan = plan_matrix(profile, pairs, 5)
    assert len(plan.cells) == 2 * 2 * 56
    (visit,) = plan.visits
    clean, impaired = (dict(visit.by_condition())[name] for name in ("none", "loss-1pct"))
    assert {4} == {len(group) for group in made_together(clean)}
    assert len(made_together(clean)) == 2 * 14
    assert {2} == {len(group) for group in made_together(impaired)}
    assert [len(batch) for batch in batches(made_together(clean)[0], 3)] == [3, 1]
    assert [len(batch) for batch in batches(made_together(impaired)[0], 3)] == [1, 1]
