"""Many runs in a row: the lines, the changes of level, the verdict on the newest run, and what is kept of each run."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import RESULTS, SCHEMA_VERSION
from vpnmesh.report.changes import Gate
from vpnmesh.report.history import By, History, history
from vpnmesh.report.history_gate import judge_newest
from vpnmesh.report.history_page import change_table
from vpnmesh.report.judged_cells import JudgedCell, junit
from workflows.report import main
from workflows.reporting.history_store import runs_in, take

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
NATIVE, VPN, OTHER = "native-1450", "nebula-direct", "headscale-direct"
USUAL = {NATIVE: 900.0, VPN: 300.0}
PROFILE = {"duration_s": 10, "omit_s": 2}


def a_run(
    folder: Path,
    day: int,
    rates: Mapping[str, float],
    n: int = 8,
    sd: float = 0.01,
    failed: Sequence[str] = (),
    **manifest: object,
) -> Path:
    """A run of that day: n repetitions of each scenario, the run's own level 1 % around the mean."""
    rng = np.random.default_rng(day)
    folder.mkdir(parents=True)
    known = {"schema_version": SCHEMA_VERSION, "kernel": "6.1", "machine": "m1", "profile": PROFILE}
    (folder / "manifest.json").write_text(json.dumps(known | manifest))
    rows = []
    for name, mean in rates.items():
        level = mean * rng.normal(1, 0.01)
        for i in range(1, n + 1):
            bad = name in failed
            rows.append(
                {
                    "scenario": name,
                    "condition": "none",
                    "test": "tcp",
                    "pair": "worker1>worker2",
                    "repetition": i,
                    "sequence": i,
                    "started_at": START + timedelta(days=day, minutes=i),
                    "outcome": "failed" if bad else "measured",
                    "stage": "path" if bad else None,
                    "reason": "no handshake" if bad else None,
                    "rate_mbit_s": None if bad else float(level * rng.normal(1, sd)),
                }
            )
    pl.DataFrame(rows, schema=RESULTS, orient="row").write_parquet(folder / "results.parquet")
    return folder


def a_row(folder: Path, levels: Sequence[float], **more: object) -> Path:
    """A folder of runs, one a day, in which the VPN has these levels."""
    for day, level in enumerate(levels):
        a_run(folder / f"run{day:02}", day, USUAL | {VPN: level}, **more)  # type: ignore[arg-type]
    return folder


def read(folder: Path, by: By = By.DATE) -> History:
    """The history of a folder of runs, kept beside it."""
    return history(take(runs_in([folder]), folder.parent / "store").rows, by)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["--history", *map(str, arguments)])


def verdicts(found: History, gate: Gate | None = None) -> dict[str, str]:
    cells = judge_newest(found, gate or Gate())
    return {
        cell.name: cell.failed or f"skipped: {cell.skipped}" if cell.failed or cell.skipped else ""
        for cell in cells
    }


@pytest.mark.slow
def test_a_change_of_level_is_named_with_its_run_and_size(tmp_path: Path) -> None:
    """Ten runs at 300 and six at 210: the eleventh run is the first of a new level, 30 % lower; native has none."""
    found = read(a_row(tmp_path / "runs", [300.0] * 10 + [210.0] * 6))
    (row,) = change_table(found).to_dicts()
    assert (row["scenario"], row["run"], row["runs_before"], row["runs_after"]) == (VPN, "run10", 10, 6)
    assert row["change_pct"] == pytest.approx(-30, abs=2)
    assert (row["from"], row["to"]) == pytest.approx((300, 210), rel=0.02)


def test_seven_runs_have_a_verdict_and_no_change_of_level(tmp_path: Path) -> None:
    found = read(a_row(tmp_path / "runs", [300.0] * 4 + [150.0] * 3))
    assert change_table(found).is_empty()


