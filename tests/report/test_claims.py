"""The table of claims in the documentation is the computed one."""

import os
from pathlib import Path

import polars as pl

from tests.report.conftest import made
from vpnmesh.criteria.catalogue import Catalogue
from vpnmesh.reference import paper_tables
from vpnmesh.report.checks import Verdict
from vpnmesh.report.claims import Claim, claims, table
from vpnmesh.report.evidence import Readings
from vpnmesh.report.tables import Study, build_study
from workflows import criteria
from workflows.presenting import PAPER_DATE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "claims.md"


def found(study: Study, catalogue: Catalogue | None = None) -> tuple[Claim, ...]:
    return claims(Readings(study, paper_tables()), catalogue or criteria.load(), PAPER_DATE)


def written(study: Study) -> str:
    rows = [
        f"| {claim.section} | {claim.claim} | {claim.verdict} | {claim.because.replace('|', '/')} |"
        for claim in found(study)
    ]
    head = [
        "# Does what the paper says follow from its data?",
        "",
        "Computed from the published files (TCP; three of ten API runs) and, for UDP, Table A2's means.",
        "Verdicts are made by `vpnmesh/report/claims.py`; a test compares this page with them, and",
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
    assert verdicts["tcp-best"] is not Verdict.HOLDS
    # what only the paper's own text and table can decide is left open
    assert verdicts["zerotier-193"] is Verdict.UNDECIDED


def of_planes(study: Study, netbird: str) -> Study:
    """The study as if NetBird had been carried by another data plane; the order of solutions as the paper's."""
    plane = pl.when(pl.col("scenario").str.starts_with("netbird")).then(pl.lit(netbird))
    rates = pl.col("rate_mbit_s") * pl.when(pl.col("scenario") == "netbird-direct").then(2.0).otherwise(1.0)
    samples = study.samples.with_columns(plane.otherwise("data_plane").alias("data_plane"), rates)
    return build_study(samples, study.api)


def test_no_ranking_across_data_planes(handmade: Study) -> None:
    """NetBird first, as in the paper: that holds in the kernel, and is left open where it ran in userspace."""
    here = {claim.id: claim for claim in found(of_planes(handmade, "kernel"))}
    assert here["stable"].verdict is Verdict.HOLDS
    there = {claim.id: claim for claim in found(of_planes(handmade, "userspace"))}
    assert there["stable"].verdict is Verdict.UNDECIDED
    assert "netbird-direct: userspace here, kernel there" in there["stable"].because
    assert (there["loss-relay"].verdict, there["loss-relay"].because) == (
        here["loss-relay"].verdict, here["loss-relay"].because,
    )  # fmt: skip


def test_samples_too_small_for_a_test_decide_nothing() -> None:
    """Three repetitions a cell (four, one failed) have no p: no claim on an order holds or fails by them."""
    verdicts = {claim.id: claim.verdict for claim in found(of_planes(made(4), "kernel"))}
    assert {verdicts[name] for name in ("stable", "delay", "tcp-relays-lossy", "loss-relay", "loss-tcp")} == {
        Verdict.UNDECIDED
    }


def test_no_data_is_no_verdict(handmade: Study) -> None:
    """Without a single cell every claim on figures is undecided, none holds by default."""
    tables = {name: frame.clear() for name, frame in handmade.tables.items()}
    empty = Study(handmade.samples.clear(), handmade.api.limit(0), tables)
    measured = [claim for claim in found(empty) if not any(one.table == "criteria" for one in claim.evidence)]
    assert {claim.verdict for claim in measured} == {Verdict.UNDECIDED}


def test_the_table_has_a_row_per_claim_with_its_evidence(paper: Study) -> None:
    """claims.csv carries ids, verdicts and the cells in words."""
    frame = table(found(paper))
    assert frame.columns == ["claim_id", "section", "claim", "verdict", "because", "evidence"]
    assert frame["claim_id"].is_unique().all()
    stable = frame.filter(claim_id="stable")
    assert "netbird-direct 707.5 against zerotier-direct 303 Mbit/s" in stable["evidence"][0]
