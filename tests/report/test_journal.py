"""A run's journal is the truth; a table stands in only where there is no journal, and never in silence."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.report.test_runs import line, rate, report, run
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.study.journal import parse_event
from vpnmesh.study.record import frame_of
from workflows.reporting.studies import study_from_run


def means(folder: Path) -> list[float]:
    return study_from_run(folder).tables["throughput"]["mean_mbit_s"].to_list()


def test_a_table_from_before_a_kill_is_not_believed(tmp_path: Path) -> None:
    """Interrupted (the table is written), resumed, killed (it is not): the report holds what the journal holds."""
    before = [line("native-1450", "tcp", rate(100.0))]
    folder = run(tmp_path / "run", before)
    after = [*before, line("native-1450", "tcp", rate(300.0), 2), line("nebula-direct", "tcp", rate(50.0))]
    (folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in after))
    assert means(folder) == [200.0, 50.0]
    assert study_from_run(folder).samples.equals(frame_of([parse_event(one) for one in after]))


def test_without_a_journal_the_table_is_read_and_said_to_be(tmp_path: Path) -> None:
    """An exported table is a source of its own; a note says that there was no journal to read."""
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(100.0))])
    (folder / "journal.jsonl").unlink()
    assert means(folder) == [100.0]
    assert "no journal.jsonl: read from results.parquet" in " ".join(study_from_run(folder).notes)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table at all, but long enough to be one", None])
def test_a_table_that_is_none_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    """Empty, cut off or foreign: exit code 2 and the file's name, no traceback."""
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(100.0))])
    (folder / "journal.jsonl").unlink()
    table = folder / "results.parquet"
    table.write_bytes(table.read_bytes()[:-40] if content is None else content)
    told = report(folder)
    assert (told.exit_code, "results.parquet" in told.output, type(told.exception)) == (2, True, SystemExit)


def test_a_table_with_other_columns_is_a_sentence(tmp_path: Path) -> None:
    """A whole parquet file of something else names the column that is missing."""
    folder = run(tmp_path / "run", [])
    (folder / "journal.jsonl").unlink()
    pl.DataFrame({"scenario": ["x"]}).write_parquet(folder / "results.parquet")
    told = report(folder)
    assert (told.exit_code, "results.parquet: column condition is missing" in told.output) == (2, True)


def test_a_broken_table_beside_a_whole_journal_stops_nothing(tmp_path: Path) -> None:
    """It is not read for the report, and it is left out of the archive by name."""
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(100.0))])
    (folder / "results.parquet").write_bytes(b"PAR1 cut off")
    told = report(folder, "--bundle")
    assert (told.exit_code, told.exception) == (0, None), told.output
    assert "run/results.parquet: left out of the bundle: it is no whole parquet file" in told.stderr


@pytest.mark.parametrize("content", [b"", b"no table", None])
def test_requests_that_are_no_table_are_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    """A foreign api.parquet names the file, whether it is no parquet or one of other columns."""
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(100.0))])
    if content is None:
        pl.DataFrame({"scenario": ["x"]}).write_parquet(folder / "api.parquet")
    else:
        (folder / "api.parquet").write_bytes(content)
    told = report(folder)
    assert (told.exit_code, "api.parquet" in told.output, type(told.exception)) == (2, True, SystemExit)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate_mbit_s", "fast"), ("visit", "two"), ("near_cap", 3.5), ("started_at", "noon"), ("sequence", 1.5)],
)
def test_a_journal_with_a_foreign_value_is_a_sentence(tmp_path: Path, name: str, value: object) -> None:
    """A value that the column cannot hold names the journal and the column."""
    folder = run(tmp_path / "run", [], finished=False)
    made = {**line("native-1450", "tcp", rate(100.0)), name: value, "schema_version": SCHEMA_VERSION}
    (folder / "journal.jsonl").write_text(json.dumps(made) + "\n")
    told = report(folder)
    assert (told.exit_code, type(told.exception)) == (2, SystemExit), told.output
    assert f"journal.jsonl: {name}" in told.output
