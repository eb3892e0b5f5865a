"""What is told of the verdicts: an order only where every step of it is decided."""

from itertools import combinations, pairwise

import polars as pl
import pytest

from vpnmesh.report.answers import ConditionAnswer, Group, Within, answers, together
from vpnmesh.report.tables import Study
from vpnmesh.report.verdicts import VERDICTS
from vpnmesh.stats.sequential import PairVerdict

MEANS = {"native-1450": 900.0, "headscale-direct": 400.0, "netbird-direct": 390.0, "nebula-direct": 200.0}
NAMES = list(MEANS)


def answer(handmade: Study, verdicts: dict[tuple[str, str], str], ratios: bool = True) -> ConditionAnswer:  # noqa: FBT001, FBT002
    """The answer to one condition with these verdicts; `differ` where none is named."""
    rows = [
        {
            "test": "tcp",
            "condition": "none",
            "a": a,
            "b": b,
            "verdict": verdicts.get((a, b), "differ"),
            "ratio": MEANS[a] / MEANS[b],
            "ratio_low": MEANS[a] / MEANS[b] - 0.01 if ratios else None,
            "ratio_high": MEANS[a] / MEANS[b] + 0.01 if ratios else None,
            "margin_pct": 2.0,
        }
        for a, b in combinations(NAMES, 2)
    ]
    means = [{"test": "tcp", "condition": "none", "scenario": n, "mean_mbit_s": m} for n, m in MEANS.items()]
    tables = {"verdicts": pl.DataFrame(rows, schema=VERDICTS), "throughput": pl.DataFrame(means)}
    (found,) = answers(Study(handmade.samples, handmade.api, tables))
    return found


def shape(found: ConditionAnswer) -> list[tuple[tuple[str, ...], Within]]:
    return [(group.scenarios, group.within) for group in found.groups]


def test_where_all_is_decided_every_scenario_has_its_place(handmade: Study) -> None:
    """Four groups of one, with the lead of each over the next."""
    found = answer(handmade, {})
    assert shape(found) == [((name,), Within.ALONE) for name in NAMES]
    assert [(lead.faster, lead.slower) for lead in found.leads] == list(pairwise(NAMES))
    assert (found.decided, len(found.pairs)) == (6, 6)


def test_open_and_equal_neighbours_share_a_group(handmade: Study) -> None:
    """The order goes around them; the lead is over the nearest of them."""
    pair = ("headscale-direct", "netbird-direct")
    for verdict, within in (("undecided", Within.OPEN), ("equivalent", Within.EQUAL)):
        found = answer(handmade, {pair: verdict})
        assert shape(found) == [
            (("native-1450",), Within.ALONE),
            (pair, within),
            (("nebula-direct",), Within.ALONE),
        ]
        assert (found.leads[1].faster, found.leads[1].slower) == ("netbird-direct", "nebula-direct")


def test_an_order_is_not_inferred_from_other_pairs(handmade: Study) -> None:
    """The first beats the second, the second the third; first against third is open: no order of the three."""
    found = answer(handmade, {("native-1450", "netbird-direct"): "undecided"})
    assert shape(found) == [
        (("native-1450", "headscale-direct", "netbird-direct"), Within.MIXED),
        (("nebula-direct",), Within.ALONE),
    ]
    assert found.open_groups == (("native-1450", "netbird-direct"),)
    assert found.count(PairVerdict.UNDECIDED) == 1


def test_a_difference_whose_interval_reaches_over_one_leads_nothing(paper: Study) -> None:
    """Ranks can differ where means do not: undisturbed UDP of these two is 0.969 to 1.0001 in the paper's data."""
    calm = next(one for one in answers(paper) if (one.test, one.condition) == ("udp", "none"))
    (near,) = [
        pair for pair in calm.pairs if (pair.faster, pair.slower) == ("netbird-relay", "headscale-direct")
    ]
    assert near.verdict is PairVerdict.DIFFER
    assert not near.leads
    assert Group(("headscale-direct", "netbird-relay"), Within.MIXED) in calm.groups


def test_a_decided_pair_without_interval_still_leads(handmade: Study) -> None:
    """Four against four can be decided by their ranks, and have no interval of a ratio."""
    assert shape(answer(handmade, {}, ratios=False)) == [((name,), Within.ALONE) for name in NAMES]


@pytest.mark.parametrize(
    ("pairs", "groups"),
    [
        ([], ()),
        ([("a", "b"), ("a", "c"), ("b", "c")], (("a", "b", "c"),)),
        ([("a", "b"), ("b", "c")], (("a", "b"), ("b", "c"))),
        ([("a", "b"), ("c", "d")], (("a", "b"), ("c", "d"))),
    ],
)
def test_pairs_are_told_as_few_groups(
    pairs: list[tuple[str, str]], groups: tuple[tuple[str, ...], ...]
) -> None:
    """Of which every two are a pair, and no others."""
    assert together(pairs) == groups


def test_the_papers_orders_hold_pair_by_pair(paper: Study) -> None:
    """Over all 14 families: whoever stands in an earlier group is decided to be faster than all in later ones."""
    found = answers(paper)
    assert len(found) == 14
    for one in found:
        leads = {(pair.faster, pair.slower) for pair in one.pairs if pair.leads}
        assert sorted(name for group in one.groups for name in group.scenarios) == sorted(
            paper.scenario_order
        )
        for upper, lower in combinations(one.groups, 2):
            assert {(a, b) for a in upper.scenarios for b in lower.scenarios} <= leads


def test_the_papers_undisturbed_order(paper: Study) -> None:
    """TCP: NetBird's direct path equals the baseline of its MTU; all 28 pairs are decided."""
    calm = answers(paper)[0]
    assert (calm.test, calm.condition, calm.decided) == ("tcp", "none", 28)
    assert [group.scenarios for group in calm.groups[:2]] == [
        ("native-1450",),
        ("native-1230", "netbird-direct"),
    ]
    assert calm.groups[1].within is Within.EQUAL
    assert calm.equal == (("native-1230", "netbird-direct"),)
