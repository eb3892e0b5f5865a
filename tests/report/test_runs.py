"""Reports of a run's own directory: what its journal holds beside throughput, and runs that hold little."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from vpnmesh.criteria import data as criteria
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from vpnmesh.report.compose import compose
from vpnmesh.report.judgement.advice import Advice, advise
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.judgement.requirements import NEEDS
from vpnmesh.report.page import Items
from vpnmesh.report.tables import Study
from vpnmesh.study.journal import parse_event
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, frame_of, journal_line
from vpnmesh.study.scenarios import BUILT_IN
from workflows.report import main
from workflows.reporting.studies import study_from_run

Line = dict[str, object]
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def line(scenario: str, test: str, outcome: Outcome, repetition: int = 1, condition: str = "none") -> Line:
    """A repetition as the run itself journals it."""
    cell = Cell(scenario, condition, test, Pair("worker1", "worker2"))
    return journal_line(Record(cell, repetition, outcome, START, visit=1, sequence=repetition))


def rate(value: float) -> Measured:
    return Measured((Sample("rate_mbit_s", value),))


def standing(scenario: str, steps: int, seconds: float) -> Line:
    """What a run journals once a scenario stands; figures invented."""
    phases = {"firewall": 0.02, "members": seconds - 1.5, "ready": 1.5, "proof": 2.1}
    return {
        "schema_version": SCHEMA_VERSION,
        "type": "standing",
        "scenario": scenario,
        "data_plane": "userspace",
        "setup_steps": steps,
        "setup_s": seconds,
        "setup_seconds": phases,
    }


def converged(scenario: str, figures: dict[str, float], repetition: int = 1) -> Line:
    """A convergence repetition, with its figures where the run's record puts those without a column."""
    made = line(scenario, "ping", Measured(tuple(Sample(k, v) for k, v in figures.items())), repetition)
    return {**made, "test": "convergence"}


def stuck(scenario: str, repetition: int) -> Line:
    reason = "90 s after UDP was blocked, worker1 is not relay but without a path"
    return {**line(scenario, "ping", Failed("path", reason), repetition), "test": "convergence"}


def run(folder: Path, lines: list[Line], *, finished: bool = True, **manifest: object) -> Path:
    """A run's directory as the matrix leaves it."""
    folder.mkdir(parents=True)
    text = json.dumps({"schema_version": SCHEMA_VERSION, **manifest}, sort_keys=True)
    (folder / "manifest.json").write_text(text)
    (folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    if finished:
        frame_of([parse_event(one) for one in lines]).write_parquet(folder / "results.parquet")
    return folder


def test_scenarios_come_from_the_manifest(tmp_path: Path) -> None:
    file = b"zerotier-big: {variant_of: zerotier-direct, tunnel_mtu: 1420}\n"
    catalogue = BUILT_IN.with_file(file, "mine.yaml")
    lines = [line(name, "tcp", rate(1.0)) for name in ("zerotier-big", "native-1450", "native-1230")]
    study = study_from_run(run(tmp_path / "run", lines, scenarios=catalogue.as_written()))
    assert study.scenarios == catalogue
    assert study.scenario_order == ("native-1450", "native-1230", "zerotier-big")
    plain = study_from_run(run(tmp_path / "plain", lines))
    assert plain.scenarios == BUILT_IN


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["native-1450"], "scenarios: is no mapping"),
        ({"mine": {"solution": "native"}}, "scenarios: mine: path: is missing"),
        ({"mine": {"solution": "nothing", "path": "direct"}}, "scenarios: mine: "),
    ],
)
def test_scenarios_of_a_broken_manifest_are_named(tmp_path: Path, written: object, said: str) -> None:
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(1.0))], scenarios=written)
    found = report(folder)
    assert found.exit_code == 2
    assert f"{folder}/manifest.json: {said}" in found.stderr


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def advice_on(study: Study) -> Advice:
    return advise(Readings(study), criteria.load(), NEEDS, date(2026, 11, 23))


def rows(study: Study, table: str) -> list[dict[str, object]]:
    return study.tables[table].to_dicts()


# ---- set-up


