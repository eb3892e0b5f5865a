"""The lab's directory: nothing that is not a lab's is ever removed, killed or believed."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from vpnmesh.errors import InputError
from vpnmesh.lab.directory import SCHEMA_VERSION, LabDirectory, LabRecord, boot_id, is_up, lab_directory
from vpnmesh.lab.processes import ProcessIdentity, process

ME = process(os.getpid()) or ProcessIdentity(0, 0)


def _record(**changes: object) -> LabRecord:
    record = LabRecord(
        schema_version=SCHEMA_VERSION,
        boot_id=boot_id(),
        testbed="lab",
        fingerprint="f",
        port_rate_mbit_s=None,
        owned=False,
        owner_pid=1,
        created="2026-01-01T00:00:00+00:00",
        kernel="6",
        init=ME,
        starter=ME,
        controller="198.18.213.1/24",
        uplink="vml0",
        user="mesh",
        nodes=(),
        timings=(),
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def test_a_record_is_read_as_written(tmp_path: Path) -> None:
    """And only its owner may read it."""
    place = LabDirectory(tmp_path)
    place.write(_record())
    assert _record() == place.read()
    assert place.record.stat().st_mode & 0o777 == 0o600


def test_a_record_of_an_older_version_is_of_a_lab_without_containers(tmp_path: Path) -> None:
    """It says nothing of them, and is believed."""
    place = LabDirectory(tmp_path)
    place.write(_record())
    said = json.loads(place.record.read_text())
    del said["kubernetes"]
    place.record.write_text(json.dumps(said))
    assert place.read() == _record(kubernetes=False)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 1}'])
def test_a_record_that_is_none_is_no_lab(tmp_path: Path, text: str) -> None:
    """Half-written or foreign files are not believed."""
    place = LabDirectory(tmp_path)
    place.record.write_text(text)
    assert place.read() is None


def test_a_record_of_root_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` as another user: no traceback."""

    def refuse(_: Path) -> bytes:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="is root's; run this as root"):
        LabDirectory(tmp_path).read()


def test_a_record_of_another_version_is_no_lab(tmp_path: Path) -> None:
    """It may mean something else by the same words."""
    place = LabDirectory(tmp_path)
    place.write(_record(schema_version=SCHEMA_VERSION + 1))
    assert place.read() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"boot_id": "another"},
        {"init": replace(ME, start_ticks=ME.start_ticks + 1)},
        {"init": ProcessIdentity(2**22 + 1, 1)},
    ],
)
def test_a_process_id_alone_proves_nothing(changes: dict[str, object]) -> None:
    """Another boot, another start time, or nobody: no lab is up."""
    assert not is_up(_record(**changes))


def test_the_very_process_proves_a_lab() -> None:
    """Id, start time and boot agree."""
    assert is_up(_record())


def test_a_zombie_is_not_alive() -> None:
    """A killed init that nobody has reaped yet is no lab."""
    with subprocess.Popen(("sleep", "60")) as child:
        known = process(child.pid)
        assert known
        assert known.alive
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not known.alive


def test_a_directory_with_other_files_is_refused_and_kept(tmp_path: Path) -> None:
    """VPNMESH_LAB_DIR=/home must not cost anybody their home."""
    kept = tmp_path / "thesis.tex"
    kept.write_text("years")
    place = LabDirectory(tmp_path)
    for act in (place.make, place.remove, place.check_ours):
        with pytest.raises(InputError, match="files that are no lab's"):
            act()
    assert kept.read_text() == "years"


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """What it points at is not the lab's."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="is no directory"):
        LabDirectory(tmp_path / "link").make()


def test_a_lab_directory_is_private_and_goes_with_all_its_content(tmp_path: Path) -> None:
    """0700 while it is there; nothing of it stays."""
    place = LabDirectory(tmp_path / "lab")
    place.make()
    assert place.path.stat().st_mode & 0o777 == 0o700
    place.key.write_text("secret")
    place.make()
    place.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An argument wins over VPNMESH_LAB_DIR, which wins over the default."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path))
    assert tmp_path == lab_directory(None).path
    assert Path("/elsewhere") == lab_directory(Path("/elsewhere")).path
    monkeypatch.setenv("VPNMESH_LAB_DIR", "")
    assert Path("/run/vpnmesh/lab") == lab_directory(None).path
