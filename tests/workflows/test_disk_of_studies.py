"""A disk that fills up beneath a fallback study or a NAT grid: one sentence, exit code 2, and nothing is lost."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.needs import needs
from tests.small_disk import mount, small_disk
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.study.fallback import event_named
from vpnmesh.study.fallback_record import Attempt, Outcome
from vpnmesh.study.nat_grid import Found, NatPair, NatRecord
from vpnmesh.study.scenarios import scenario_named
from workflows.run import fallback, nat_grid
from workflows.run.disk import DiskError
from workflows.run.fallback_store import FallbackStore
from workflows.run.nat_grid_files import GridFiles

KINDS = [kind for kind in NatKind if kind is not NatKind.IPV6_ONLY]
PAIRS = [NatPair(one, other) for one in KINDS for other in KINDS]
FULL = "No space left on device; make room, then go on with"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    needs(os.geteuid() == 0, "mounting a small disk needs root")
    with small_disk(tmp_path / "disk", "64k") as place:
        yield place


def attempt(repetition: int) -> Attempt:
    reason = "x" * 3000
    return Attempt("nebula", "path-cut", repetition, "2026-11-29T12:00:00", Outcome.FAILED, reason=reason)


def cell(pair: NatPair) -> NatRecord:
    reason = "x" * 3000
    return NatRecord(
        "nebula", "nebula-direct", pair.client, pair.server, Found.NOTHING, "2026-11-29", reason=reason
    )


def fill(store: FallbackStore) -> None:
    for number in range(1, 100):
        store.append(attempt(number))


def fill_grid(files: GridFiles, written: list[NatPair]) -> None:
    for pair in PAIRS:
        files.add(cell(pair))
        written.append(pair)


def test_a_fallback_study_goes_on_once_there_is_room(disk: Path) -> None:
    """All whole lines are there, the one that did not fit is not, and the next one follows them."""
    store = FallbackStore.new(disk / "study", frozenset())
    store.begin()
    with pytest.raises(DiskError, match=f"{FULL} --resume {disk}/study"):
        fill(store)
    written = len(store.attempts)
    assert written > 10
    with pytest.raises(DiskError, match=FULL):
        store.keep_raw("nebula/said.txt", "x" * 100_000)
    with pytest.raises(DiskError, match=FULL):
        store.write_page()
    mount("-o", "remount,size=4m", str(disk))
    again = FallbackStore.open(disk / "study", frozenset())
    assert [one.repetition for one in again.attempts] == list(range(1, written + 1))
    again.append(attempt(written + 1))
    assert again.write_page().exists()
    assert len(FallbackStore.open(disk / "study", frozenset()).attempts) == written + 1


def test_a_nat_grid_goes_on_once_there_is_room(disk: Path) -> None:
    files = GridFiles(disk / "grid")
    files.prepare()
    written: list[NatPair] = []
    with pytest.raises(DiskError, match=f"{FULL} --out {disk}/grid"):
        fill_grid(files, written)
    assert len(written) > 10
    with pytest.raises(DiskError, match=FULL):
        files.keeper("nebula")(PAIRS[0], "x" * 100_000)
    with pytest.raises(DiskError, match=FULL):
        files.keep_log("nebula", "a.log", "x" * 100_000)
    assert [pair for _, pair in files.read()] == written
    mount("-o", "remount,size=4m", str(disk))
    files.add(cell(PAIRS[len(written)]))
    assert [pair for _, pair in files.read()] == PAIRS[: len(written) + 1]


def full(*_: object) -> Any:
    raise DiskError("there", "No space left on device", "make room")


def test_a_full_disk_is_no_cell_and_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is not taken for something that failed on the nodes: the command ends."""
    monkeypatch.setattr(nat_grid, "keep_lease", lambda _site: None)
    monkeypatch.setattr(nat_grid, "_measured", full)
    grid: Any = SimpleNamespace(
        site=None, name="nebula", mesh=SimpleNamespace(scenario=scenario_named("nebula-direct"))
    )
    with pytest.raises(DiskError):
        nat_grid.measure_cell(grid, PAIRS[0], full)
    monkeypatch.setattr(fallback, "hold_again", lambda _site: None)
    monkeypatch.setattr(fallback, "provisioned", full)
    asked = fallback.Asked("nebula", event_named("path-cut"), 1, scenario_named("nebula-direct"))
    site: Any = None
    with pytest.raises(DiskError):
        fallback.attempt(site, asked, fallback.Timing(), full, full)
