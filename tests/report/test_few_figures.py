"""What few figures may say: no interval, no trend, no test, and no advice; and what is slow start is not the VPN's."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.report.test_runs import Line, advice_on, line, rate, report, rows, run
from vpnmesh.reference import paper_tables
from vpnmesh.report.comparable import Cells
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.tables import Study
from workflows.reporting.studies import study_from_run

PROFILE = {"name": "custom", "duration_s": 1, "omit_s": 1, "placement": {"limit": None}}
RATES = {"native-1450": 900.0, "headscale-direct": 300.0, "netbird-direct": 400.0, "zerotier-direct": 250.0}


def lines(
    repetitions: int, conditions: tuple[str, ...] = ("none",), tests: tuple[str, ...] = ("tcp",)
) -> list[Line]:
    """Repetitions of four scenarios, far apart; a step per repetition, so that figures differ."""
    return [
        {**line(name, test, rate(mean + n), n, condition), "elapsed_s": 15.0}
        for name, mean in RATES.items()
        for condition in conditions
        for test in tests
        for n in range(1, repetitions + 1)
    ]


def study(folder: Path, events: list[Line], **manifest: object) -> Study:
    made = run(folder, events)
    known = json.loads((made / "manifest.json").read_text()) | {"profile": PROFILE} | manifest
    (made / "manifest.json").write_text(json.dumps(known))
    return study_from_run(made)


# ---- intervals and trends


@pytest.mark.parametrize(("repetitions", "shown"), [(1, False), (2, False), (5, False), (6, True)])
def test_an_interval_needs_six_figures(tmp_path: Path, repetitions: int, *, shown: bool) -> None:
    """Of fewer there is the range, and no limits far outside it."""
    made = study(tmp_path / "run", lines(repetitions))
    for row in rows(made, "throughput"):
        assert (row["mean_low"] is not None, row["mean_high"] is not None) == (shown, shown)
        assert (row["lowest_mbit_s"], row["highest_mbit_s"]) == (
            RATES[str(row["scenario"])] + 1,
            RATES[str(row["scenario"])] + repetitions,
        )
    assert {row["ratio_low"] is not None for row in rows(made, "pairwise")} == {shown}


@pytest.mark.parametrize("repetitions", [2, 7, 8])
def test_a_trend_needs_eight_figures(tmp_path: Path, repetitions: int) -> None:
    """No trend, no autocorrelation and no line through fewer; the page says that none was drawn."""
    folder = tmp_path / "run"
    made = study(folder, lines(repetitions))
    found = {row["trend_tau"] is not None for row in rows(made, "throughput")}
    assert found == {row["lag1"] is not None for row in rows(made, "throughput")} == {repetitions >= 8}
    assert report(folder).exit_code == 0
    drawn = (folder / "report" / "figures" / "drift-tcp.svg").exists()
    text = (folder / "report" / "report.md").read_text()
    assert (drawn, "Not drawn: no cell of TCP has the 8 repetitions" in text) == (
        repetitions >= 8,
        repetitions < 8,
    )


# ---- tests and advice


@pytest.mark.parametrize(("repetitions", "tested"), [(2, False), (4, False), (5, True)])
def test_a_p_is_given_where_a_test_can_reject(tmp_path: Path, repetitions: int, *, tested: bool) -> None:
    """Six pairs: 2 x 6 / C(2n, n) is below 0.05 from n = 5 on."""
    found = rows(study(tmp_path / "run", lines(repetitions)), "pairwise")
    assert {row["p"] is not None for row in found} == {tested}
    if not tested:
        assert {row["withheld"] for row in found} == {f"{repetitions} figures, a test of these pairs needs 5"}


def test_two_figures_advise_nothing(tmp_path: Path) -> None:
    """No rank and no "Take": only what would have to be measured, with repetitions and minutes."""
    made = study(tmp_path / "run", lines(2))
    need = advice_on(made).need("stable")
    assert need is not None
    text = " ".join(sentence.text for sentence in need.sentences)
    assert (need.ranking, "Take" in text, "comes before" in text) == ((), False, False)
    assert "No ranking and no recommendation" in text
    assert "at least 5 repetitions of each cell (there are 2)" in text
    # five of each of the four scenarios at 15 s
    assert (
        "To measure, about 5 minutes: python -m workflows.full_matrix --repetitions 5 --blocks 2 --duration 1"
        in text
    )
    assert (
        "--conditions none --tests tcp --scenarios native-1450,headscale-direct,netbird-direct,zerotier"
        in text
    )
    cpu = advice_on(made).need("low-cpu")
    assert cpu is not None
    assert cpu.ranking == ()


def test_enough_figures_advise(tmp_path: Path) -> None:
    """With the fewest figures that can be tested the same data have a ranking again."""
    need = advice_on(study(tmp_path / "run", lines(5))).need("stable")
    assert need is not None
    assert [place.solution for place in need.ranking] == ["netbird", "headscale", "zerotier"]
    assert need.sentences[0].text.startswith("Take Netbird")


def test_a_lead_that_no_test_shows_is_said(tmp_path: Path) -> None:
    """NetBird's mean is a tenth above Headscale's in figures that scatter by a half: it leads, and nothing shows it."""
    spread = {
        "headscale-direct": (100.0, 200.0, 300.0, 400.0, 500.0),
        "netbird-direct": (110.0, 220.0, 330.0, 440.0, 550.0),
    }
    events = [
        {**line(name, "tcp", rate(value), n), "elapsed_s": 15.0}
        for name, values in spread.items()
        for n, value in enumerate(values, start=1)
    ]
    need = advice_on(study(tmp_path / "run", events)).need("stable")
    assert need is not None
    assert "no test shows a lead over Headscale" in need.sentences[0].text
    assert "0 of 1 are decided to differ" in need.sentences[1].text


def test_advice_tells_what_an_adaptive_run_decided(tmp_path: Path) -> None:
    """Its verdicts count, not those that its figures would get by the fixed rule."""
    found = study(tmp_path / "run", lines(6))
    equal = found.tables["verdicts"].with_columns(verdict=pl.lit("equivalent"))
    need = advice_on(replace(found, tables={**found.tables, "verdicts": equal})).need("stable")
    assert need is not None
    assert "no test shows a lead" in need.sentences[0].text
    assert "0 of 1 are decided to differ, 1 to be equal" in need.sentences[1].text


def test_one_cell_with_few_figures_spoils_only_its_solution(tmp_path: Path) -> None:
    """ZeroTier was measured twice: it is not ranked, the others are, and a sentence says so."""
    events = [one for one in lines(6) if one["scenario"] != "zerotier-direct" or one["repetition"] in {1, 2}]
    need = advice_on(study(tmp_path / "run", events)).need("stable")
    assert need is not None
    assert [place.solution for place in need.ranking] == ["netbird", "headscale"]
    assert any("ZeroTier is not ranked" in sentence.text for sentence in need.sentences)


def test_a_well_measured_cell_lacks_nothing_beside_poor_ones(tmp_path: Path) -> None:
    """Only ZeroTier has enough figures: what is missing is the others', and every reason has words."""
    events = [one for one in lines(12) if one["scenario"] == "zerotier-direct" or one["repetition"] in {1, 2}]
    made = study(tmp_path / "run", events)
    cells = Cells(Readings(made, paper_tables()))
    lacks = {name: cells.lack(("tcp", "none", name)) for name in made.scenario_order}
    assert [name for name, lack in lacks.items() if lack is None] == ["zerotier-direct"]
    need = advice_on(made).need("stable")
    assert need is not None
    assert any("(there are 2)" in sentence.text for sentence in need.sentences)