def test_set_up_is_a_mean_over_visits(tmp_path: Path) -> None:
    """Two visits give the mean of steps and seconds, per phase too; scenarios in the order of all tables."""
    events = [standing("nebula-relay", 17, 5.0), standing("headscale-direct", 10, 7.0)]
    events += [standing("headscale-direct", 12, 9.0), line("headscale-direct", "tcp", rate(100.0))]
    found = rows(study_from_run(run(tmp_path / "run", events)), "setup")
    assert [(row["scenario"], row["visits"]) for row in found] == [
        ("headscale-direct", 2),
        ("nebula-relay", 1),
    ]
    assert (found[0]["setup_steps_mean"], found[0]["setup_s_mean"]) == (11.0, 8.0)
    assert (found[0]["members_s_mean"], found[1]["members_s_mean"]) == (6.5, 3.5)
    assert found[1]["setup_s_sd"] is None


def test_journals_without_set_up_give_an_empty_table(tmp_path: Path) -> None:
    """A run from before set-up was timed, or an odd line, gives no row and no error."""
    events: list[Line] = [
        {"type": "standing", "scenario": "native-1450", "data_plane": "none"},
        {"type": "standing", "scenario": "native-1450", "setup_steps": True, "setup_s": "long"},
        {"type": "standing", "setup_steps": 3, "setup_s": 1.0},
        line("native-1450", "tcp", rate(900.0)),
    ]
    assert rows(study_from_run(run(tmp_path / "run", events)), "setup") == []


def test_measured_set_up_stands_beside_dated_facts(tmp_path: Path) -> None:
    """The advice marks what this run measured and what is a dated fact; the page shows both."""
    events = [standing("headscale-direct", 10, 7.0), line("headscale-direct", "tcp", rate(100.0))]
    folder = run(tmp_path / "run", events)
    found = {
        (one.topic, one.measured): one.text
        for one in advice_on(study_from_run(folder)).usability
        if one.solution == "headscale"
    }
    expected = "headscale-direct: 10 steps, 7.0 s to stand (one visit, measured by this run)"
    assert found["set-up", True] == expected
    assert found["web-ui", False] == "Headscale: web-ui unmet on 2023-06-17"
    assert report(folder, "--advise").exit_code == 0
    assert expected in (folder / "report" / "report.md").read_text()
    written = json.loads((folder / "report" / "advice.json").read_text())["usability"]
    assert expected in [one["text"] for one in written if one["measured"]]


# ---- convergence


def test_measured_fallback_decides_over_dated_facts(tmp_path: Path) -> None:
    """ZeroTier was slow when somebody looked; a run that saw it fast, and Headscale fail, turns the advice."""
    fast = {"join_s": 4.0, "to_relay_s": 5.0, "to_relay_outage_s": 4.5, "to_direct_s": 6.0}
    events = [
        converged("zerotier-direct", fast),
        converged("zerotier-direct", {**fast, "to_relay_s": 7.0}, 2),
        converged("headscale-direct", {**fast, "to_relay_s": 4.0}),
        stuck("headscale-direct", 2),
        converged("wireguard-direct", {"join_s": 1.0, "restart_s": 2.0}),
    ]
    study = study_from_run(run(tmp_path / "run", events))
    need = advice_on(study).need("fast-fallback")
    assert need is not None
    assert [place.solution for place in need.ranking] == ["netbird", "zerotier"]
    texts = [sentence.text for sentence in need.sentences]
    assert "ZeroTier fell back to its relay in 6.0 s, 2 of 2 times: met, measured by this run." in texts
    assert "Headscale fell back to its relay in 4.0 s, 1 of 2 times: unmet, measured by this run." in texts
    assert "ZeroTier: unmet, 260 s (claimed unknown, found unmet) on 2026-11-23." in texts
    assert not [text for text in texts if text.lower().startswith("wireguard")]


def test_a_fallback_that_never_came_is_counted(tmp_path: Path) -> None:
    """All attempts failed: attempted and measured say so, no seconds are invented, the need is unmet."""
    events = [stuck("netbird-direct", 1), stuck("netbird-direct", 2)]
    study = study_from_run(run(tmp_path / "run", events))
    found = rows(study, "convergence")
    assert [(row["attempted"], row["measured"], row["figure"]) for row in found] == [(2, 0, None)]
    need = advice_on(study).need("fast-fallback")
    assert need is not None
    assert "Netbird fell back to its relay, 0 of 2 times: unmet, measured by this run." in [
        sentence.text for sentence in need.sentences
    ]
    assert report(tmp_path / "run", "--advise").exit_code == 0


