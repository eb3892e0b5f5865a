"""Advice with what live checks found: a verified value counts before a claimed one, in who qualifies, too."""

from pathlib import Path

import pytest

from vpnmesh.criteria import data as criteria
from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Finding
from vpnmesh.criteria.verified import Verification
from vpnmesh.errors import InputError
from vpnmesh.reference import paper_tables
from vpnmesh.report.judgement.advice import Advice
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.tables import Study
from workflows.reporting.presenting import facts_date, judge

NEED = ("granular-acl",)


def advice(study: Study, folder: Path | None) -> Advice:
    found = judge(study, NEED, folder).advice
    assert found is not None
    return found


@pytest.fixture
def folder(handmade: Study, tmp_path: Path) -> Path:
    """Of the study's own day: granular rules that did not hold, and coarse ones that did not either."""
    day = facts_date(Readings(handmade, paper_tables()), criteria.load())
    findings = (
        Finding("granular-acl", Value.UNMET, "the other port passed", 1.0),
        Finding("acl", Value.UNMET, "packets passed", 1.0),
    )
    found = Verification(1, "headscale", {"headscale": "0.29.2"}, day, "lab", "lab", findings)
    (tmp_path / "headscale").mkdir()
    (tmp_path / "headscale" / "verification.json").write_bytes(found.to_json())
    return tmp_path


def test_what_was_tried_counts_before_what_is_claimed(handmade: Study, folder: Path) -> None:
    before, after = advice(handmade, None).need(NEED[0]), advice(handmade, folder).need(NEED[0])
    assert before is not None
    assert after is not None
    assert "headscale" in [one.solution for one in before.ranking]
    assert "headscale" not in [one.solution for one in after.ranking]
    assert any("checked live on lab" in str(one.evidence) for one in after.sentences)


def test_a_criterion_that_was_found_unmet_excludes(handmade: Study, folder: Path) -> None:
    excluded = " ".join(advice(handmade, folder).excluded)
    assert "Headscale is excluded: " in excluded
    assert "Access control: unmet (checked live on lab" in excluded
    assert "Access control: unmet (checked live" not in " ".join(advice(handmade, None).excluded)


def test_a_folder_without_any_is_a_sentence(handmade: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no verification\.json; name the folder that --verify wrote"):
        judge(handmade, NEED, tmp_path)
