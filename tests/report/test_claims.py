"""The table of claims in the documentation is the computed one."""

import os
from dataclasses import replace
from pathlib import Path

import polars as pl

from tests.report.conftest import made
from vpnmesh.criteria import data as criteria
from vpnmesh.criteria.catalogue import CriteriaCatalogue, StatementSource, Value
from vpnmesh.reference import paper_tables
from vpnmesh.report.judgement.claim_verdicts import ClaimVerdict
from vpnmesh.report.judgement.claims import Claim, claims, table
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.tables import Study, build_study
from workflows.reporting.presenting import PAPER_DATE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "claims.md"


def found(study: Study, catalogue: CriteriaCatalogue | None = None) -> tuple[Claim, ...]:
    return claims(Readings(study, paper_tables()), catalogue or criteria.load(), PAPER_DATE)


def written(study: Study) -> str:
    rows = [
        f"| {claim.section} | {claim.claim} | {claim.verdict} | {claim.because.replace('|', '/')} |"
        for claim in found(study)
    ]
    head = [
        "# Does what the paper says follow from its data?",
        "",
        "Computed from the data that ship with vpnmesh: all repetitions and requests that the authors published",
        "(`python -m workflows.report --paper`). *As the paper says*: nothing contradicts it, and for at least one of",
        "the facts it rests on the paper itself is the only source, so these data neither confirm nor deny it.",
        "Verdicts are made by `vpnmesh/report/judgement/claims.py`; a test compares this page with them, and",
        "`VPNMESH_WRITE_DOCS=1 pytest tests/report/test_claims.py` writes it anew.",
        "",
        "| section | claim | verdict | because |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"


def test_the_documented_verdicts_are_the_computed_ones(paper: Study) -> None:
    """docs/claims.md is what the code says of the paper's data today."""
    text = written(paper)
    if os.environ.get("VPNMESH_WRITE_DOCS") == "1":
        DOCUMENT.write_text(text, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == text


def test_a_study_of_others_is_judged_by_its_own_figures(handmade: Study) -> None:
    """The invented study has its own order of solutions: what the paper says of speed does not hold there."""
    verdicts = {claim.id: claim.verdict for claim in found(handmade)}
    assert verdicts["tcp-best"] is not ClaimVerdict.HOLDS
    # what only the paper's own text and table can decide is left open
    assert verdicts["zerotier-193"] is ClaimVerdict.UNDECIDED


def of_planes(study: Study, netbird: str) -> Study:
    """The study as if NetBird had been carried by another data plane; the order of solutions as the paper's."""
    plane = pl.when(pl.col("scenario").str.starts_with("netbird")).then(pl.lit(netbird))
    rates = pl.col("rate_mbit_s") * pl.when(pl.col("scenario") == "netbird-direct").then(2.0).otherwise(1.0)
    samples = study.samples.with_columns(plane.otherwise("data_plane").alias("data_plane"), rates)
    return build_study(samples, study.api)


def test_no_ranking_across_data_planes(handmade: Study) -> None:
    """NetBird first, as in the paper: that holds in the kernel, and is left open where it ran in userspace."""
    here = {claim.id: claim for claim in found(of_planes(handmade, "kernel"))}
    assert here["stable"].verdict is ClaimVerdict.HOLDS
    there = {claim.id: claim for claim in found(of_planes(handmade, "userspace"))}
    assert there["stable"].verdict is ClaimVerdict.UNDECIDED
    assert "netbird-direct: userspace here, kernel there" in there["stable"].because
    assert (there["loss-relay"].verdict, there["loss-relay"].because) == (
        here["loss-relay"].verdict, here["loss-relay"].because,
    )  # fmt: skip


def test_samples_too_small_for_a_test_decide_nothing() -> None:
    """Three repetitions a cell (four, one failed) have no p: no claim on an order holds or fails by them."""
    verdicts = {claim.id: claim.verdict for claim in found(of_planes(made(4), "kernel"))}
    assert {verdicts[name] for name in ("stable", "delay", "tcp-relays-lossy", "loss-relay", "loss-tcp")} == {
        ClaimVerdict.UNDECIDED
    }


def test_no_data_is_no_verdict(handmade: Study) -> None:
    """Without a single cell every claim on figures is undecided, none holds by default."""
    tables = {name: frame.clear() for name, frame in handmade.tables.items()}
    empty = Study(handmade.samples.clear(), handmade.api.limit(0), tables)
    measured = [claim for claim in found(empty) if not any(one.table == "criteria" for one in claim.evidence)]
    assert {claim.verdict for claim in measured} == {ClaimVerdict.UNDECIDED}


def renamed(study: Study, names: dict[str, str]) -> Study:
    """The study with scenarios called by other names, and those that have none left out."""
    samples = study.samples.filter(pl.col("scenario").is_in(list(names)))
    return build_study(samples.with_columns(pl.col("scenario").replace(names)), study.api.limit(0))


def test_pairs_of_others_decide_nothing_of_the_papers() -> None:
    """Both baselines and two VPNs that the paper never had, all different: its "all pairs differ" stays open."""
    names = {
        "native-1450": "native-1450",
        "native-1230": "native-1230",
        "netbird-direct": "nebula-direct",
        "headscale-direct": "wireguard-direct",
    }
    study = renamed(made(), names)
    assert study.tables["pairwise"].filter(test="udp", condition="none")["reject"].all()
    verdicts = {claim.id: claim for claim in found(study)}
    assert verdicts["udp-pairs"].verdict is ClaimVerdict.UNDECIDED
    assert "27 pairs are missing" in verdicts["tcp-pairs"].because
    cited = {value for one in verdicts["udp-pairs"].evidence for value in one.row.values()}
    assert {"nebula-direct", "wireguard-direct"}.isdisjoint(cited)


def test_no_pairs_across_data_planes(paper: Study) -> None:
    """All UDP pairs are tested; where NetBird ran in userspace the claim is left open, whoever else differs."""
    here = {claim.id: claim for claim in found(paper)}
    assert (here["udp-pairs"].verdict, here["api-pairs"].verdict) == (ClaimVerdict.PARTLY, ClaimVerdict.HOLDS)
    plane = pl.when(pl.col("scenario").str.starts_with("netbird")).then(pl.lit("userspace"))
    other = replace(paper, samples=paper.samples.with_columns(plane.alias("data_plane")))
    there = {claim.id: claim for claim in found(other)}
    for name in ("udp-pairs", "tcp-pairs", "api-pairs", "udp-high-cpu", "stable"):
        assert there[name].verdict is ClaimVerdict.UNDECIDED, name
        assert "netbird-direct: userspace here, kernel there" in there[name].because
    assert there["loss-relay"].verdict is here["loss-relay"].verdict


def test_the_claim_on_udp_pairs_counts_each_condition(paper: Study) -> None:
    """Undisturbed all 28 pairs differ, as the paper says; at 250 ms ten do not, and the evidence names each."""
    claim = next(claim for claim in found(paper) if claim.id == "udp-pairs")
    assert "20 of 196 pairs do not differ" in claim.because
    assert "undisturbed 0, loss 1 % 1" in claim.because
    assert "delay 250 ms 10" in claim.because
    assert len(claim.evidence) == 20
    assert all(one.figures["p"] > 0.05 for one in claim.evidence)


def test_the_claims_on_udp_cpu_rest_on_both_ends(paper: Study) -> None:
    """NetBird's relay needs more than Headscale's in all seven conditions, and more than any other undisturbed."""
    verdicts = {claim.id: claim for claim in found(paper)}
    assert "than headscale in 20 of 28 cells" in verdicts["udp-low-cpu"].because
    assert "most CPU of both ends in 7 of 14 cells" in verdicts["udp-high-cpu"].because
    cited = {
        one.row["scenario"]: one for one in verdicts["udp-low-cpu"].evidence if one.row["condition"] == "none"
    }
    both = {name: sum(one.figures.values()) for name, one in cited.items()}
    assert both["netbird-relay"] == max(both.values())
    assert (round(both["netbird-relay"], 2), round(both["headscale-relay"], 2)) == (81.64, 72.57)


def test_what_rests_on_the_papers_word_alone_does_not_hold(paper: Study) -> None:
    """Four claims on features have the paper as their only source: they are marked so, and none says "holds"."""
    verdicts = {claim.id: claim.verdict for claim in found(paper)}
    facts = ("self-hosting", "fallback", "granular-acl", "web-ui")
    assert {name: verdicts[name] for name in facts} == dict.fromkeys(facts, ClaimVerdict.AS_SAID)
    assert verdicts["acl-restart"] is ClaimVerdict.CONTRADICTED


def test_another_source_makes_a_fact_hold(paper: Study) -> None:
    """The same fact by somebody else on the same day confirms the claim; one that says otherwise contradicts it."""
    catalogue = criteria.load()
    other = StatementSource("test", "somebody else", "https://example.org")

    def told(value: Value) -> CriteriaCatalogue:
        facts = [
            replace(fact, claimed=value, verified=value, source=other)
            if (fact.product, fact.topic) == ("headscale", "granular-acl")
            else fact
            for fact in catalogue.facts
        ]
        return replace(catalogue, facts=tuple(facts))

    def verdict(value: Value) -> ClaimVerdict:
        return next(one.verdict for one in found(paper, told(value)) if one.id == "granular-acl")

    assert (verdict(Value.MET), verdict(Value.UNMET)) == (ClaimVerdict.HOLDS, ClaimVerdict.CONTRADICTED)


def test_the_figure_that_text_and_table_print_differently(paper: Study, tcp_only: Study) -> None:
    """Repetitions give the table's 183.11 and not the text's 193.11; without them the printed ratio says the same."""
    claims_of = [next(one for one in found(study) if one.id == "zerotier-193") for study in (paper, tcp_only)]
    assert [claim.verdict for claim in claims_of] == [ClaimVerdict.CONTRADICTED] * 2
    assert "the mean of 9 repetitions, 183.11 Mbit/s, is 183.11" in claims_of[0].because
    assert "the printed ratio to native-1230, 1.02, fits 183.11" in claims_of[1].because


def test_without_udp_repetitions_three_claims_stay_open(tcp_only: Study) -> None:
    """Means alone test no pair and hold no CPU."""
    verdicts = {claim.id: claim.verdict for claim in found(tcp_only)}
    assert {verdicts[name] for name in ("udp-pairs", "udp-low-cpu", "udp-high-cpu")} == {
        ClaimVerdict.UNDECIDED
    }


def test_the_table_has_a_row_per_claim_with_its_evidence(paper: Study) -> None:
    """claims.csv carries ids, verdicts and the cells in words."""
    frame = table(found(paper))
    assert frame.columns == ["claim_id", "section", "claim", "verdict", "because", "evidence"]
    assert frame["claim_id"].is_unique().all()
    stable = frame.filter(claim_id="stable")
    assert "netbird-direct 707.5 against zerotier-direct 303 Mbit/s" in stable["evidence"][0]