def test_convergence_is_a_row_per_change(tmp_path: Path) -> None:
    """Each change has its mean, spread and longest over the attempts that settled."""
    events = [
        converged("headscale-direct", {"to_relay_s": s, "restart_s": 1.0}, n) for n, s in ((1, 4.0), (2, 6.0))
    ]
    found = {row["figure"]: row for row in rows(study_from_run(run(tmp_path / "run", events)), "convergence")}
    relay = found["to_relay_s"]
    assert (relay["n"], relay["seconds_mean"], relay["seconds_max"]) == (2, 5.0, 6.0)
    assert relay["seconds_sd"] == pytest.approx(2**0.5)
    assert set(found) == {"to_relay_s", "restart_s"}


# ---- what could not be attempted


def test_unavailable_is_neither_attempted_nor_failed(tmp_path: Path) -> None:
    """A cell that this machine cannot attempt has no attempts and no failures, and says what is missing."""
    lacking = Failed(UNAVAILABLE, "unavailable: no binary nebula on worker1")
    events = [line("native-1450", "tcp", rate(900.0)), line("nebula-direct", "tcp", lacking, 0)]
    folder = run(tmp_path / "run", events)
    study = study_from_run(folder)
    found = {row["scenario"]: row for row in rows(study, "throughput")}
    absent = found["nebula-direct"]
    assert (absent["attempted"], absent["measured"], absent["mean_mbit_s"]) == (0, 0, None)
    assert absent["warning"] == "unavailable: no binary nebula on worker1"
    assert rows(study, "failures") == []
    assert study.notes == ("nebula-direct none tcp: unavailable: no binary nebula on worker1",)
    told = report(folder, "--advise")
    assert (told.exit_code, "repetitions: 1 measured;" in told.output) == (0, True)


def test_what_is_missing_is_one_note_however_many_cells_it_takes(tmp_path: Path) -> None:
    """Two scenarios that lack the same program are one sentence, and no cells to read with care."""
    lacking = Failed(UNAVAILABLE, "unavailable: no binary zerotier-one")
    events = [line("native-1450", "tcp", rate(900.0))]
    events += [
        line(name, test, lacking, 0)
        for name in ("zerotier-relay", "zerotier-direct")
        for test in ("tcp", "udp")
    ]
    study = study_from_run(run(tmp_path / "run", events))
    assert study.notes == ("zerotier-relay, zerotier-direct (4 cells): unavailable: no binary zerotier-one",)
    (overview,) = [one for one in compose(study, {}).sections if one.id == "overview"]
    assert not [one for one in overview.blocks if isinstance(one, Items) and "with care" in one.title]


def test_a_later_attempt_beside_an_unavailable_row_counts_alone(tmp_path: Path) -> None:
    """A resumed run holds both: attempted counts the real repetitions, failed too."""
    lacking = Failed(UNAVAILABLE, "unavailable: no binary")
    events = [line("nebula-direct", "tcp", lacking, 0), line("nebula-direct", "tcp", rate(90.0), 1)]
    events.append(line("nebula-direct", "tcp", Failed("tool", "busy"), 2))
    study = study_from_run(run(tmp_path / "run", events))
    (row,) = rows(study, "throughput")
    assert (row["attempted"], row["measured"], row["warning"]) == (2, 1, "2 attempted, 1 measured")
    (failed,) = rows(study, "failures")
    assert (failed["attempted"], failed["failed"], failed["stage"]) == (2, 1, "tool")


def test_a_run_that_saw_the_queues_cap_is_believed(tmp_path: Path) -> None:
    """Where the manifest names no limit, the run's own flag marks a cell; one flag of three does not."""
    events = [
        {**line(name, "udp", rate(40.0 + n), n, "delay-250ms"), "near_cap": flag}
        for name, flags in (("native-1450", (True, True, False)), ("native-1230", (True, False, False)))
        for n, flag in enumerate(flags, start=1)
    ]
    found = rows(study_from_run(run(tmp_path / "run", events)), "throughput")
    assert [row["near_cap"] for row in found] == [True, False]
    assert "near what netem's queue lets through" in str(found[0]["warning"])


