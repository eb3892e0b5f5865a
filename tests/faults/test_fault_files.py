"""Files and disks of a run that fail: one sentence with a way out, no row lost, no row read that is none."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.faults.table import (
    BROKEN_LINE,
    CUT_MANIFEST,
    CUT_TABLE,
    CUT_TABLE_ALONE,
    HALF_LINE,
    PART_OF_A_LINE,
    READ_ONLY_END,
    READ_ONLY_START,
)
from tests.needs import needs
from tests.small_disk import mount, small_disk
from vpnmesh.errors import InputError
from vpnmesh.model import Cell, Condition, Testbed
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record
from workflows import report
from workflows.full_matrix import main as matrix
from workflows.run import provenance
from workflows.run.store import Store, StoreError

ROWS = 3


def record(bed: Testbed, repetition: int, reason: str = "") -> Record:
    """A measured repetition, its folder named so long that lines differ in length."""
    cell = Cell("native-1450", Condition().name, "tcp", bed.pairs[0])
    outcome = Measured((Sample("rate_mbit_s", 900.0 + repetition),))
    return Record(cell, repetition, outcome, datetime.now(UTC), sequence=repetition, raw=reason)


@pytest.fixture
def store(bed: Testbed, tmp_path: Path) -> Store:
    """A run with some rows and its tables."""
    made = Store.create(tmp_path / "run", provenance.request(PROFILES["quick"], 1, "lab", bed))
    for number in range(1, ROWS + 1):
        made.append(record(bed, number))
    made.write_results()
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    needs(os.geteuid() == 0, "mounting a small disk needs root")
    with small_disk(tmp_path / "disk", "64k") as place:
        yield place


def fill(store: Store, bed: Testbed) -> None:
    """Append lines that are no part of a page until the disk is full."""
    for number in range(1, 1000):
        store.append(record(bed, number, "x" * 1500))


def cut(path: Path, share: float = 0.5) -> None:
    """Leave the first part of a file, as a copy that was broken off does."""
    os.truncate(path, int(path.stat().st_size * share))


def said_by(command: object, *arguments: str) -> tuple[int, str]:
    """Exit code and last line of a command."""
    done = CliRunner().invoke(command, arguments)  # type: ignore[arg-type]
    return done.exit_code, (done.output.strip().splitlines() or [""])[-1]


def reported(store: Store) -> tuple[int, str]:
    """What a report of the run says."""
    return said_by(report.main, str(store.directory), "--out", f"{store.directory}-report")


def resumed(store: Store) -> tuple[int, str]:
    """What going on with the run says, up to its plan."""
    return said_by(matrix, "--resume", str(store.directory), "--plan")


def test_a_line_that_the_disk_took_in_part_is_taken_back(bed: Testbed, disk: Path) -> None:
    """A full disk takes what its last page holds; after that whole lines may find room again, and must stand alone."""
    store = Store.create(disk / "run", provenance.request(PROFILES["quick"], 1, "lab", bed))
    with pytest.raises(StoreError) as caught:
        fill(store, bed)
    assert PART_OF_A_LINE.says(str(caught.value))
    written = len(store.events)
    assert store.files.journal_path.read_bytes().endswith(b"\n")
    mount("-o", "remount,size=1m", str(disk))
    store.append(record(bed, 1000))
    assert len(Store.open(disk / "run").events) == written + 1


def test_a_disk_that_takes_nothing_refuses_a_run_at_its_start(bed: Testbed, disk: Path) -> None:
    """Nothing was touched by then: the directory is made before the first node is changed."""
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(InputError) as caught:
        Store.create(disk / "run", provenance.request(PROFILES["quick"], 1, "lab", bed))
    assert READ_ONLY_START.says(str(caught.value))


def test_a_disk_that_takes_nothing_at_the_end_costs_no_row(bed: Testbed, disk: Path) -> None:
    """The tables are missing, and are made from the journal once the disk takes them."""
    store = Store.create(disk / "run", provenance.request(PROFILES["quick"], 1, "lab", bed))
    store.append(record(bed, 1))
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(StoreError) as caught:
        store.write_results()
    assert READ_ONLY_END.says(str(caught.value))
    mount("-o", "remount,rw", str(disk))
    assert pl.read_parquet(Store.open(disk / "run").write_results()).height == 1


@pytest.mark.slow
def test_half_a_line_at_the_end_is_no_attempt(bed: Testbed, store: Store) -> None:
    """Its repetition is asked for again, and the line written then is whole."""
    path = store.files.journal_path
    last = path.read_bytes().splitlines(keepends=True)[-1]
    os.truncate(path, path.stat().st_size - len(last) // 2)
    assert (reported(store)[0], resumed(store)[0]) == (0, 0)
    again = Store.open(store.directory)
    assert HALF_LINE.reason == ""
    assert {repetition for _, repetition in again.finished} == {1, 2}
    again.append(record(bed, 3))
    assert len(Store.open(store.directory).repetitions) == ROWS


def test_a_cut_line_in_the_middle_is_named(store: Store) -> None:
    """Whose it was, nobody can say: the run is neither gone on with nor reported."""
    lines = store.files.journal_path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][: len(lines[1]) // 2] + b"\n"
    store.files.journal_path.write_bytes(b"".join(lines))
    for code, said in (reported(store), resumed(store)):
        assert code == 2
        assert BROKEN_LINE.says(said.removeprefix("error: ")), said


def test_a_cut_manifest_is_named(store: Store) -> None:
    """Nothing of it is guessed."""
    cut(store.files.manifest_path)
    for code, said in (reported(store), resumed(store)):
        assert code == 2
        assert CUT_MANIFEST.says(said.removeprefix("error: ")), said


@pytest.mark.slow
def test_a_cut_table_is_made_again_from_the_journal(store: Store) -> None:
    """The tables are no source: a report reads the journal, and a run that is gone on with makes them anew."""
    for path in (store.files.results_path, store.files.figures_path):
        cut(path)
    assert CUT_TABLE.reason == ""
    assert (reported(store)[0], resumed(store)[0]) == (0, 0)
    Store.open(store.directory).write_results()
    assert pl.read_parquet(store.files.results_path)["rate_mbit_s"].to_list() == [901.0, 902.0, 903.0]


def test_a_cut_table_without_a_journal_is_named(store: Store) -> None:
    """A copy of the table alone is all that there is."""
    cut(store.files.results_path)
    store.files.journal_path.unlink()
    code, said = reported(store)
    assert code == 2
    assert CUT_TABLE_ALONE.says(said.removeprefix("error: ")), said
