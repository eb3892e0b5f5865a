"""What goes in wrong comes out as words: exit code 2 where nothing is usable, notes where something is."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from vpnmesh.frames.schemas import RESULTS, SCHEMA_VERSION
from vpnmesh.tools import hey
from workflows.report import main
from workflows.reporting.studies import study_from_imports

FILE = "01-x-60s-p2ptcp-loss0p-delay0.json"


def record(rate: object, index: int = 0) -> dict[str, object]:
    load = {"cpu": {"total": 9.5, "user": 1.5, "system": 8.0}, "ram": 600}
    return {
        "metadata": {"name": f"knb-{index}", "date": f"2024-01-01 00:{index:02}:00"},
        "data": {"mtu": "1230", "pod2pod": {"tcp": {"bandwidth": rate, "client": load, "server": load}}},
    }


def knb(folder: Path, scenarios: dict[str, list[object]]) -> Path:
    """A folder of results, a list of bandwidths per scenario."""
    for name, rates in scenarios.items():
        (folder / name).mkdir(parents=True)
        (folder / name / FILE).write_text(json.dumps([record(rate, i) for i, rate in enumerate(rates)]))
    return folder


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def complained(result: Result, *words: str) -> None:
    """The command ended with 2 and one clear line, and not in a traceback."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, result.output


@pytest.mark.parametrize("tool", ["knb", "hey"])
def test_an_empty_folder(tmp_path: Path, tool: str) -> None:
    """An empty folder holds nothing usable."""
    complained(
        report(f"--import-{tool}", tmp_path, "--out", tmp_path / "o"), "nothing usable", "no result files"
    )


@pytest.mark.parametrize("tool", ["knb", "hey"])
def test_no_such_folder(tmp_path: Path, tool: str) -> None:
    """A folder that is not there is named."""
    complained(
        report(f"--import-{tool}", tmp_path / "gone", "--out", tmp_path / "o"), "gone", "no such folder"
    )


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    """A file where a folder is wanted is named as one."""
    path = tmp_path / "x.json"
    path.write_text("[]")
    complained(report("--import-knb", path, "--out", tmp_path / "o"), "is a file")


def test_files_of_another_tool(tmp_path: Path) -> None:
    """Only another tool's files: nothing usable, and what was found instead."""
    (tmp_path / "k" / "11-x").mkdir(parents=True)
    (tmp_path / "k" / "11-x" / FILE).write_text('{"start": {}, "end": {}}')
    (tmp_path / "h" / "11-x").mkdir(parents=True)
    (tmp_path / "h" / "11-x" / "run1.csv").write_text("a,b\n1,2\n")
    complained(
        report("--import-knb", tmp_path / "k", "--out", tmp_path / "o"), "not a k8s-bench-suite result"
    )
    complained(report("--import-hey", tmp_path / "h", "--out", tmp_path / "o"), "not hey's CSV")


def test_all_repetitions_failed(tmp_path: Path) -> None:
    """Attempts without one figure are nothing usable, and their reasons are told."""
    folder = knb(tmp_path / "k", {"11-x": [-1, None, 0]})
    complained(
        report("--import-knb", folder, "--out", tmp_path / "o"), "nothing usable", "bandwidth is missing"
    )


def test_one_scenario_fails_entirely(tmp_path: Path) -> None:
    """A scenario of which nothing was measured keeps its row: attempted 3, measured 0, no figures."""
    folder = knb(tmp_path / "k", {"11-native-mtu1230": [700, 701, 702], "21-x": [-1, -1, float("nan")]})
    study = study_from_imports(folder)
    row = study.tables["throughput"].filter(scenario="x").to_dicts()[0]
    assert (row["attempted"], row["measured"], row["mean_mbit_s"], row["ratio_native_1230"]) == (
        3,
        0,
        None,
        None,
    )
    assert row["warning"] == "nothing measured"
    pair = study.tables["pairwise"].to_dicts()[0]
    assert (pair["n_a"], pair["n_b"], pair["u"], pair["p"], pair["ratio"]) == (3, 0, None, None, None)
    assert study.tables["failures"]["failed"].sum() == 3


def test_one_scenario_without_a_baseline(tmp_path: Path) -> None:
    """A lone scenario has its mean, and no ratio to what is not there."""
    out = tmp_path / "o"
    result = report("--import-knb", knb(tmp_path / "k", {"21-x-direct": [1, 2, 3]}), "--out", out)
    assert result.exit_code == 0, result.output
    row = pl.read_csv(out / "tables" / "throughput.csv").to_dicts()[0]
    assert (row["mean_mbit_s"], row["ratio_native_1450"], row["ratio_native_1230"]) == (2.0, None, None)
    assert pl.read_csv(out / "tables" / "pairwise.csv").height == 0


def test_a_condition_with_one_value(tmp_path: Path) -> None:
    """One repetition has a mean, no spread, and takes part in no test."""
    study = study_from_imports(knb(tmp_path / "k", {"12-native-mtu1450": [700], "21-x-direct": [350]}))
    rows = study.tables["throughput"].select("mean_mbit_s", "sd_mbit_s", "cv", "ratio_native_1450").rows()
    assert rows == [(700.0, None, None, 1.0), (350.0, None, None, 2.0)]
    pair = study.tables["pairwise"].to_dicts()[0]
    assert (pair["u"], pair["p"], pair["ratio"], pair["ratio_low"]) == (1.0, None, 2.0, None)


