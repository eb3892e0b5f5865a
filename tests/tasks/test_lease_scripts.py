"""The lease's own scripts, run here in a folder of the test's: claims, renewals, the watchdog, and what it undoes."""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.script import unattended
from vpnmesh.errors import CheckError
from vpnmesh.host import lease as leases
from vpnmesh.host.lease import Lease, LeaseAnswer, LeaseState
from vpnmesh.plan import Command, Completed, Fact, Secret, WriteFile

FIRST = Lease("run-1", "root@one", "2026-01-01 12:00 UTC", "token-1", seconds=60)
SECOND = Lease("run-2", "root@two", "2026-01-01 12:01 UTC", "token-2", seconds=60)
DEADLINE_S = 60


def asked(fact: Fact[LeaseAnswer]) -> LeaseAnswer:
    """What this machine answers."""
    completed = [
        subprocess.run(one.argv, input=str(one.stdin), capture_output=True, text=True, check=False)
        for one in fact.commands
    ]
    return fact.parse(
        [Completed(tuple(one.args), one.returncode, one.stdout, one.stderr) for one in completed]
    )


def come_to_an_end(folder: Path) -> None:
    """Wait until nothing watches the folder any more; fail after a minute."""
    ends_at = time.monotonic() + DEADLINE_S
    while watchdogs(folder):
        assert time.monotonic() < ends_at
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the node keeps its lease; whatever a test left is taken away."""
    yield (folder := tmp_path / "run" / "lease")
    asked(leases.released(folder=str(folder)))


def watchdogs(folder: Path) -> list[str]:
    """The processes that watch that folder."""
    found = subprocess.run(("pgrep", "-f", f"{folder}/watchdog"), capture_output=True, text=True, check=False)
    return found.stdout.split()


def kill_watchdogs(folder: Path) -> None:
    """They are gone when it returns: on a busy machine a process is still there for a moment after its SIGKILL."""
    subprocess.run(("kill", "-9", *watchdogs(folder)), check=True)
    come_to_an_end(folder)


def claim(folder: Path, lease: Lease = FIRST, *, again: bool = False) -> LeaseAnswer:
    """Claim it."""
    return asked(leases.claimed(lease, again=again, folder=str(folder)))


def test_the_second_is_refused_and_told_who_holds_it(folder: Path) -> None:
    """Run, controller and since-when of the first; the first goes on, and after it the second gets it."""
    assert claim(folder).state is LeaseState.MINE
    refused = claim(folder, SECOND)
    assert refused.state is LeaseState.OTHER
    assert refused.holder is not None
    assert str(refused.holder) == "run run-1 of root@one, since 2026-01-01 12:00 UTC"
    assert asked(leases.renewed("token-1", folder=str(folder))).state is LeaseState.MINE
    assert asked(leases.released("token-2", folder=str(folder))).state is LeaseState.OTHER
    assert asked(leases.released("token-1", folder=str(folder))).state is LeaseState.NONE
    assert not folder.parent.exists()
    assert watchdogs(folder) == []
    assert claim(folder, SECOND).state is LeaseState.MINE


def test_a_lease_keeps_the_names_of_the_tables_that_were_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `nft list tables` says at the first claim; who takes the lease back may find tables that the run made."""
    nft = tmp_path / "bin" / "nft"
    nft.parent.mkdir()
    monkeypatch.setenv("PATH", f"{nft.parent}:{os.environ['PATH']}")
    for said in ("table ip nat", "table ip nat\ntable ip filter"):
        nft.write_text(f"#!/bin/sh\nprintf '%s\\n' '{said}'\n")
        nft.chmod(0o755)
        assert claim(folder, again=True).state is LeaseState.MINE
        assert (folder / leases.TABLES).read_text() == "table ip nat\n"
    asked(leases.released(folder=str(folder)))
    assert not folder.exists()


def test_of_many_that_come_at_once_one_wins(folder: Path) -> None:
    """However they meet, exactly one holds it, and one process watches."""
    comers = [replace(SECOND, run=f"run-{n}", token=f"token-{n}") for n in range(6)]
    with ThreadPoolExecutor(len(comers)) as threads:
        answers = list(threads.map(lambda one: claim(folder, one), comers))
    assert sorted(answer.state for answer in answers) == ["mine", *["other"] * 5]
    assert len({answer.holder.run for answer in answers if answer.holder}) == 1
    assert len(watchdogs(folder)) == 1


