"""The policy of skips: one way to skip, a failure in CI but for what no registry serves, and a list at the end."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.needs import KERNEL, UNSERVED, missing, needs, summary

TESTS = ROOT / "tests"
WAYS_TO_SKIP = {"skip", "skipif", "importorskip", "SkipTest", "skipIf", "skipUnless"}


def skips_by_itself(path: Path) -> list[str]:
    """The lines of a file that skip without tests/needs.py."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found = [node.lineno for node in attributes if node.attr in WAYS_TO_SKIP]
    return [f"{path}:{line}" for line in found]


def test_no_test_skips_but_by_needs() -> None:
    """A skip that goes around the policy would vanish in CI without a word."""
    files = [path for path in TESTS.rglob("*.py") if path.name not in {"needs.py", "test_needs.py"}]
    assert len(files) > 100
    assert [line for path in files for line in skips_by_itself(path)] == []


def test_the_search_finds_every_way(tmp_path: Path) -> None:
    """The test above can fail."""
    path = tmp_path / "a.py"
    path.write_text(
        "import pytest\npytest.skip('x')\npytest.importorskip('x')\n@pytest.mark.skipif(True)\ndef test(): ...\n"
    )
    assert skips_by_itself(path) == [f"{path}:{line}" for line in (2, 3, 4)]


def test_what_a_registry_gives_is_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same missing piece is a skip for a person and a failure in CI."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="missing in CI: no php"):
        needs(condition=False, reason="no php")
    with pytest.raises(pytest.fail.Exception, match="missing in CI: no nebula"):
        missing("nebula", "no nebula")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=r"^no php$"):
        needs(condition=False, reason="no php")


@pytest.mark.parametrize("piece", UNSERVED)
def test_what_no_registry_serves_is_skipped_in_ci_too(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each such piece is named in the reason, with why."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception) as skipped:
        missing(piece, "not here")
    assert str(skipped.value) == f"not here ({piece}: {UNSERVED[piece]})"


@pytest.mark.parametrize("piece", [piece for piece, why in UNSERVED.items() if why == KERNEL])
def test_on_the_stock_kernel_such_a_skip_is_a_failure(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere, in CI too, it stays a skip."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception):
        missing(piece, "absent")
    monkeypatch.setenv("VPNMESH_STOCK_KERNEL", "1")
    with pytest.raises(pytest.fail.Exception, match="missing on the stock kernel"):
        missing(piece, "absent")


def test_nothing_is_skipped_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that holds neither skips nor fails."""
    monkeypatch.setenv("CI", "true")
    needs(condition=True, reason="no php")


MADE_UP = """
import pytest
from tests.needs import missing

@pytest.mark.parametrize("n", [1, 2])
def test_a(n): missing("zerotier", "no zerotier-one on PATH")

def test_b(): missing("", "no php")
"""


def test_skips_are_listed_by_reason_with_every_name(tmp_path: Path) -> None:
    """Before pytest's closing line: how many, why, and which tests."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    (tmp_path / "test_it.py").write_text(MADE_UP)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": ""}
    argv = (sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), str(tmp_path))
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "3 tests skipped, by reason" in line)
    assert lines[place + 1 : place + 6] == [
        f"2 skipped: no zerotier-one on PATH (zerotier: {UNSERVED['zerotier']})",
        *(f"    test_it.py::test_a[{n}]" for n in (1, 2)),
        "1 skipped: no php",
        "    test_it.py::test_b",
    ]
    assert "3 skipped in" in lines[-1]


def test_summary_puts_the_commonest_reason_first() -> None:
    """Order is by count, then by words."""
    assert summary([("t1", "b"), ("t2", "a"), ("t3", "b")]) == [
        *("2 skipped: b", "    t1", "    t3"),
        *("1 skipped: a", "    t2"),
    ]