@pytest.mark.slow
def test_a_worse_newest_run_is_red_and_the_same_again_is_green(tmp_path: Path) -> None:
    """By the level of the runs before it; the baseline, which did not change, passes."""
    row = a_row(tmp_path / "runs", [300.0] * 8)
    assert verdicts(read(row)) == {f"{NATIVE} none tcp": "", f"{VPN} none tcp": ""}
    a_run(row / "run99", 20, USUAL | {VPN: 240.0})
    told = verdicts(read(row))
    assert told[f"{NATIVE} none tcp"] == ""
    assert "slower by more than 5 %: 0.8" in told[f"{VPN} none tcp"]
    assert "the level of 8 runs before it" in told[f"{VPN} none tcp"]


@pytest.mark.slow
def test_a_level_that_stays_lower_is_red_once(tmp_path: Path) -> None:
    """After a change of level the newest run is held against the new level."""
    assert set(verdicts(read(a_row(tmp_path / "runs", [300.0] * 8 + [200.0] * 8))).values()) == {""}


def test_two_runs_are_compared_by_their_repetitions(tmp_path: Path) -> None:
    row = a_row(tmp_path / "runs", [300.0, 240.0])
    told = verdicts(read(row))
    assert "0.8" in told[f"{VPN} none tcp"]
    assert " of run00 (" in told[f"{VPN} none tcp"]


def test_too_few_repetitions_are_skipped_and_not_passed(tmp_path: Path) -> None:
    told = verdicts(read(a_row(tmp_path / "runs", [300.0, 100.0], n=5)))
    assert told[f"{VPN} none tcp"].startswith("skipped: too few figures: 6 of each run are needed")


def test_what_no_longer_works_is_worse(tmp_path: Path) -> None:
    row = a_row(tmp_path / "runs", [300.0] * 3)
    a_run(row / "run99", 20, USUAL, failed=(VPN,))
    assert verdicts(read(row))[f"{VPN} none tcp"] == "no handshake"


@pytest.mark.parametrize(
    "change",
    [
        {"profile": {"duration_s": 60, "omit_s": 2}},
        {"engine": "netem"},
        {"substrate": "hosts, impaired by netem"},
        {"lab": {"port_rate_mbit_s": 100}},
    ],
    ids=["duration", "engine", "substrate", "port rate"],
)
def test_what_means_something_else_is_a_series_of_its_own(tmp_path: Path, change: dict[str, object]) -> None:
    """No verdict on the newest run, which is the first of its kind, however slow it is."""
    row = a_row(tmp_path / "runs", [300.0] * 4)
    a_run(row / "run99", 20, USUAL | {VPN: 30.0}, **change)  # type: ignore[arg-type]
    found = read(row)
    assert [series.runs for series in found.series] == [4, 1]
    assert all(
        told.startswith("skipped: no earlier run of the same kind") for told in verdicts(found).values()
    )
    assert all(len({series.apart for series in found.series}) == 2 for _ in found.series)


@pytest.mark.slow
def test_another_machine_is_judged_by_the_own_baseline(tmp_path: Path) -> None:
    """A machine half as fast is no slower VPN; the baseline has no line of its own, and both are said."""
    row = a_row(tmp_path / "runs", [300.0] * 7)
    half = {name: rate / 2 for name, rate in USUAL.items()}
    a_run(row / "run99", 20, half, machine="m2")
    found = read(row)
    told = verdicts(found)
    assert told[f"{VPN} none tcp"] == ""
    assert told[f"{NATIVE} none tcp"].startswith("skipped: divided by the own baseline, which it is itself")
    assert "by its own run's baseline" in " ".join(found.notes)
    a_run(row / "run999", 21, half | {VPN: 75.0}, machine="m2")
    assert "slower" in verdicts(read(row))[f"{VPN} none tcp"]


