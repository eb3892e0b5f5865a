"""Files pushed to real nodes over their SSH connections: whole or not at all, and taken back again."""

import hashlib
from pathlib import Path

import pytest
from nornir.core import Nornir

import tasks
from inventory.load import load
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.brought import LIST
from vpnmesh.lab.lifecycle import Lab
from workflows.run.hosts import HostsFailedError, abort_connections, run_on

pytestmark = pytest.mark.live

TARGET = "/var/lib/vpnmesh/pushed/program"
SIZE = 24_000_000
WORKERS = ("worker1", "worker2")


@pytest.fixture
def nr(lab: Lab) -> Nornir:
    """Nornir on the lab, logged in as a user who needs sudo."""
    assert lab.user != "root"
    return load("lab")[0]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that is too large for a command line, and whose bytes are of all kinds."""
    path = tmp_path / "program"
    path.write_bytes(hashlib.sha512(b"seed").digest() * (SIZE // 64))
    return path


def push(nr: Nornir, source: Path, sha256: str = "", **more: object) -> dict[str, bool]:
    """Push it to both workers; which of them changed."""
    wanted = sha256 or tasks.pushing.sha256_of(source)
    results = run_on(
        nr, WORKERS, tasks.push_file, source=source, target=TARGET, sha256=wanted, mode=0o755, **more
    )
    return {name: bool(result.changed) for name, result in results.items()}


def said(nr: Nornir, host: str, *argv: str) -> str:
    """What a command says there."""
    return str(run_on(nr, [host], tasks.run_command, argv=argv)[host].result)


def withdraw(nr: Nornir) -> set[bool]:
    """Take back what was brought; whether there was anything."""
    return {bool(one.changed) for one in run_on(nr, WORKERS, tasks.withdraw_files).values()}


def files_left(nr: Nornir) -> str:
    """Of pushing, on worker1."""
    return said(nr, "worker1", "sh", "-c", f"ls {LIST}* {TARGET}* 2> /dev/null; true").strip()


def test_pushed_once_and_taken_back(nr: Nornir, source: Path) -> None:
    """A dry run only shows it; then it is there, executable; a second time nothing changes; the end leaves nothing."""
    came: list[int] = []
    assert push(nr, source, dry_run=True) == {"worker1": True, "worker2": True}
    assert files_left(nr) == ""
    assert push(nr, source, told=lambda _host, sent: came.append(sent)) == {"worker1": True, "worker2": True}
    assert max(came) == source.stat().st_size
    mode_and_sum = said(nr, "worker2", "sh", "-c", f"stat -c %a {TARGET}; sha256sum < {TARGET}")
    assert mode_and_sum.split()[:2] == ["755", tasks.pushing.sha256_of(source)]
    assert push(nr, source) == {"worker1": False, "worker2": False}
    assert withdraw(nr) == {True}
    assert withdraw(nr) == {False}
    assert files_left(nr) == ""


def test_a_newer_file_takes_the_place_of_ours_only(nr: Nornir, source: Path) -> None:
    """Ours is replaced by another version; a file that somebody changed since is neither replaced nor removed."""
    push(nr, source)
    source.write_bytes(b"#!/bin/sh\n")
    assert push(nr, source) == {"worker1": True, "worker2": True}
    said(nr, "worker1", "sh", "-c", f"echo changed >> {TARGET}")
    source.write_bytes(b"#!/bin/sh\ntrue\n")
    with pytest.raises(
        HostsFailedError, match=r"worker1: /var/.*program is there already, and not from here"
    ):
        push(nr, source)
    withdraw(nr)
    assert files_left(nr) == TARGET
    said(nr, "worker1", "rm", TARGET)


def test_a_wrong_checksum(nr: Nornir, source: Path) -> None:
    """Both sums are said and no part of it stays."""
    with pytest.raises(
        HostsFailedError, match=r"did not arrive: what came has the SHA-256 [0-9a-f]{64}, not 0{64}"
    ):
        push(nr, source, "0" * 64)
    assert files_left(nr) == ""


def test_a_cut_transfer(nr: Nornir, source: Path) -> None:
    """The connection ends in the middle: the node is named, nothing half is left, and the next push succeeds."""

    def cut(_host: str, sent: int) -> None:
        if sent > SIZE // 3:
            abort_connections(nr)

    with pytest.raises(HostsFailedError, match="worker") as caught:
        push(nr, source, told=cut)
    assert all(isinstance(error, VpnmeshError) for error in caught.value.errors.values())
    assert TARGET not in files_left(nr).split()
    assert push(nr, source) == {"worker1": True, "worker2": True}
    withdraw(nr)
    assert files_left(nr) == ""


def test_a_disk_too_small(nr: Nornir, source: Path) -> None:
    """Seen before a byte is sent, with both sizes."""
    folder = str(Path(TARGET).parent)
    mount = f"mkdir -p {folder} && mount -t tmpfs -o size=8m tmpfs {folder}"
    for name in WORKERS:
        said(nr, name, "sh", "-c", mount)
    try:
        with pytest.raises(HostsFailedError, match=r"needs 56 MB free on its disk, which has 8 MB"):
            push(nr, source)
    finally:
        for name in WORKERS:
            said(nr, name, "umount", folder)


def test_a_disk_that_fills_up_meanwhile(nr: Nornir, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own words say it, in one sentence, and nothing half is left."""
    folder = str(Path(TARGET).parent)
    monkeypatch.setattr("tasks.pushing.SPARE_BYTES", -SIZE)
    for name in WORKERS:
        said(nr, name, "sh", "-c", f"mkdir -p {folder} && mount -t tmpfs -o size=8m tmpfs {folder}")
    try:
        with pytest.raises(HostsFailedError, match=r"did not arrive: .*No space left on device"):
            push(nr, source)
        assert files_left(nr) == ""
    finally:
        for name in WORKERS:
            said(nr, name, "umount", folder)
