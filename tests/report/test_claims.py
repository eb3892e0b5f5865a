"""The table of claims in the documentation is the computed one."""

import os
from pathlib import Path

from vpnmesh.criteria.catalogue import Catalogue
from vpnmesh.reference import paper_tables
from vpnmesh.report.checks import Verdict
from vpnmesh.report.claims import Claim, claims, table
from vpnmesh.report.evidence import Readings
from vpnmesh.report.tables import Study
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
