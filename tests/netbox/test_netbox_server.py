"""What is said where NetBox's tests cannot run: no Python that is new enough, or a dump that does not fit."""

import lzma
import re
import sys
from pathlib import Path

import pytest

from tests.netbox import install, server
from tests.netbox.server import DUMP, NetBoxServer, check_dump


def test_no_python_for_netbox_is_the_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PATH, nor pyenv, nor $NETBOX_PYTHON, nor the tests' own: the sentence names all places."""
    monkeypatch.setattr(install, "NEEDED_PYTHON", (sys.version_info.major + 1, 0))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path))
    monkeypatch.delenv("NETBOX_PYTHON", raising=False)
    with pytest.raises(install.NoPythonError, match=r"on PATH, in pyenv, in uv or in \$NETBOX_PYTHON"):
        install.find_python()


def test_without_a_python_the_set_up_leaves_netbox_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no failure of the set-up: one line says why, and that the tests will be skipped."""

    def none(_say: install.Say) -> Path:
        raise install.NoPythonError("NetBox needs another Python")

    monkeypatch.setattr(server, "install", none)
    assert list(server.main(["install"])) == [
        "left out, its tests will be skipped: NetBox needs another Python"
    ]


def test_a_named_python_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """$NETBOX_PYTHON comes first where it is new enough."""
    monkeypatch.setattr(install, "NEEDED_PYTHON", (3, 0))
    monkeypatch.setenv("NETBOX_PYTHON", sys.executable)
    assert install.find_python() == Path(sys.executable)


@pytest.mark.parametrize("named", ["/nonexistent/python", sys.executable])
def test_a_named_python_that_is_none_is_said(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong $NETBOX_PYTHON is one sentence, not a traceback and not another Python in silence."""
    monkeypatch.setattr(install, "NEEDED_PYTHON", (sys.version_info.major + 1, 0))
    monkeypatch.setenv("NETBOX_PYTHON", named)
    with pytest.raises(
        install.NoPythonError, match=rf"NETBOX_PYTHON is {re.escape(named)}, which is no Python"
    ):
        install.find_python()


def test_the_dump_is_there_and_of_this_version() -> None:
    """The repository holds it, and its first line says what it is and how to make it."""
    check_dump(DUMP)
    with lzma.open(DUMP, "rt", encoding="utf-8") as file:
        assert file.readline() == f"-- NetBox {install.VERSION}, made by python -m tests.netbox.dump\n"


def test_a_missing_dump_is_said_with_the_way_out(tmp_path: Path) -> None:
    """After a change of version the file of the new name is missing."""
    words = r"netbox-9.0.0.sql.xz is not there \(netbox-.*\); make a new one: python -m tests.netbox.dump"
    with pytest.raises(install.CannotRunError, match=words):
        check_dump(tmp_path / "netbox-9.0.0.sql.xz")


def test_a_dump_of_another_version_is_said_with_the_way_out(server: NetBoxServer, tmp_path: Path) -> None:
    """One migration fewer, and one that this NetBox does not know: found before any test runs on it."""
    lines = lzma.decompress(DUMP.read_bytes()).decode().splitlines(keepends=True)
    start = next(
        number for number, line in enumerate(lines) if line.startswith("COPY public.django_migrations ")
    )
    end = next(number for number in range(start, len(lines)) if lines[number] == "\\.\n")
    # the newest, for those before it are known by their squashed names too
    place = max(number for number in range(start, end) if "\tdcim\t" in lines[number])
    lines[place] = lines[place].replace("\tdcim\t", "\tdcim\t9999_")
    other = tmp_path / "other.sql.xz"
    other.write_bytes(lzma.compress("".join(lines).encode(), preset=0))
    words = r"does not fit this NetBox: it lacks [1-9]\d* .* 1 others; make a new one: python -m tests.netbox.dump"
    with pytest.raises(install.CannotRunError, match=words), NetBoxServer(dump=other):
        pass
