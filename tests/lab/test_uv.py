"""uv is found where the set-up put it, not on PATH alone."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from vpnmesh.lab import uv


def program(path: Path) -> Path:
    """Something that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a uv of their own keeps it."""
    own = program(tmp_path / "bin" / "uv")
    monkeypatch.setattr(uv, "SET_UP", program(tmp_path / "build" / "uv"))
    monkeypatch.setenv("PATH", str(own.parent))
    assert uv.find_uv() == str(own)


def test_without_path_the_set_ups_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine has uv in the checkout alone; without either there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uv, "SET_UP", tmp_path / "build" / "uv")
    assert uv.find_uv() is None
    program(tmp_path / "build" / "uv")
    assert uv.find_uv() == str(tmp_path / "build" / "uv")


def test_the_place_is_where_the_set_up_installs() -> None:
    """tools/make-venv and the lookup name the same file."""
    assert str(uv.SET_UP.relative_to(ROOT)) in (ROOT / "tools" / "make-venv").read_text(encoding="utf-8")
