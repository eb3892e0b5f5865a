"""A file is replaced whole or not at all, and nobody else reads it unless that is asked for."""

import os
from pathlib import Path

import pytest

from vpnmesh.lab.atomic import open_private, write_atomic


def test_the_content_is_there_and_nothing_else(tmp_path: Path) -> None:
    """Made new and replaced; no file is left beside it."""
    path = tmp_path / "file"
    for content in (b"one", b"two and more", b""):
        write_atomic(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o755])
def test_the_mode_is_the_one_asked_for(tmp_path: Path, mode: int) -> None:
    """Whatever the umask is and whatever mode the old file has."""
    path = tmp_path / "file"
    path.touch(mode=0o666)
    before = os.umask(0o077)
    try:
        write_atomic(path, b"x", mode)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_by_default_it_is_private(tmp_path: Path) -> None:
    """Also with a umask that would let others read."""
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "file", b"x")
        with open_private(tmp_path / "log", os.O_APPEND) as file:
            file.write(b"y")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not take the content: the old one is whole, and the part that was written is gone."""
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    """The next write uses the same name on its way."""
    (tmp_path / "file.new").write_bytes(b"half")
    write_atomic(tmp_path / "file", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """What the link pointed to is somebody else's."""
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "file").symlink_to(tmp_path / "other")
    write_atomic(tmp_path / "file", b"mine")
    assert (tmp_path / "other").read_bytes() == b"other"
    assert not (tmp_path / "file").is_symlink()


def test_appending_goes_on_at_the_end(tmp_path: Path) -> None:
    """A journal's way of writing."""
    for line in (b"one\n", b"two\n"):
        with open_private(tmp_path / "journal", os.O_APPEND) as file:
            file.write(line)
    assert (tmp_path / "journal").read_bytes() == b"one\ntwo\n"
