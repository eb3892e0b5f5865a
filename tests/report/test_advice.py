"""Advice and claims: the paper's conclusions from its data, and that other data or facts give other answers."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from vpnmesh.criteria import data as criteria
from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue, DatedFact, How, StatementSource, Value
from vpnmesh.errors import InputError
from vpnmesh.reference import paper_tables
from vpnmesh.reference.data import paper_data
from vpnmesh.report.judgement.advice import Advice, advise
from vpnmesh.report.judgement.claim_verdicts import ClaimVerdict
from vpnmesh.report.judgement.claims import Claim, claims
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.ranking import Ranked
from vpnmesh.report.judgement.requirements import NEEDS, needs_named
from vpnmesh.report.tables import Study
from workflows import report
from workflows.reporting.presenting import PAPER_DATE, advice_json, facts_date
from workflows.reporting.studies import study_of

SOURCE = StatementSource("test", "a test", "")


def advice_on(study: Study, catalogue: CriteriaCatalogue | None = None, on: date = PAPER_DATE) -> Advice:
    return advise(Readings(study, paper_tables()), catalogue or criteria.load(), NEEDS, on)


def ranks(advice: Advice, need: str) -> list[tuple[int, str]]:
    found = advice.need(need)
    assert found is not None
    return [(place.rank, place.solution) for place in found.ranking]


def claim(study: Study, name: str) -> Claim:
    found = claims(Readings(study, paper_tables()), criteria.load(), PAPER_DATE)
    return next(one for one in found if one.id == name)


def texts(advice: Advice, need: str) -> str:
    found = advice.need(need)
    assert found is not None
    return " ".join(sentence.text for sentence in found.sentences)


# ---- the paper's conclusions, from the paper's data


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        ("stable", [(1, "netbird"), (2, "zerotier"), (3, "headscale")]),
        ("delay", [(1, "zerotier"), (1, "headscale"), (3, "netbird")]),
        ("loss-tcp", [(1, "zerotier"), (2, "headscale"), (3, "netbird")]),
        ("loss-udp", [(1, "netbird"), (2, "zerotier"), (3, "headscale")]),
        ("udp-blocked", [(1, "zerotier"), (2, "headscale")]),
        ("granular-acl", [(1, "headscale")]),
        ("web-ui", [(1, "netbird")]),
        ("fast-fallback", [(1, "headscale")]),
    ],
)
def test_the_papers_data_give_its_conclusions(
    paper: Study, need: str, expected: list[tuple[int, str]]
) -> None:
    """Section 5: NetBird on stable links and for lossy UDP, the others under delay and for lossy TCP, and so on."""
    assert ranks(advice_on(paper), need) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tcp-pairs", ClaimVerdict.HOLDS),
        ("tcp-pairs-impaired", ClaimVerdict.PARTLY),
        ("tcp-relays-lossy", ClaimVerdict.PARTLY),
        ("zerotier-least-cpu", ClaimVerdict.PARTLY),
        ("netbird-relay-cpu", ClaimVerdict.HOLDS),
        ("headscale-most-cpu", ClaimVerdict.HOLDS),
        ("udp-identical", ClaimVerdict.CONTRADICTED),
        ("udp-pairs", ClaimVerdict.PARTLY),
        ("udp-low-cpu", ClaimVerdict.PARTLY),
        ("udp-high-cpu", ClaimVerdict.PARTLY),
        ("api-pairs", ClaimVerdict.HOLDS),
        ("zerotier-193", ClaimVerdict.CONTRADICTED),
        ("api-rate", ClaimVerdict.CONTRADICTED),
        ("stable", ClaimVerdict.HOLDS),
        ("delay", ClaimVerdict.PARTLY),
        ("loss-tcp", ClaimVerdict.PARTLY),
        ("loss-relay", ClaimVerdict.HOLDS),
        ("loss-udp", ClaimVerdict.HOLDS),
        ("acl-restart", ClaimVerdict.CONTRADICTED),
    ],
)
def test_each_claim_has_the_verdict_of_the_data(paper: Study, name: str, expected: ClaimVerdict) -> None:
    """Checked by hand against Tables A1 and A2 and the published files."""
    assert claim(paper, name).verdict is expected


def test_a_contradiction_names_the_cells(paper: Study) -> None:
    """At 1 % loss Headscale's relay is below both baselines, which the claim's reason says."""
    because = claim(paper, "tcp-relays-lossy").because
    assert "headscale-relay 163.3 against native-1450 211.2 Mbit/s" in because
    assert "better than the baseline in 10 of 12 cells" in because


def test_published_means_are_marked_wherever_they_are_used(tcp_only: Study) -> None:
    """Without UDP samples every UDP citation says that it is Table A2 and carries no p."""
    need = advice_on(tcp_only).need("loss-udp")
    assert need is not None
    cited = [evidence for sentence in need.sentences for evidence in sentence.evidence]
    assert len(cited) > 5
    assert [one.text for one in cited if "Table A2" not in one.text or "p_holm" in one.figures] == []
    assert {one.table for one in cited} == {"paper-A2"}


def test_published_means_never_mix_with_measured_ones(handmade: Study) -> None:
    """A run of one's own gets nothing from the paper's tables, not even where it has no UDP."""
    tcp = replace(
        handmade,
        tables={**handmade.tables, "throughput": handmade.tables["throughput"].filter(test="tcp")},
    )
    readings = Readings(tcp, paper_tables())
    assert (readings.is_the_papers, readings.tests()) == (False, ("tcp",))
    assert ranks(advice_on(tcp), "loss-udp") == []
    assert "Undecided" in texts(advice_on(tcp), "loss-udp")


def test_every_sentence_on_figures_cites_them(paper: Study) -> None:
    """No ranking without cells: each sentence of a measured need has evidence with figures."""
    bare = [
        sentence.text
        for need in advice_on(paper).needs
        for sentence in need.sentences
        if not sentence.evidence or not all(one.text for one in sentence.evidence)
    ]
    assert bare == []


# ---- other data, other answers


@pytest.fixture(scope="session")
def swapped() -> Study:
    """The paper's TCP data with the figures of Headscale direct and NetBird direct exchanged."""
    found, names = paper_data(), {"headscale-direct": "netbird-direct", "netbird-direct": "headscale-direct"}
    samples = found.samples.filter(pl.col("test") != "udp").with_columns(pl.col("scenario").replace(names))
    return study_of(replace(found, samples=samples, api=found.api.limit(0)))


