"""Cluster health in the report: captured repetitions as tables, pictures and sentences; nothing where none watched."""

from pathlib import Path

import polars as pl
import pytest

from tests.measurements.cases import Case, cases
from tests.report.test_answer_words import golden
from tests.report.test_runs import Line, converged, line, rate, rows, run
from vpnmesh.model import Path as VpnPath
from vpnmesh.report.compose import compose
from vpnmesh.report.health import HEALTH, PHASE, PHASES, TEST, TIMELINE, health
from vpnmesh.report.health_figure import health_figures
from vpnmesh.report.health_section import FIGURE, TABLES, health_section
from vpnmesh.report.health_words import sentences
from vpnmesh.report.tables import Study
from vpnmesh.study.health import Lane
from vpnmesh.study.health_raw import PHASES_FILE
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.study.scenarios import BUILT_IN
from workflows.reporting.closing import closing
from workflows.reporting.studies import study_from_run

CASES = [case for case in cases(TEST) if not case.question.condition]


def repetition(case: Case, number: int) -> Line:
    """As the run journals it, with the folder of its texts."""
    scenario = case.question.scenario
    assert scenario is not None
    made = line(scenario.name, "ping", Measured(tuple(Sample(k, v) for k, v in case.figures.items())), number)
    return {**made, "test": TEST, "raw": f"raw/{case.name}"}


def study(folder: Path, *more: Line) -> Study:
    """A run of every captured repetition, each the first of its scenario."""
    made = run(folder, [*(repetition(case, 1) for case in CASES), *more])
    for case in CASES:
        (made / "raw" / case.name).mkdir(parents=True)
        for name, text in case.raw.items():
            (made / "raw" / case.name / name).write_text(text)
    return study_from_run(made)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """That run, for the tests that only look."""
    return study(tmp_path_factory.mktemp("watched") / "run")


def scenario_of(case: Case) -> str:
    assert case.question.scenario is not None
    return case.question.scenario.name


def test_a_row_per_phase_holds_the_figures(watched: Study) -> None:
    """The same seconds as the repetition's own figures, for every phase of every scenario."""
    table = watched.tables["health"]
    assert table.schema == pl.Schema(HEALTH)
    for case in CASES:
        for row in table.filter(scenario=scenario_of(case)).to_dicts():
            slug = row["phase"].replace("-", "_")
            assert row["n"] == 1
            assert row["api_outage_s"] == case.figures[f"{slug}_api_outage_s"]
            assert row["not_ready_s"] == case.figures[f"{slug}_not_ready_s"]
            assert row["path_s"] == case.figures.get(f"{slug}_path_s", row["path_s"])


def test_the_vpns_own_seconds_stand_beside(tmp_path: Path) -> None:
    """Of the convergence test of the same run, where it has that change."""
    fell = next(scenario_of(case) for case in CASES if "to_relay_path_s" in case.figures)
    found = study(tmp_path / "run", converged(fell, {"to_relay_s": 4.0, "restart_s": 2.0}))
    beside = {row["phase"]: row["convergence_s"] for row in rows(found, "health") if row["scenario"] == fell}
    assert (beside["to-relay"], beside["worker-restart"], beside["steady"]) == (4.0, 2.0, None)


def test_the_timeline_has_every_lane(watched: Study) -> None:
    """Each phase begins where the one before it ends; what never answered says so."""
    timeline = watched.tables["health_timeline"]
    assert timeline.schema == pl.Schema(TIMELINE)
    for mine in timeline.partition_by("scenario"):
        assert {str(lane) for lane in Lane} <= set(mine["lane"])
        phases = mine.filter(lane=PHASE)
        assert phases["from_s"][0] == 0
        assert phases["from_s"].to_list()[1:] == phases["to_s"].to_list()[:-1]


def test_the_section_is_whole(watched: Study) -> None:
    """Sentences, a picture per solution with a row per thing, the table; the tables nowhere else."""
    found = watched
    drawn = health_figures(found)
    solutions = {BUILT_IN.solution_of(scenario_of(case)) for case in CASES}
    assert set(drawn) == {f"{FIGURE}{name}" for name in solutions}
    for case in CASES:
        picture = drawn[f"{FIGURE}{BUILT_IN.solution_of(scenario_of(case))}"]
        for words in (scenario_of(case), "steady", "pod to pod", "endpoints", "API from worker1"):
            assert words in picture
    (section,) = health_section(found, drawn)
    page = compose(found, drawn)
    assert len(section.blocks) == 3 + len(drawn)
    assert [one.id for one in page.sections].count("health") == 1
    further = [block for one in page.sections if one.id == "further" for block in one.blocks]
    assert not {getattr(block, "name", "") for block in further} & set(TABLES)


def test_the_sentences(watched: Study) -> None:
    """What became of nodes, API, pods, watches and routes; the same at the end of a run."""
    found = watched
    text = "".join(f"{one}\n" for one in sentences(found))
    assert text == golden("health.txt", text)
    told = [one for one in closing(found) if isinstance(one, str) and one.startswith("cluster health: ")]
    assert told == [f"cluster health: {one}" for one in text.splitlines()]


def test_raw_that_is_gone_or_cut_has_no_picture(tmp_path: Path) -> None:
    """The figures are in the journal all the same."""
    folder = tmp_path / "run"
    study(folder)
    for case in CASES:
        (folder / "raw" / case.name / PHASES_FILE).write_text("{")
    found = study_from_run(folder)
    assert "health" not in found.tables
    assert health_figures(found) == {}
    assert not found.tables["figures"].filter(test=TEST).is_empty()


def test_without_a_watched_cluster_there_is_nothing(tmp_path: Path) -> None:
    """Runs of namespaces, and all of before."""
    made = study_from_run(run(tmp_path / "run", [line("native-1450", "tcp", rate(900.0))]))
    assert health_figures(made) == {}
    assert health_section(made, {}) == []
    assert list(sentences(made)) == []
    assert health(pl.DataFrame(schema=PHASES), pl.DataFrame(), BUILT_IN).is_empty()


def test_a_relayed_path_is_open_and_a_direct_one_filled(watched: Study) -> None:
    """As everywhere in the report; without it both would look alike."""
    states = watched.tables["health_timeline"].filter(lane=str(Lane.PATH))["state"]
    assert {str(VpnPath.DIRECT), str(VpnPath.RELAY)} <= set(states)
