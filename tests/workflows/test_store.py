"""The run directory survives what runs die of."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import RESULTS, SCHEMA_VERSION, check_results
from vpnmesh.model import Cell, Pair
from vpnmesh.plan import Secret
from vpnmesh.study.journal import VisitStarted
from vpnmesh.study.manifest import Manifest
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record
from workflows.run.store import Store, StoreError

CELL = Cell("native-1450", "loss-1pct", "tcp", Pair("worker1", "worker2"))
GOOD = Measured((Sample("rate_mbit_s", 12.5), Sample("sent_mbit_s", 13.0)))


def record(repetition: int, outcome: Outcome = GOOD) -> Record:
    """An attempt at the cell."""
    return Record(
        CELL, repetition, outcome, datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), rtt_ms_before=0.25
    )


def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    """Measured and failed attempts both count as finished; unavailable ones are tried again."""
    store = Store.create(tmp_path / "run", Manifest(seed=1))
    store.append(record(1))
    store.append(record(2, Failed("path", "went another way")))
    store.append(record(0, Failed(UNAVAILABLE, "unavailable: no binary")))
    again = Store.open(tmp_path / "run")
    assert {(CELL.key, 1), (CELL.key, 2)} == again.finished


def test_a_line_that_a_kill_cut_off_is_dropped_and_the_journal_goes_on(tmp_path: Path) -> None:
    """Half a line is no attempt, and does not spoil the next."""
    store = Store.create(tmp_path / "run")
    store.append(record(1))
    journal = tmp_path / "run" / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"schema_version": 1, "type": "repet')
    again = Store.open(tmp_path / "run")
    assert {(CELL.key, 1)} == again.finished
    again.append(record(2))
    assert [json.loads(line)["repetition"] for line in journal.read_text().splitlines()] == [1, 2]


def test_results_have_the_schema_and_failures_have_no_number(tmp_path: Path) -> None:
    """One row per repetition, in the documented columns; a failure's figures are null."""
    store = Store.create(tmp_path / "run")
    store.append(record(1))
    store.append(record(2, Failed("tool", "iperf3: no output")))
    frame = check_results(pl.read_parquet(store.write_results()), "here")
    assert list(RESULTS) == frame.columns
    assert frame["rate_mbit_s"].to_list() == [12.5, None]
    assert frame["outcome"].to_list() == ["measured", "failed"]
    assert frame["stage"].to_list() == [None, "tool"]
    assert datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC) == frame["started_at"][0]


def test_columns_start_as_documented() -> None:
    """The order that readers rely on."""
    first = [
        "scenario",
        "condition",
        "test",
        "pair",
        "repetition",
        "outcome",
        "stage",
        "reason",
        "rate_mbit_s",
    ]
    assert [*first, "rtt_ms_before", "rtt_ms_after"] == list(RESULTS)[:11]


def test_an_empty_run_has_an_empty_table(tmp_path: Path) -> None:
    """No attempt yet is no error."""
    store = Store.create(tmp_path / "run")
    assert pl.read_parquet(store.write_results()).height == 0


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """--resume of something else says what is missing."""
    with pytest.raises(InputError, match=r"not a run: no manifest\.json"):
        Store.open(tmp_path)


def test_a_run_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    """Old and new runs are never mixed."""
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(InputError, match="schema version"):
        Store.open(tmp_path)


def test_a_directory_with_files_is_not_overwritten(tmp_path: Path) -> None:
    """--out of something that is there is refused."""
    (tmp_path / "precious").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        Store.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_full_disk_is_a_clear_error_and_the_journal_stays_whole(tmp_path: Path) -> None:
    """What cannot be written raises StoreError; what was written stays."""
    store = Store.create(tmp_path / "run")
    store.append(record(1))
    store.directory = Path("/dev/full")
    with pytest.raises(StoreError):
        store.append(record(2))
    assert {(CELL.key, 1)} == Store.open(tmp_path / "run").finished


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """What a shell may have set: the modes of new files without these bits."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_run_is_private(tmp_path: Path) -> None:
    """Nobody else reads a run directory or anything in it, whatever the umask, also where the directory was there."""
    (tmp_path / "open").mkdir(mode=0o755)
    for directory in (tmp_path / "run", tmp_path / "open"):
        store = Store.create(directory, Manifest(seed=1))
        store.append(record(1))
        store.keep_raw("native-1450/tcp/1.json", "{}")
        store.write_results()
        files = [path for path in directory.rglob("*") if path.is_file()]
        assert sorted(path.name for path in files) == [
            "1.json",
            "figures.parquet",
            "journal.jsonl",
            "manifest.json",
            "results.parquet",
        ]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        folders = [directory, *(path for path in directory.rglob("*") if path.is_dir())]
        assert len(folders) == 4
        assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_journal_that_others_could_read_is_closed_when_the_run_goes_on(tmp_path: Path) -> None:
    """A run that was begun with open files is private from its next line on."""
    Store.create(tmp_path / "run").append(record(1))
    journal = tmp_path / "run" / "journal.jsonl"
    journal.chmod(0o644)
    Store.open(tmp_path / "run").append(record(2))
    assert journal.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "word", ['with "quotes"', "back\\slash", "two\nlines", "\u00fcml\u00e4ut", "1234567"]
)
def test_a_secret_of_any_characters_is_in_no_file(tmp_path: Path, word: str) -> None:
    """Quotes, backslashes, line ends, other alphabets: masked in values, keys and raw output."""
    store = Store.create(tmp_path / "run", secrets={Secret(word)})
    store.append(record(1, Failed("tool", f"refused {word}!")))
    more = {"deep": {"list": [f"a {word}"], word: 1, "path": Path(word)}, "count": 1234567}
    store.note(VisitStarted.model_validate(more))
    store.update_manifest(request={"options": (word,)})
    raw = store.keep_raw("out", f"{word}\n{json.dumps({'a': word})}\n{json.dumps(word, ensure_ascii=False)}")
    forms = (word, json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1])
    texts = [(tmp_path / "run" / name).read_text() for name in ("journal.jsonl", "manifest.json", raw)]
    assert [form for form in forms for text in texts if form in text.replace('"count": 1234567', "")] == []
    assert f"refused {Secret(word)}!" == store.repetitions[0].reason
    assert store.events == Store.open(tmp_path / "run").events
    assert store.events[1].line()["count"] == 1234567