def test_swapping_two_scenarios_swaps_the_advice(swapped: Study) -> None:
    """With the figures exchanged Headscale is the best on stable links and NetBird the last."""
    assert ranks(advice_on(swapped), "stable") == [(1, "headscale"), (2, "zerotier"), (3, "netbird")]


def test_swapping_two_scenarios_changes_the_verdicts(swapped: Study) -> None:
    """The claims follow the figures: another pair is the one that does not differ, NetBird is not the best."""
    assert claim(swapped, "stable").verdict is not ClaimVerdict.HOLDS
    assert claim(swapped, "tcp-best").verdict is not ClaimVerdict.HOLDS
    assert "native-1230/headscale-direct" in claim(swapped, "tcp-pairs").because
    assert claim(swapped, "tcp-pairs").verdict is not ClaimVerdict.HOLDS


def flipped(catalogue: CriteriaCatalogue, product: str, topic: str, value: Value) -> CriteriaCatalogue:
    def changed(fact: DatedFact) -> DatedFact:
        mine = (fact.product, fact.topic, fact.date) == (product, topic, PAPER_DATE)
        return replace(fact, claimed=value, verified=value) if mine else fact

    return replace(
        catalogue,
        facts=tuple(map(changed, catalogue.facts)),
        usability=tuple(map(changed, catalogue.usability)),
    )


def test_a_flipped_cell_moves_a_solution_behind_those_that_qualify(paper: Study) -> None:
    """NetBird without unattended registration fails an essential criterion: last, with the reason, and excluded."""
    advice = advice_on(paper, flipped(criteria.load(), "netbird", "unattended-registration", Value.UNMET))
    need = advice.need("stable")
    assert need is not None
    assert [(p.solution, p.qualifies, p.fails) for p in need.ranking][-1] == (
        "netbird", False, ("unattended-registration",),
    )  # fmt: skip
    assert any("Netbird is excluded: Unattended registration: unmet" in text for text in advice.excluded)


def test_a_flipped_relay_takes_a_solution_out_of_blocked_networks(paper: Study) -> None:
    """Where ZeroTier's TCP relay did not work, Headscale alone is left, and the sentence says why."""
    advice = advice_on(paper, flipped(criteria.load(), "zerotier", "relay-tcp", Value.UNMET))
    assert ranks(advice, "udp-blocked") == [(1, "headscale")]
    assert "Headscale alone was measured" in texts(advice, "udp-blocked")
    assert "ZeroTier is left out: relay-tcp is unmet" in texts(advice, "udp-blocked")


