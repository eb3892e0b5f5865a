"""What was begun on a firewall is read by nobody else: a snapshot tells which rules it has."""

import os
import stat
from pathlib import Path

import pytest

from tasks.firewall.journal import HISTORY, Journal, default_directory
from vpnmesh.firewall.session import ChangeOrigin


def test_the_journal_is_private_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders 0700 and files 0600, the state directory made for it, the lock and the history included."""
    monkeypatch.setenv("VPNMESH_STATE_DIR", str(tmp_path / "new" / "state"))
    journal, before = Journal(tmp_path / "open"), os.umask(0)
    try:
        (tmp_path / "open").mkdir(mode=0o755)
        for run in ("a", "b"):
            origin = ChangeOrigin(run, "fw", "nftables", "192.0.2.1")
            with journal.writer(origin):
                journal.begin(origin, "revision", {"rules": []}, anew=True)
                journal.confirm(origin, "block-udp")
        journal.end(origin)
    finally:
        os.umask(before)
    folders: set[tuple[Path, int]] = set()
    files: set[tuple[Path, int]] = set()
    for path in (default_directory(), journal.directory, *tmp_path.rglob("*")):
        (folders if path.is_dir() else files).add((path, stat.S_IMODE(path.stat().st_mode)))
    assert {mode for _, mode in folders} == {0o700}
    assert {mode for _, mode in files} == {0o600}
    assert {HISTORY, "a@fw-nftables-192.0.2.1.json"} < {path.name for path, _ in files}
    assert len(files) == 3
