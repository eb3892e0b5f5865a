"""The reason that NetBox's tests skip with where no Python is new enough for it."""

import sys
from pathlib import Path

import pytest

from tests.netbox import server


def test_no_python_for_netbox_is_the_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PATH, nor pyenv, nor $NETBOX_PYTHON, nor the tests' own: the sentence names all places."""
    monkeypatch.setattr(server, "NEEDED_PYTHON", (sys.version_info.major + 1, 0))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("NETBOX_PYTHON", raising=False)
    with pytest.raises(server.NoPythonError, match=r"on PATH, in pyenv or in \$NETBOX_PYTHON"):
        server.find_python()


def test_a_named_python_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """$NETBOX_PYTHON comes first where it is new enough."""
    monkeypatch.setattr(server, "NEEDED_PYTHON", (3, 0))
    monkeypatch.setenv("NETBOX_PYTHON", sys.executable)
    assert server.find_python() == Path(sys.executable)