def test_a_scenario_in_another_unit(tmp_path: Path) -> None:
    """A whole scenario in Gbit/s among others in Mbit/s is pointed out; what is merely slow is not."""
    rates: dict[str, list[object]] = {
        "11-x": [700, 701],
        "12-y": [690, 691],
        "13-slow": [20, 21],
        "14-z": [0.7, 0.71],
    }
    notes = [note for note in study_from_imports(knb(tmp_path / "k", rates)).notes if "unit" in note]
    assert [note.partition(" by more")[0] for note in notes] == [
        "z none tcp: all rates differ from those of the other scenarios"
    ]


def test_two_folders_of_one_scenario(tmp_path: Path) -> None:
    """Two folders that name the same scenario are not pooled in silence: the second is left out, and said so."""
    study = study_from_imports(knb(tmp_path / "k", {"11-x": [1, 2], "12-x": [900]}))
    assert study.tables["throughput"].select("attempted", "measured").rows() == [(2, 2)]
    assert any("12-x: left out: 11-x is scenario x already" in note for note in study.notes)


def test_files_that_are_no_results_are_listed(tmp_path: Path) -> None:
    """A stray file beside the results does not stop the report, and is named."""
    folder = knb(tmp_path / "k", {"11-x": [1, 2]})
    (folder / "11-x" / "notes.txt").write_text("hello")
    (folder / "11-x" / "summary.json").write_text("{}")
    study = study_from_imports(folder)
    assert "11-x/notes.txt: left out: not .json" in study.notes
    assert "11-x/summary.json: left out: its name states no loss and delay" in study.notes


def test_folders_too_deep_are_listed(tmp_path: Path) -> None:
    """Results a folder deeper than a scenario's own are not read, and the folder is named."""
    folder = knb(tmp_path / "k", {"11-x": [1, 2]})
    knb(folder / "21-y-direct", {"old": [3, 4]})
    study = study_from_imports(folder)
    assert study.scenario_order == ("x",)
    assert "21-y-direct/old: left out: a folder inside a scenario's" in study.notes


def test_hey_without_answers(tmp_path: Path) -> None:
    """A file of which every row was cut or failed is nothing usable."""
    (tmp_path / "h" / "03-x-k8s-api-bench").mkdir(parents=True)
    text = ",".join(hey.COLUMNS) + "\n0.1,0.0\n0.2,0,0,0,0,0,,0.5\n"
    (tmp_path / "h" / "03-x-k8s-api-bench" / "run1.csv").write_text(text)
    complained(report("--import-hey", tmp_path / "h", "--out", tmp_path / "o"), "nothing usable")


def test_replays_of_what_is_there(tmp_path: Path) -> None:
    """Two scenarios that differ are replayed into tables, what failed is told; one alone is no replay."""
    rates: list[object] = [300.0, 301.0, 302.0, 303.0, 304.0, 305.0, 306.0, 307.0, -1]
    folder = knb(tmp_path / "k", {"11-x": rates, "12-y": [rate + 90 for rate in range(300, 309)]})
    out = tmp_path / "o"
    told = report("--import-knb", folder, "--out", out, "--replay", "--orders", 20)
    assert told.exit_code == 0, told.output
    assert "tcp: 20 orders" in told.stdout
    assert "note: x none tcp: 1 failed at tool" in told.stderr
    (pair,) = pl.read_csv(out / "tables" / "replay-tcp.csv").to_dicts()
    assert (pair["a"], pair["b"], pair["full_rejects"], pair["differ"], pair["wrong"]) == (
        "x",
        "y",
        True,
        20,
        0,
    )
    alone = knb(tmp_path / "one", {"11-x": rates})
    complained(report("--import-knb", alone, "--out", out, "--replay"), "no two scenarios")


def test_command_lines_without_sense(tmp_path: Path) -> None:
    """Nothing named, both kinds named, a run that is none: each has its own words."""
    complained(report(), "nothing to report on")
    complained(report(tmp_path, "--import-knb", tmp_path), "at once")
    complained(report(tmp_path / "gone"), "no such run")
    complained(report(tmp_path), "manifest.json")


def test_runs_that_are_broken(tmp_path: Path) -> None:
    """A manifest that is no JSON, a table that is no parquet, a table of other columns: named, each."""
    (tmp_path / "manifest.json").write_text("{")
    complained(report(tmp_path), "no JSON")
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION}))
    (tmp_path / "results.parquet").write_bytes(b"nonsense")
    complained(report(tmp_path), "no parquet")
    pl.DataFrame({"scenario": ["x"]}).write_parquet(tmp_path / "results.parquet")
    complained(report(tmp_path), "column condition is missing")
    pl.DataFrame(schema=RESULTS).write_parquet(tmp_path / "results.parquet")
    complained(report(tmp_path), "no repetition and no request")


def test_an_out_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the place of OUT is an error in words."""
    (tmp_path / "o").write_text("")
    folder = knb(tmp_path / "k", {"11-x": [1, 2]})
    complained(report("--import-knb", folder, "--out", tmp_path / "o"), "cannot be written")
