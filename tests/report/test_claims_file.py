"""Claims are data: what is wrong with a file is one sentence, and a claim of one's own is judged."""

import re
from datetime import date
from pathlib import Path

import pytest

import vpnmesh.report.judgement
from tests.report.conftest import made
from tests.report.test_claims import renamed
from vpnmesh.criteria import data as criteria
from vpnmesh.errors import InputError
from vpnmesh.reference import paper_p_values, paper_tables
from vpnmesh.report.judgement.claim_verdicts import ClaimVerdict
from vpnmesh.report.judgement.claims import CHECKS, Claim, StatedClaims, claims, paper_claims, read_claims
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.pair_claims import PairsDiffer
from vpnmesh.report.tables import Study
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

ON = date(2026, 11, 23)
ORDER = """
mine:
  section: "9.9"
  sentence: Undisturbed, a is faster than b.
  check: means-in-order
  with: {test: tcp, conditions: [none], scenarios: [headscale-direct, zerotier-relay]}
"""
FACT = """
mine:
  section: "9.9"
  sentence: Rules name ports.
  check: facts
  with: {topic: granular-acl, expected: {headscale: met}}
"""


def read(text: str, scenarios: Catalogue = BUILT_IN) -> StatedClaims:
    return read_claims(text.encode(), "mine.yaml", scenarios, criteria.load())


def judged(study: Study, stated: StatedClaims) -> Claim:
    (found,) = claims(Readings(study, paper_tables()), criteria.load(), ON, stated)
    return found


def test_the_papers_claims_use_every_check() -> None:
    """27 claims ship with the package, in the order of the page; no way to judge is without a claim."""
    stated = paper_claims(criteria.load()).claims
    assert (len(stated), stated[0].id, stated[-1].id) == (27, "tcp-pairs", "web-ui")
    assert {type(claim.check) for claim in stated} == set(CHECKS.values())


def test_printed_p_values_are_of_the_pairs_that_the_paper_calls_alike() -> None:
    """Two files tell of the same two exceptions: undisturbed, one pair by TCP and one by the API."""
    alike = {
        (claim.check.test, condition, frozenset(claim.check.alike))
        for claim in paper_claims(criteria.load()).claims
        if isinstance(claim.check, PairsDiffer) and claim.check.alike and claim.check.test != "api-runs"
        for condition in claim.check.conditions
    }
    printed = {(one.test, one.condition, frozenset((one.a, one.b))) for one in paper_p_values()}
    assert len(printed) == 2
    assert printed == alike


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("means-in-order", "means-in-line", "mine: check: unknown check 'means-in-line'; known are: pairs-differ,"),
        ("test: tcp,", "test: tcp, colour: red,", "mine: with: unknown key 'colour'; known are: test, conditions,"),
        ("test: tcp", "test: icmp", "mine: with: test: input should be 'tcp' or 'udp'; "),
        ("test: tcp,", "", "mine: with: test: field required; "),
        ("test: tcp,", "test: no,", "mine: with: test: input should be 'tcp' or 'udp'; "),
        ("[none]", "[]", "mine: with: conditions: tuple should have at least 1 item"),
        ("[none]", "[loss-2pct]", "mine: with: conditions.0: unknown condition 'loss-2pct'; known are: none,"),
        ("[none]", "none", "mine: with: conditions: input should be a valid tuple; "),
        (
            "zerotier-relay",
            "tinc-relay",
            "mine: with: scenarios.1: unknown scenario 'tinc-relay'; known are: native-1450,",
        ),
        # a scenario that this project has and the paper never measured
        (
            "zerotier-relay",
            "nebula-relay",
            "mine: with: scenarios.1: unknown scenario 'nebula-relay'; known are: native-1450,",
        ),
        ("section:", "chapter:", "mine: section: field required; "),
        ('"9.9"', "9.9", "mine: section: input should be a valid string; "),
        ("sentence: Un", "note: x\n  sentence: Un", "mine: unknown key 'note'; known are: section, sentence,"),
        ("{test: tcp, conditions: [none], scenarios: [headscale-direct, zerotier-relay]}", "3", "mine: with: holds no"),
        ("mine:", "mine: 3\nother:", "mine: holds no keys; known are: section, sentence, check, with"),
        ("check:", "section: x\n  check:", "mine: section: line 5: the key is there twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(before: str, after: str, sentence: str) -> None:
    """File, claim, key, and what would be right."""
    assert before in ORDER
    with pytest.raises(InputError) as error:
        read(ORDER.replace(before, after, 1))
    assert str(error.value).startswith(f"mine.yaml: {sentence}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("granular-acl", "colour", "mine: with: topic: unknown topic 'colour'; known are: "),
        ("headscale", "cisco", "mine: with: expected.cisco: unknown product 'cisco'; known are: "),
        ("met}", "maybe}", "mine: with: expected.headscale: input should be 'met', 'unmet' or 'unknown'; "),
        ("{headscale: met}", "{}", "mine: with: expected: "),
    ],
)
def test_a_wrong_fact_is_one_sentence(before: str, after: str, sentence: str) -> None:
    """Topics and products are those of the criteria."""
    with pytest.raises(InputError) as error:
        read(FACT.replace(before, after, 1))
    assert str(error.value).startswith(f"mine.yaml: {sentence}")


