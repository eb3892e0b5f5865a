"""The reason that NetBox's tests skip with where no Python is new enough for it."""

import sys
from pathlib import Path

import pytest

from tests.netbox import install


def test_no_python_for_netbox_is_the_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PATH, nor pyenv, nor $NETBOX_PYTHON, nor the tests' own: the sentence names all places."""
    monkeypatch.setattr(install, "NEEDED_PYTHON", (sys.version_info.major + 1, 0))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path))
    monkeypatch.delenv("NETBOX_PYTHON", raising=False)
    with pytest.raises(install.NoPythonError, match=r"on PATH, in pyenv, in uv or in \$NETBOX_PYTHON"):
        install.find_python()


def test_a_named_python_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """$NETBOX_PYTHON comes first where it is new enough."""
    monkeypatch.setattr(install, "NEEDED_PYTHON", (3, 0))
    monkeypatch.setenv("NETBOX_PYTHON", sys.executable)
    assert install.find_python() == Path(sys.executable)