def test_a_relative_gate_divides_on_the_same_machine_too(tmp_path: Path) -> None:
    """A machine that was busy is no slower VPN; two runs suffice, and `--compare` says the same."""
    row, gate = a_row(tmp_path / "runs", [300.0]), tmp_path / "gate.yaml"
    a_run(row / "run99", 20, {name: rate / 2 for name, rate in USUAL.items()})
    gate.write_text("margin_pct: 5\ncertainty: 0.95\n")
    compared = ("--compare", str(row / "run00"), str(row / "run99"), "--gate", str(gate))
    for command_line in (
        ("--history", str(row), "--gate", str(gate), "--out", str(tmp_path / "out")),
        compared,
    ):
        gate.write_text("margin_pct: 5\ncertainty: 0.95\n")
        assert CliRunner().invoke(main, command_line).exit_code == 1
        gate.write_text("margin_pct: 5\ncertainty: 0.95\nrelative: true\n")
        assert CliRunner().invoke(main, command_line).exit_code == 0


def test_versions_are_ordered_as_versions(tmp_path: Path) -> None:
    """1.10 after 1.9 whenever they were measured; the newest version is the one that is judged."""
    row = tmp_path / "runs"
    for day, (version, level) in enumerate([("1.10.0", 200.0), ("1.9.4", 300.0), ("1.9.3", 300.0)]):
        told = {"nebula -version": f"Version: {version}"}
        a_run(row / f"run{day}", day, USUAL | {VPN: level}, versions=told)
    found = read(row, By.VERSION)
    (line,) = [line for line in found.lines if line.scenario == VPN]
    assert [point.version for point in line.points] == ["nebula 1.9.3", "nebula 1.9.4", "nebula 1.10.0"]
    assert "slower" in verdicts(found)[f"{VPN} none tcp"]
    assert f"no version was told by the runs of {NATIVE}" in " ".join(found.notes)


def test_a_run_that_is_kept_is_not_read_again(tmp_path: Path) -> None:
    """Nor when it is named twice, or with its folder; one that went on measuring is read again."""
    row, store = a_row(tmp_path / "runs", [300.0] * 3), tmp_path / "store"
    runs = runs_in([row, row / "run00"])
    assert (len(runs), take(runs, store).read) == (3, 3)
    again = take(runs, store)
    assert (again.runs, again.read) == (3, 0)
    first = row / "run00" / "results.parquet"
    pl.read_parquet(first).head(5).write_parquet(first)
    assert take(runs, store).read == 1


def test_the_store_holds_a_folder_per_run_and_is_scanned_lazily(tmp_path: Path) -> None:
    taken = take(runs_in([a_row(tmp_path / "runs", [300.0] * 3)]), tmp_path / "store")
    assert isinstance(taken.rows, pl.LazyFrame)
    assert len(list((tmp_path / "store").glob("run=*/rows.parquet"))) == 3
    assert taken.rows.select("run", "rate_mbit_s").collect().shape == (3 * 2 * 8, 2)


@pytest.mark.slow
def test_the_command_writes_pages_tables_and_junit(tmp_path: Path) -> None:
    """Red: exit code 1, the cell on the terminal, and one failure of two in JUnit."""
    row = a_row(tmp_path / "runs", [300.0] * 9 + [200.0] * 5 + [120.0])
    out, xml = tmp_path / "out", tmp_path / "ci" / "junit.xml"
    result = command(row, "--out", out, "--junit", xml)
    assert result.exit_code == 1, result.output
    assert f"worse: {VPN} none tcp: slower by more than 5 %" in result.output
    assert "Changes of level" in result.output
    suite = fromstring(xml.read_text()).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "1", "0")
    page = (out / "history.html").read_text()
    assert "The newest run" in page
    assert "run09" in (out / "history.md").read_text()
    assert (out / "figures" / "history-1-tcp.svg").exists()
    assert pl.read_csv(out / "tables" / "points.csv").height == 15 * 2
    assert pl.read_csv(out / "tables" / "changes.csv")["run"].to_list() == ["run09"]