# ---- slow start


def test_one_second_under_a_long_delay_is_slow_start(tmp_path: Path) -> None:
    """TCP at 250 ms is flagged, said in words, and not tested; UDP and 50 ms are not."""
    made = study(tmp_path / "run", lines(6, ("none", "delay-50ms", "delay-250ms"), ("tcp", "udp")))
    flagged = {(row["condition"], row["test"]) for row in rows(made, "throughput") if row["slow_start"]}
    assert flagged == {("delay-250ms", "tcp")}
    warned = [str(row["warning"]) for row in rows(made, "throughput") if row["slow_start"]]
    assert all("slow start, not the VPN" in text for text in warned)
    tested = {(row["condition"], row["test"]): row["p"] is not None for row in rows(made, "pairwise")}
    assert {cell for cell, yes in tested.items() if not yes} == {("delay-250ms", "tcp")}


def test_a_bar_of_slow_start_says_so(tmp_path: Path) -> None:
    """The figure that readers look at first does not show TCP's own figure as the VPN's."""
    folder = tmp_path / "run"
    study(folder, lines(2, ("none", "delay-250ms")))
    assert report(folder).exit_code == 0
    drawn = (folder / "report" / "figures" / "fig4-tcp-means.svg").read_text()
    assert drawn.count("slow start<") == len(RATES)


