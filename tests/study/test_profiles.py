"""Profiles are data: what ships, a user's own file, and what is wrong with it in one sentence."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.condition import NETWORKS
from vpnmesh.errors import InputError
from vpnmesh.model import PAPER_CONDITIONS, Condition, End, Place, Placement
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profile import OwnRules, Profile
from vpnmesh.study.profiles import PROFILES, profile_named, profile_of_file
from vpnmesh.study.scenarios import BUILT_IN

MINE = """
nightly:
  variant_of: quick
  scenarios: [nebula-direct, nebula-relay]
  conditions: [none, delay-80ms+loss-2pct]
  tests: [tcp, convergence]
  repetitions_clean: 5
  placement: vxlan:both
"""


def test_what_ships() -> None:
    """The paper's figures (section 3.3), the authors' script; the same eight in two and a half minutes each."""
    paper, quick = PROFILES["paper"], PROFILES["quick"]
    assert list(PROFILES) == ["adaptive", "quick", "paper", "paper-text", "networks"]
    assert {one.name for one in PROFILES["networks"].conditions} == {"none", *NETWORKS}
    assert paper.scenarios == BUILT_IN.paper
    assert (paper.repetitions_clean, paper.repetitions_impaired) == (100, 10)
    assert (paper.duration_s, paper.blocks) == (60, 2)
    assert (paper.conditions, paper.tests) == (
        PAPER_CONDITIONS,
        ("tcp", "udp", "api", "api-hey"),
    )
    assert (paper.placement, paper.udp_window) == (Placement(limit=1000), "2M")
    assert (paper.steady, paper.omit_s, quick.steady) == (False, 1, True)
    assert PROFILES["paper-text"] == replace(
        paper, name="paper-text", placement=Placement(place=Place.VXLAN, limit=1000)
    )
    assert set(paper.own.values()) == {OwnRules(10, (Condition(),))}
    assert (paper.api_requests, paper.hey_requests, quick.api_requests) == (300, 5000, 50)
    assert (quick.budget_min, quick.duration_s, quick.blocks) == (20, 1, 1)
    assert (quick.repetitions_clean, quick.repetitions_impaired) == (2, 2)
    assert (quick.scenarios, quick.conditions, quick.tests) == (
        paper.scenarios,
        paper.conditions,
        paper.tests,
    )


def test_a_profile_of_ones_own() -> None:
    """What is left out is that of the profile it varies."""
    found = profile_of_file(MINE.encode(), "nightly.yaml")
    assert found == Profile(
        name="nightly",
        scenarios=("nebula-direct", "nebula-relay"),
        conditions=(Condition(), Condition(loss_pct=2, delay_ms=80)),
        tests=("tcp", "convergence"),
        repetitions_clean=5,
        repetitions_impaired=2,
        duration_s=1,
        blocks=1,
        placement=Placement(Place.VXLAN, End.BOTH),
        budget_min=20,
        api_requests=50,
        hey_requests=500,
        own=PROFILES["quick"].own,
    )
    assert str(found.placement) == "vxlan:both:auto"


def test_unknown_scenarios_are_told_with_the_profile() -> None:
    """They are asked for where the catalogue is known."""
    profile = replace(profile_named("quick"), scenarios=("tinc-direct",))
    with pytest.raises(
        InputError, match=r"^profile quick: scenarios: unknown scenario 'tinc-direct'; known are: "
    ):
        plan_matrix(profile, [], 1, BUILT_IN)


BAD = {
    "": "p.yaml: holds no profile; write NAME: and its keys below it, as in docs/scenarios.md",
    "quick: {}": "p.yaml: quick: is there already; give it a name of its own",
    "1: {}": "p.yaml: '1': is no name",
    "a:": "p.yaml: a: holds no keys; known are: variant_of, scenarios, ",
    "a: {variant_of: slow}": "p.yaml: a: variant_of: unknown profile 'slow'; known are: adaptive, quick, paper, ",
    "a: {scenarios: []}": "p.yaml: a: conditions: is missing",
    "a: {variant_of: quick, pairs: some}": "p.yaml: a: pairs: 'some' is none of fixed, full-mesh, sample:K",
    "a: {variant_of: quick, peers: 3}": "p.yaml: a: unknown key 'peers'; known are: variant_of, scenarios, ",
    "a: {variant_of: quick, blocks: 0}": "p.yaml: a: blocks: '0' is less than 1; docs/scenarios.md says",
    "a: {variant_of: quick, blocks: many}": "p.yaml: a: blocks: 'many' is no whole number; ",
    "a: {variant_of: quick, tests: tcp}": "p.yaml: a: tests: 'tcp' is no list; write [A, B]",
    "a: {variant_of: quick, tests: [sctp]}": "p.yaml: a: tests: unknown test 'sctp'; known are: api, api-hey, ",
    "a: {variant_of: quick, conditions: [rain]}": "p.yaml: a: conditions: unknown condition 'rain'; known are: none, ",
    "a: {variant_of: quick, placement: moon}": "p.yaml: a: placement: 'moon' is not PLACE[:END][:LIMIT]; places: ",
    "a: {variant_of: quick, udp_rate: fast}": "p.yaml: a: udp_rate: 'fast' does not look like ",
    "a: {variant_of: quick}\nb: {variant_of: a}": "p.yaml: holds 2 profiles; write each into a file of its own",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_profile_is_one_sentence(text: str) -> None:
    """File, profile, key and the way out."""
    with pytest.raises(InputError) as caught:
        profile_of_file(text.encode(), "p.yaml")
    assert str(caught.value).startswith(BAD[text])
    assert "\n" not in str(caught.value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["tcp", "udp", "none", "vxlan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
KEYS = (
    "scenarios",
    "conditions",
    "tests",
    "repetitions_clean",
    "duration_s",
    "placement",
    "budget_min",
    "omit_s",
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_whatever_is_written_is_a_profile_or_a_sentence(keys: dict[str, object]) -> None:
    """No traceback for any YAML."""
    try:
        found = profile_of_file(yaml.safe_dump({"a": {"variant_of": "paper", **keys}}).encode(), "p.yaml")
    except InputError as error:
        assert error.place.startswith("p.yaml")  # noqa: PT017 - most are refused, some are profiles
    else:
        assert found.name == "a"