def test_one_run_is_a_beginning_and_a_gate_that_judges_nothing_is_an_error(tmp_path: Path) -> None:
    row, gate = a_row(tmp_path / "runs", [300.0]), tmp_path / "gate.yaml"
    gate.write_text("margin_pct: 5\ncertainty: 0.95\n")
    first = command(row, "--out", tmp_path / "out")
    assert first.exit_code == 0, first.output
    assert "2 not judged" in first.output
    assert command(row, "--out", tmp_path / "out", "--gate", gate).exit_code == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _of_old_schema(run: Path) -> None:
    (run / "manifest.json").write_text(json.dumps({"schema_version": 1}))


def _cut_json(run: Path) -> None:
    _cut(run / "manifest.json")


def _cut_table(run: Path) -> None:
    _cut(run / "results.parquet")


def _empty(run: Path) -> None:
    (run / "results.parquet").unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_of_old_schema, "a run of schema version 1"),
        (_cut_json, "no JSON"),
        (_cut_table, "is no parquet file, or a part of one"),
        (_empty, "holds no repetition of TCP or UDP"),
    ],
)
def test_a_run_that_cannot_be_used_is_one_sentence(tmp_path: Path, spoil: object, told: str) -> None:
    row = a_row(tmp_path / "runs", [300.0, 300.0])
    assert callable(spoil)
    spoil(row / "run01")
    result = command(row, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert "run01" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_kept_file_that_was_cut_or_is_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    row = a_row(tmp_path / "runs", [300.0, 300.0])
    assert command(row, "--out", tmp_path / "out").exit_code == 0
    kept = min((tmp_path / "out" / "runs").glob("run=*/rows.parquet"))
    pl.DataFrame({"name": ["x"]}).write_parquet(kept)
    other = command(row, "--out", tmp_path / "out")
    assert (other.exit_code, "column started_at is missing" in other.stderr) == (2, True)
    _cut(kept)
    cut = command(row, "--out", tmp_path / "out")
    assert (cut.exit_code, "take it away: it is made again" in cut.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--history",), "names no run"),
        (("--history", "{empty}"), "is no run and holds none"),
        (("--history", "{file}"), "is a file"),
        (("--history", "{nowhere}"), "there is no such folder"),
        (("--history", "{empty}", "--paper"), "at once"),
        (("{empty}", "{file}"), "2 runs at once"),
        (("{empty}", "--by", "version"), "--by: goes with --history"),
        (("{empty}", "--junit", "{file}"), "--junit: goes with --history"),
        (("--history", "{empty}", "--compare", "{empty}", "{empty}"), "--history and --compare at once"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    named = {name: str(tmp_path / name) for name in ("empty", "file", "nowhere")}
    result = CliRunner().invoke(main, [one.format(**named) for one in arguments])
    assert result.exit_code == 2, result.output
    assert told in result.output


def test_runs_in_wants_something(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds none"):
        runs_in([tmp_path])


def test_a_reason_of_any_bytes_is_still_xml() -> None:
    cells = [JudgedCell("vpn none tcp", "tcp.none", failed="\x1b[31mno\x00 <handshake> & \ud800")]
    failure = fromstring(junit("history", cells)).find(".//failure")
    assert failure is not None
    assert "no\N{REPLACEMENT CHARACTER} <handshake> &" in str(failure.get("message"))


def test_a_run_without_a_date_is_not_the_newest(tmp_path: Path) -> None:
    """Not even one whose name comes last, and however slow it is."""
    row = a_row(tmp_path / "runs", [300.0, 300.0])
    undated = a_run(row / "run99", 20, USUAL | {VPN: 30.0}) / "results.parquet"
    pl.read_parquet(undated).with_columns(
        pl.lit(None, dtype=RESULTS["started_at"]).alias("started_at")
    ).write_parquet(undated)
    found = read(row)
    assert found.newest.name == "run01"
    assert [point.name for point in found.lines[0].points] == ["run99", "run00", "run01"]