def test_slow_start_ranks_nobody(tmp_path: Path) -> None:
    """A run whose delays are all slow start says for how long to measure instead of who is best."""
    made = study(tmp_path / "run", lines(6, ("none", "delay-250ms")))
    need = advice_on(made).need("delay")
    assert need is not None
    text = " ".join(sentence.text for sentence in need.sentences)
    assert (need.ranking, "Take" in text) == ((), False)
    assert "TCP under delay-250ms was slow start, not the VPN" in text
    # 11 round trips (400 Mbit/s and less) are 2.75 s, one of them omitted: 1.75 s are less than half of 4 s
    assert "--repetitions 5 --blocks 2 --duration 4 --conditions delay-250ms" in text


def test_a_minute_under_a_long_delay_is_the_vpns(tmp_path: Path) -> None:
    """The paper's sixty seconds are not flagged."""
    made = study(tmp_path / "run", lines(6, ("delay-250ms",)), profile={**PROFILE, "duration_s": 60})
    assert {row["slow_start"] for row in rows(made, "throughput")} == {False}


def test_loss_ends_slow_start(tmp_path: Path) -> None:
    """Under loss the window stops doubling at the first lost packet: nothing is flagged."""
    made = study(tmp_path / "run", lines(6, ("delay-250ms+loss-1pct",)))
    assert {row["slow_start"] for row in rows(made, "throughput")} == {None}


# ---- the queue's cap


@pytest.mark.parametrize(("said", "shown"), [(None, True), (True, True), (False, False)])
def test_the_runs_own_word_on_the_cap_wins(tmp_path: Path, said: bool | None, *, shown: bool) -> None:  # noqa: FBT001 - a value of the column
    """A queue whose true limit the run read is not judged again by the limit of the manifest."""
    events = [{**one, "near_cap": said, "rate_mbit_s": 44.0} for one in lines(6, ("delay-250ms",), ("udp",))]
    made = study(tmp_path / "run", events, profile={**PROFILE, "placement": {"limit": 1000}})
    assert {row["near_cap"] for row in rows(made, "throughput")} == {shown}


# ---- what each VPN's own processes cost


def test_the_solutions_own_load_is_in_the_resources(tmp_path: Path) -> None:
    """CPU and RAM of the VPN's processes per end; a kernel data plane has none."""
    load = {"client_cpu_pct": 80.0, "client_ram_mb": 200.0}
    own = {**load, "client_solution_cpu_pct": 55.0, "client_solution_ram_mb": 40.0}
    events = [{**one, **(own if one["scenario"] == "headscale-direct" else load)} for one in lines(2)]
    folder = tmp_path / "run"
    found = {row["scenario"]: row for row in rows(study(folder, events), "resources")}
    headscale, native = found["headscale-direct"], found["native-1450"]
    assert (headscale["solution_cpu_pct_mean"], headscale["solution_ram_mb_mean"]) == (55.0, 40.0)
    assert (native["solution_cpu_pct_mean"], native["solution_ram_mb_mean"]) == (None, None)
    assert report(folder).exit_code == 0
    assert "VPN's own CPU, %" in (folder / "report" / "report.md").read_text()
    assert "solution_cpu_pct_mean" in pl.read_csv(folder / "report" / "tables" / "resources.csv").columns