# ---- runs that hold little


IDLE = Measured((Sample("cpu_pct", 3.0),))
PING = Measured((Sample("rtt_ms", 1.5), Sample("lost_pct", 0.0)))


@pytest.mark.parametrize(
    "events",
    [
        [line("headscale-direct", "tcp", Failed("path", "relayed"))],
        [line("headscale-direct", "tcp", Failed(UNAVAILABLE, "unavailable: no binary"), 0)],
        [line("headscale-direct", "tcp", rate(100.0))],
        [line("native-1450", "udp", rate(100.0), condition="delay-50ms")],
        [line("headscale-direct", "idle", IDLE)],
        [line("headscale-direct", "ping", PING), line("native-1450", "ping", PING)],
        [line("headscale-direct", "ping", Failed("tool", "none of 5 came back"))],
        [line("headscale-direct", "idle", IDLE), line("headscale-direct", "ping", PING)],
    ],
    ids=["all failed", "unavailable", "one", "impaired only", "idle", "ping", "ping failed", "idle and ping"],
)
@pytest.mark.parametrize("finished", [True, False])
def test_runs_that_hold_little_are_reported(tmp_path: Path, events: list[Line], *, finished: bool) -> None:
    """Tables, page and advice come out, whether the run ended or not."""
    folder = run(tmp_path / "run", events, finished=finished)
    told = report(folder, "--advise", "--bundle")
    assert (told.exit_code, told.exception) == (0, None), told.output
    assert {"report.html", "report.md", "advice.json"} <= {
        path.name for path in (folder / "report").iterdir()
    }


def test_ping_and_idle_are_in_the_tables(tmp_path: Path) -> None:
    """RTTs come from the journal, CPU at idle is a row of the resources."""
    idle = {**line("headscale-direct", "idle", IDLE), "client_cpu_pct": 3.0, "client_ram_mb": 200.0}
    lost = Measured((Sample("rtt_ms", 2.5), Sample("lost_pct", 4.0)))
    events = [line("headscale-direct", "ping", PING), line("headscale-direct", "ping", lost, 2), idle]
    study = study_from_run(run(tmp_path / "run", events))
    (row,) = rows(study, "ping")
    assert (row["attempted"], row["rtt_ms_mean"], row["lost_pct_mean"]) == (2, 2.0, 2.0)
    (load,) = rows(study, "resources")
    assert (load["test"], load["end"], load["cpu_pct_mean"]) == ("idle", "client", 3.0)


def test_an_empty_run_says_so(tmp_path: Path) -> None:
    """No repetition at all: one sentence and exit code 2."""
    told = report(run(tmp_path / "run", []))
    assert (told.exit_code, "holds no repetition" in told.output) == (2, True)


def test_reading_a_run_never_writes_to_its_journal(tmp_path: Path) -> None:
    """A run may be writing its last line right now: what is there of it is left alone, and not read."""
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(900.0))], finished=False)
    journal = folder / "journal.jsonl"
    journal.write_text(journal.read_text() + '{"type": "repet')
    before = journal.read_bytes()
    assert study_from_run(folder).samples.height == 1
    assert journal.read_bytes() == before


def test_a_broken_journal_is_a_sentence(tmp_path: Path) -> None:
    """A line in the middle that is no JSON names the file."""
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(900.0))])
    (folder / "journal.jsonl").write_text("{nonsense}\n{}\n")
    told = report(folder)
    assert (told.exit_code, "journal.jsonl" in told.output) == (2, True)


def test_further_samples_are_no_columns() -> None:
    """The results table stays as its schema; the journal line carries what has no column."""
    made = line("headscale-direct", "ping", PING)
    assert made["samples"] == {"rtt_ms": 1.5}
    assert "samples" not in line("headscale-direct", "tcp", rate(1.0))
    assert frame_of([parse_event(made)]).select("lost_pct").item() == pytest.approx(0.0)
    assert frame_of([parse_event(made)]).filter(pl.col("outcome") == "measured").height == 1