def test_the_same_run_takes_its_lease_back_and_the_former_session_loses_it(
    folder: Path, tmp_path: Path
) -> None:
    """With `again` at once, and what the former session left is undone; a new run of the same name is refused."""
    claim(folder)
    done = tmp_path / "done"
    script = unattended((WriteFile(str(done), "undone"),))
    assert asked(leases.renewed("token-1", script, folder=str(folder))).state is LeaseState.MINE
    later = replace(FIRST, token="token-3", seconds=50)
    assert claim(folder, later).state is LeaseState.OTHER
    assert not done.exists()
    assert claim(folder, later, again=True).state is LeaseState.MINE
    assert done.exists()
    assert not (folder / "undo").exists()
    assert len(watchdogs(folder)) == 1
    assert asked(leases.renewed("token-1", folder=str(folder))).state is LeaseState.OTHER
    fences = [
        subprocess.run(leases.fence(one, str(folder)).argv, check=False) for one in ("token-1", "token-3")
    ]
    assert [one.returncode for one in fences] == [1, 0]


def test_who_takes_a_lease_away_has_its_undoing_done_first(folder: Path, tmp_path: Path) -> None:
    """Whoever's it is: nothing else may know of what that run made. A second time there is nothing."""
    claim(folder)
    done = tmp_path / "done"
    script = unattended((Command(("false",)), WriteFile(str(done), "undone")))
    asked(leases.renewed("token-1", script, folder=str(folder)))
    assert asked(leases.taken_away(str(folder))).state is LeaseState.NONE
    assert done.read_text() == "undone"
    assert not folder.parent.exists()
    assert watchdogs(folder) == []
    done.unlink()
    assert asked(leases.taken_away(str(folder))).state is LeaseState.NONE
    assert not done.exists()


@pytest.mark.slow
def test_silence_is_undone_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    """Renewed it holds; after the last renewal the script runs, every step of it; then neither folder nor process."""
    done, short = tmp_path / "done", replace(FIRST, seconds=5)
    claim(folder, short)
    script = unattended((Command(("false",)), WriteFile(str(done), "undone")))
    assert asked(leases.renewed("token-1", script, folder=str(folder))).state is LeaseState.MINE
    assert (folder / "undo").stat().st_mode & 0o777 == 0o600
    ends_at = time.monotonic() + 1.5 * short.seconds
    while time.monotonic() < ends_at:
        time.sleep(0.1)
        assert asked(leases.renewed("token-1", folder=str(folder))).state is LeaseState.MINE
    assert not done.exists()
    come_to_an_end(folder)
    assert done.read_text() == "undone"
    assert not folder.parent.exists()
    assert asked(leases.renewed("token-1", folder=str(folder))).state is LeaseState.NONE


@pytest.mark.slow
def test_what_a_killed_watchdog_could_not_undo_the_next_claim_does(folder: Path, tmp_path: Path) -> None:
    """While its time is not over it is still held, and a renewal starts another watchdog; after that it is undone."""
    done, short = tmp_path / "done", replace(FIRST, seconds=6)
    claim(folder, short)
    asked(leases.renewed("token-1", unattended((WriteFile(str(done), "undone"),)), folder=str(folder)))
    kill_watchdogs(folder)
    assert asked(leases.renewed("token-1", folder=str(folder))).state is LeaseState.MINE
    kill_watchdogs(folder)
    assert claim(folder, SECOND).state is LeaseState.OTHER
    ends_at = time.monotonic() + DEADLINE_S
    while claim(folder, SECOND).state is not LeaseState.MINE:
        assert time.monotonic() < ends_at
        time.sleep(0.2)
    assert done.read_text() == "undone"
    assert not (folder / "undo").exists()


def test_no_secret_goes_into_a_script_on_the_node() -> None:
    """A plan that needs one cannot be kept there."""
    with pytest.raises(CheckError, match="needs a secret"):
        unattended((WriteFile("/run/key", Secret("hidden")),))
    with pytest.raises(CheckError, match="needs a secret"):
        unattended((Command(("cat",), stdin=Secret("hidden")),))
