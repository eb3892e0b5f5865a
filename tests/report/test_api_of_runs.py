"""A run's API requests in its report: read from its raw files, beside the paper's, and what they contradict."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.measurements.cases import cases
from tests.report.test_every_test import START
from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import pairs_of
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from vpnmesh.report.api_paper import PAPER, api_words, with_papers
from vpnmesh.report.compose import compose
from vpnmesh.report.figures import figures
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, journal_line
from workflows.reporting.studies import study_from_run

PAIR = Pair("worker1", "k8s-master")


def run(folder: Path, repetitions: int = 1, **manifest: object) -> Path:
    """A run of both tests over two scenarios, whose requests are the captured ones; one repetition failed."""
    lines = []
    for scenario in ("native-1450", "netbird-direct"):
        for test in ("api", "api-hey"):
            (case,) = cases(test)
            for number in range(1, repetitions + 1):
                raw = f"raw/{scenario}/none/{test}/worker1-to-k8s-master/{number}"
                (folder / raw).mkdir(parents=True)
                (folder / raw / "requests.csv").write_text(case.raw["requests.csv"])
                figures_ = tuple(Sample(name, value) for name, value in case.figures.items())
                lines.append(line(scenario, test, number, Measured(figures_), raw))
    lines.append(line("native-1450", "api", 99, Failed("api-server", "etcd ended"), ""))
    (folder / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, **manifest}))
    (folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder


def line(scenario: str, test: str, number: int, outcome: Outcome, raw: str) -> dict[str, object]:
    """A repetition as a run journals it."""
    cell = Cell(scenario, "none", test, PAIR)
    return journal_line(Record(cell, number, outcome, START, visit=1, sequence=number, raw=raw))


def test_requests_flow_into_the_table_beside_the_papers(tmp_path: Path) -> None:
    """Both ways to ask; the paper's mean and rate stand where the same was asked."""
    study = study_from_run(run(tmp_path))
    table = study.tables["api"].select("scenario", "mode", "requests", "failed", "saturated", "paper_mean_s")
    assert table.with_columns(pl.col("paper_mean_s").round(3)).rows() == [
        ("native-1450", "hey", 500, 0, True, 0.25),
        ("native-1450", "open-loop", 50, 0, False, None),
        ("netbird-direct", "hey", 500, 0, True, 0.278),
        ("netbird-direct", "open-loop", 50, 0, False, None),
    ]
    told = " ".join(one.text for one in api_words(study.tables["api"], study.tables["pairwise"]))
    assert "in 2 of 2 scenarios all its workers were waiting" in told
    assert "The paper's published files have 356 to 39" in told
    assert "a median of 12.7 ms, against 1,525 ms under hey: 99 %" in told
    assert "that needs 6 runs of each by the clock, and there are 1." in told


@pytest.mark.slow
def test_an_order_is_told_from_enough_runs_on(tmp_path: Path) -> None:
    """Six alike: no pair is the other way round."""
    study = study_from_run(run(tmp_path, 6))
    told = [one.text for one in api_words(study.tables["api"], study.tables["pairwise"])]
    assert told[-1] == "By the clock 0 of 1 pairs differ the other way round than in the paper's Figure 3."


@pytest.mark.slow
def test_the_figure_has_a_panel_for_the_papers(tmp_path: Path) -> None:
    """Of the run's scenarios alone; the distribution has it too."""
    study = study_from_run(run(tmp_path))
    drawn = figures(study)
    for name in ("fig3-api", "distribution-api"):
        assert all(words in drawn[name] for words in ("undisturbed, hey", "undisturbed, open-loop", PAPER))
    both = with_papers(study.api, ("native-1450",)).filter(mode=PAPER).collect()
    assert set(both["scenario"]) == {"native-1450"}
    assert compose(study, drawn).sections


def test_requests_that_are_gone_are_a_note(tmp_path: Path) -> None:
    """The figures are in the journal, the requests were in raw/."""
    folder = run(tmp_path)
    for path in folder.rglob("requests.csv"):
        path.unlink()
    study = study_from_run(folder)
    assert study.tables["api"].is_empty()
    assert "api: the requests of 2 repetitions are not in raw/ any more: Figure 3 lacks them" in study.notes
    assert api_words(study.tables["api"], study.tables["pairwise"]) == ()


def test_a_table_of_another_tool_must_have_the_columns(tmp_path: Path) -> None:
    """`api.parquet` goes beside the run's own."""
    folder = run(tmp_path)
    pl.DataFrame({"scenario": ["x"]}).write_parquet(folder / "api.parquet")
    with pytest.raises(InputError, match=r"api\.parquet: column condition is missing"):
        study_from_run(folder)


def test_a_test_without_programs_is_a_note(tmp_path: Path) -> None:
    """Once, however many scenarios the run has."""
    lacking = {"api": "no binary etcd on k8s-master", "api-hey": "no binary etcd on k8s-master"}
    study = study_from_run(run(tmp_path, unavailable_tests=lacking))
    assert [one for one in study.notes if "unavailable" in one] == [
        "unavailable: api, api-hey: no binary etcd on k8s-master"
    ]


def test_the_masters_pair_is_none_of_the_others(tmp_path: Path) -> None:
    """Throughput between the workers and the API of the master: no mesh, and the run's pair is the workers'."""
    folder = run(tmp_path)
    cell = Cell("native-1450", "none", "tcp", Pair("worker1", "worker2"))
    rate = Measured((Sample("rate_mbit_s", 900.0),))
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps(journal_line(Record(cell, 1, rate, START, visit=1, sequence=200))) + "\n")
    study = study_from_run(folder)
    assert study.tables["mesh"].is_empty()
    assert pairs_of(study.samples) == ["worker1>worker2"]