def test_a_flipped_fact_changes_a_fact_need(paper: Study) -> None:
    """Granular ACLs taken from Headscale leave nobody; given to NetBird they put it first."""
    without = flipped(criteria.load(), "headscale", "granular-acl", Value.UNMET)
    assert ranks(advice_on(paper, without), "granular-acl") == []
    given = flipped(without, "netbird", "granular-acl", Value.MET)
    assert ranks(advice_on(paper, given), "granular-acl") == [(1, "netbird")]


def test_later_facts_change_later_advice(paper: Study) -> None:
    """By the end of 2026 NetBird falls back in seconds and has rules by port; in 2023 it had neither."""
    later = advice_on(paper, on=date(2026, 11, 23))
    assert "netbird" in [solution for _, solution in ranks(later, "fast-fallback")]
    assert "netbird" in [solution for _, solution in ranks(later, "granular-acl")]


def test_a_new_row_beside_the_old_one_decides_from_its_date_on(paper: Study) -> None:
    """A web interface that ZeroTier ships in 2030 counts in 2030 and not before."""
    fact = DatedFact("zerotier", "web-ui", date(2030, 1, 1), Value.MET, Value.UNKNOWN, How.DOCS, SOURCE)
    catalogue = replace(criteria.load(), usability=(*criteria.load().usability, fact))
    assert "zerotier" not in [name for _, name in ranks(advice_on(paper, catalogue), "web-ui")]
    assert "zerotier" in [name for _, name in ranks(advice_on(paper, catalogue, date(2030, 1, 1)), "web-ui")]


def test_scores_within_five_percent_share_a_rank(handmade: Study) -> None:
    """Two solutions with the same figures are matched, and the advice names both."""
    frame = handmade.tables["throughput"]
    rows = [
        {**row, "mean_mbit_s": 100.0 if row["scenario"].startswith(("headscale", "netbird")) else 50.0}
        for row in frame.to_dicts()
    ]
    table = frame.clear().vstack(type(frame)(rows, schema=frame.schema))
    study = replace(handmade, tables={**handmade.tables, "throughput": table})
    assert ranks(advice_on(study), "stable") == [(1, "headscale"), (1, "netbird"), (3, "zerotier")]
    assert "Take Headscale or Netbird" in texts(advice_on(study), "stable")


def test_solutions_beyond_table_1_do_not_qualify_unseen(handmade: Study) -> None:
    """Static WireGuard is ranked behind what qualifies, for it is not in Table 1."""
    frame = handmade.tables["throughput"]
    rows = [{**row, "scenario": row["scenario"].replace("netbird", "wireguard")} for row in frame.to_dicts()]
    study = replace(
        handmade, tables={**handmade.tables, "throughput": type(frame)(rows, schema=frame.schema)}
    )
    need = advice_on(study).need("stable")
    assert need is not None
    assert (need.ranking[-1].solution, need.ranking[-1].fails) == ("wireguard", ("not in Table 1",))


def test_a_solution_with_gaps_is_named_and_not_ranked(handmade: Study) -> None:
    """ZeroTier has no figure at 5 % loss: it stands in no ranking over losses, and a sentence says so."""
    advice = advice_on(handmade)
    assert "zerotier" not in [solution for _, solution in ranks(advice, "loss-tcp")]
    assert "ZeroTier is not ranked: measured in 1 of 2 cells." in texts(advice, "loss-tcp")


def test_a_path_of_one_solution_alone_does_not_push_the_others_out(handmade: Study) -> None:
    """Without ZeroTier only Headscale is relayed: the comparison of direct paths stands by itself."""
    frame = handmade.tables["throughput"]
    rows = [row for row in frame.to_dicts() if row["scenario"] != "zerotier-relay"]
    study = replace(
        handmade, tables={**handmade.tables, "throughput": type(frame)(rows, schema=frame.schema)}
    )
    assert ranks(advice_on(study), "delay") == [(1, "headscale"), (2, "netbird")]