@pytest.mark.parametrize("text", ["", "[]", "mine", "{}"])
def test_a_file_without_claims_says_so(text: str) -> None:
    """No mapping, or an empty one."""
    with pytest.raises(InputError, match=re.escape("mine.yaml: holds no claims; write `ID:`")):
        read(text)


def test_an_added_claim_is_judged(handmade: Study) -> None:
    """In the invented study Headscale's direct path carries more than ZeroTier's relay; the reverse is refuted."""
    found = judged(handmade, read(ORDER))
    assert (found.id, found.section, found.claim) == ("mine", "9.9", "Undisturbed, a is faster than b.")
    assert (found.verdict, found.because) == (ClaimVerdict.HOLDS, "1 of 1 steps hold")
    assert "headscale-direct" in found.evidence[0].text
    other = ORDER.replace("[headscale-direct, zerotier-relay]", "[zerotier-relay, headscale-direct]")
    assert judged(handmade, read(other)).verdict is ClaimVerdict.CONTRADICTED


OURS = b"""
ours-bare: {paper: true, solution: native, path: direct, pod_mtu: 1450, policy: allow-all}
ours-near: {paper: true, solution: wireguard, path: direct, pod_mtu: 1230, tunnel_mtu: 1280, policy: allow-all}
ours-far: {paper: true, solution: nebula, path: direct, pod_mtu: 1230, tunnel_mtu: 1280, policy: allow-all}
"""
BEST = """
mine:
  section: "1"
  sentence: WireGuard is the best.
  check: best-solution
  with: {cells: [{test: tcp, condition: none, solution: wireguard}]}
"""


def test_a_claim_on_scenarios_of_ones_own_is_judged() -> None:
    """Solutions and paths come from the catalogue, whatever the scenarios are called."""
    study = renamed(
        made(), {"native-1450": "ours-bare", "headscale-direct": "ours-near", "netbird-direct": "ours-far"}
    )
    ours = Catalogue(()).with_shape(OURS, "ours.yaml")
    best = judged(study, read(BEST, ours))
    assert (best.verdict, best.because) == (ClaimVerdict.HOLDS, "the best mean in 1 of 1 cells")
    assert best.evidence[0].text.startswith("TCP, undisturbed: ours-near ")
    pairs = ORDER.replace("means-in-order", "pairs-differ").replace(
        ", scenarios: [headscale-direct, zerotier-relay]", ""
    )
    assert judged(study, read(pairs, ours)).because.startswith("0 of 3 pairs do not differ")


def test_no_module_of_judgement_names_a_vpn() -> None:
    """Which VPNs the paper's claims are about is in claims.yaml and in the scenarios alone."""
    solutions = {one.solution for one in BUILT_IN.scenarios if one.tunnel_mtu is not None}
    (folder,) = vpnmesh.report.judgement.__path__
    modules = sorted(Path(folder).glob("*.py"))
    assert len(modules) > 10
    named = {
        (module.name, solution)
        for module in modules
        for solution in solutions
        if re.search(rf"\b{solution}\b", module.read_text(encoding="utf-8"), re.IGNORECASE)
    }
    assert named == set()
