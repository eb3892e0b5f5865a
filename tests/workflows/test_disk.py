"""A disk that fills up or turns read-only during a run: one sentence, and nothing that was written is lost."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.needs import needs
from tests.small_disk import mount, small_disk
from vpnmesh.errors import InputError
from vpnmesh.model import Cell, Pair
from vpnmesh.study.manifest import Manifest
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.study.record import Record
from workflows.run.store import Store, StoreError

CELL = Cell("native-1450", "none", "tcp", Pair("worker1", "worker2"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    needs(os.geteuid() == 0, "mounting a small disk needs root")
    with small_disk(tmp_path / "disk", "64k") as place:
        yield place


def record(repetition: int) -> Record:
    """A measured repetition."""
    return Record(CELL, repetition, Measured((Sample("rate_mbit_s", 1.0),)), datetime.now(UTC))


def fill(store: Store) -> None:
    """Append until the disk is full."""
    for number in range(1000):
        store.append(record(number))


def test_a_disk_that_fills_up_loses_nothing(disk: Path) -> None:
    """StoreError says where and how to go on; all whole lines are there, and with room the run goes on."""
    store = Store.create(disk / "run", Manifest(seed=1))
    with pytest.raises(StoreError, match=r"No space left on device; make room, then go on with --resume"):
        fill(store)
    written = len(store.events)
    assert written > 10
    with pytest.raises(StoreError, match="No space left"):
        store.update_manifest(more="x" * 5000)
    with pytest.raises(StoreError, match="No space left"):
        store.keep_raw("a/b.txt", "x" * 100_000)
    mount("-o", "remount,size=1m", str(disk))
    again = Store.open(disk / "run")
    assert again.manifest().seed == 1
    assert again.finished == {(CELL.key, n) for n in range(written)}
    again.append(record(written))
    again.write_results()
    assert (CELL.key, written) in Store.open(disk / "run").finished


def test_half_a_line_is_never_followed_by_another(disk: Path) -> None:
    """What a full disk took of a line is taken back, so that whoever goes on writing there spoils nothing."""
    store = Store.create(disk / "run", Manifest(seed=1))
    with pytest.raises(StoreError, match="No space left"):
        fill(store)
    written = len(store.events)
    mount("-o", "remount,size=1m", str(disk))
    store.append(record(written))
    assert Store.open(disk / "run").finished == {(CELL.key, n) for n in range(written + 1)}


def test_a_read_only_disk_is_one_sentence(disk: Path) -> None:
    """A new run is refused as bad input; one that goes on stops at the first write and leaves all as it is."""
    Store.create(disk / "run", Manifest(seed=1)).append(record(1))
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(InputError, match=r"--out: .* cannot be made: Read-only file system"):
        Store.create(disk / "other")
    again = Store.open(disk / "run")
    writes: list[Callable[[], object]] = [
        lambda: again.update_manifest(more=1),
        lambda: again.append(record(2)),
        again.write_results,
        lambda: again.keep_raw("a.txt", "x"),
    ]
    for write in writes:
        with pytest.raises(StoreError, match="Read-only file system"):
            write()
    assert again.finished == {(CELL.key, 1)}