def test_a_relay_over_tcp_is_a_relayed_path(handmade: Study) -> None:
    """NetBird's relay over TCP is held against other relays, whatever its name ends in; a scenario says its path."""
    frame = handmade.tables["throughput"]
    rows = [
        {
            **row,
            "scenario": row["scenario"].replace("zerotier-relay", "netbird-relay-tcp"),
            "mean_mbit_s": 500.0 if row["scenario"] == "zerotier-relay" else row["mean_mbit_s"],
        }
        for row in frame.to_dicts()
        if row["scenario"] != "netbird-direct"
    ]
    study = replace(
        handmade, tables={**handmade.tables, "throughput": type(frame)(rows, schema=frame.schema)}
    )
    assert ranks(advice_on(study), "delay")[0] == (1, "netbird")


def test_a_relay_is_held_against_its_own_direct_path(handmade: Study) -> None:
    """Headscale's relay, made faster than its direct path, is preferred; the two are found by what they are."""
    frame = handmade.tables["throughput"]
    rows = [
        {**row, "mean_mbit_s": 800.0 if row["scenario"] == "headscale-relay" else row["mean_mbit_s"]}
        for row in frame.to_dicts()
    ]
    study = replace(
        handmade, tables={**handmade.tables, "throughput": type(frame)(rows, schema=frame.schema)}
    )
    assert "Headscale: prefer its relay to the direct path, in 2 of 2 cells." in texts(
        advice_on(study), "stable"
    )


# ---- the command


def test_facts_are_as_of_the_data(paper: Study, handmade: Study) -> None:
    """The paper's data are judged by the paper's date, a run by its last repetition."""
    catalogue = criteria.load()
    assert facts_date(Readings(paper, paper_tables()), catalogue) == PAPER_DATE
    assert facts_date(Readings(handmade, paper_tables()), catalogue) == date(2026, 1, 1)


def test_advice_json_holds_everything(paper: Study) -> None:
    """A program finds needs, ranks, sentences, evidence and the paper's conclusions."""
    found = json.loads(advice_json(advice_on(paper)))
    assert (found["schema_version"], found["on"], found["basis"]) == (1, "2023-06-17", str(Basis.CLAIMED))
    assert [need["need"] for need in found["needs"]] == [need.id for need in NEEDS]
    pair = found["needs"][0]["sentences"][1]["evidence"][0]
    assert pair["row"] == {"test": "tcp", "condition": "none", "a": "netbird-direct", "b": "zerotier-direct"}
    assert {"ratio", "p", "p_holm"} <= pair["figures"].keys()
    assert "holds" in {conclusion["verdict"] for conclusion in found["conclusions"]}


def test_who_fails_a_criterion_is_told_with_it() -> None:
    """A better score behind a worse one is explained on the spot."""
    failing = Ranked(3, "zerotier", 1.0, qualifies=False, fails=("open-source", "recent-release"))
    assert report.place(failing) == "3. zerotier (fails open-source, recent-release)"
    assert report.place(Ranked(1, "netbird", 0.6, qualifies=True, fails=())) == "1. netbird"


@pytest.mark.slow
def test_the_command_writes_the_advice_for_the_needs_asked(tmp_path: Path) -> None:
    """--need picks needs; figures, page and archive are there, and the archive holds no secret name."""
    out = tmp_path / "out"
    arguments = ["--paper", "--out", str(out), "--need", "stable,web-ui", "--bundle"]
    result = CliRunner().invoke(report.main, arguments)
    assert result.exit_code == 0, result.output
    assert "stable: 1. netbird, 2. zerotier, 3. headscale\n" in result.output
    assert [need["need"] for need in json.loads((out / "advice.json").read_text())["needs"]] == [
        "stable",
        "web-ui",
    ]
    assert {"report.html", "report.md", "bundle.zip", "results.parquet"} <= {
        path.name for path in out.iterdir()
    }
    assert (out / "figures" / "fig1-tcp.svg").exists()
    assert (out / "report.html").stat().st_size < 10_000_000


def test_an_unknown_need_is_a_sentence_that_lists_the_known(tmp_path: Path) -> None:
    """Exit code 2, nothing written, the right names in the message."""
    arguments = ["--paper", "--out", str(tmp_path / "o"), "--need", "speed"]
    result = CliRunner().invoke(report.main, arguments)
    assert result.exit_code == 2
    assert "unknown need 'speed'; known are: stable, delay" in result.stderr
    assert not (tmp_path / "o").exists()


def test_needs_keep_their_own_order() -> None:
    """The order of the question does not change the report."""
    assert [need.id for need in needs_named(["web-ui", "stable"])] == ["stable", "web-ui"]
    with pytest.raises(InputError):
        needs_named(["nothing"])
