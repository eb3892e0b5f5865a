"""The folder of a fallback study, before anything was measured."""

import os
from pathlib import Path

import pytest

from vpnmesh.errors import InputError
from workflows.run.fallback_store import FallbackStore


def test_a_command_that_was_refused_can_be_given_again(tmp_path: Path) -> None:
    """The folder is made before a lab is, and holds nothing until something was measured."""
    for _ in range(2):
        FallbackStore.new(tmp_path / "study", frozenset()).begin()
    assert list((tmp_path / "study").iterdir()) == []
    assert (tmp_path / "study").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One below somebody else's that cannot be looked into, and one that cannot be written to."""

    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"--out: .* cannot be written to"):
        FallbackStore.new(tmp_path, frozenset()).begin()
    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        FallbackStore.new(tmp_path, frozenset())
