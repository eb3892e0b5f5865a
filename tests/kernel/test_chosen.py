"""The tests that are chosen for the stock kernel are there, and so is every piece that only it has."""

import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel.__main__ import main, run_all
from tests.kernel.at_once import RESULTS
from tests.kernel.chosen import CHOSEN, SLOW, Group, node_ids
from tests.kernel.guest import ROOT, GuestError
from tests.kernel.inside import RESULTS_FILE, script
from tests.kernel.told import Told, read_told, summary
from tests.needs import KERNEL, UNSERVED

PIECES = [piece for piece, why in UNSERVED.items() if why == KERNEL]


def functions(file: str) -> set[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("group", [*CHOSEN, *SLOW], ids=lambda group: Path(group.file).stem)
def test_every_chosen_test_is_there(group: Group) -> None:
    """A test that was renamed or taken away would make the selection smaller without a word."""
    assert group.tests
    assert {test.partition("[")[0] for test in group.tests} <= functions(group.file)
    assert all(identity.startswith(f"{group.file}::test_") for identity in node_ids(group))


@pytest.mark.parametrize("piece", PIECES)
def test_what_only_another_kernel_has_is_tested_there(piece: str) -> None:
    """Each such piece is asked for by a chosen file."""
    assert any(f'missing("{piece}"' in (ROOT / group.file).read_text() for group in CHOSEN)


def test_the_guest_is_told_what_to_run(tmp_path: Path) -> None:
    """Names with brackets and blanks reach pytest as they are; results go to the share."""
    text = script(["a.py::test_x[b c]"], tmp_path)
    assert "'a.py::test_x[b c]'" in text
    assert f"export {RESULTS}={tmp_path}/{RESULTS_FILE}" in text
    assert "export VPNMESH_STOCK_KERNEL=1" in text


def test_a_wrong_name_is_told_before_a_boot(capsys: pytest.CaptureFixture[str]) -> None:
    """pytest's own words, and nothing to run."""
    assert main(["tests/kernel/test_chosen.py::test_there_is_none"]) == 2
    assert "test_there_is_none" in capsys.readouterr().out


PASSES = """
def test_passes(record_property):
    record_property("netem", "loss-5pct|pod, client|5.00 % lost|4.80 % of 2,000 pings")
    record_property("other", "x")
"""
OTHERS = """
import os, pytest
def test_skips():
    pytest.skip("why")
def test_fails():
    assert 1 == 2
@pytest.fixture
def late():
    yield
    raise ValueError
def test_ends_badly(late):
    pass
def test_takes_all_along():
    os._exit(3)
def test_is_never_begun():
    pass
"""


def test_outcomes_and_netems_figures_are_kept_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each: what came before the end of everything is known, and what had not begun, too."""
    monkeypatch.setenv(RESULTS, str(tmp_path / "results"))
    asked = []
    for name, text in (("test_first.py", PASSES), ("test_second.py", OTHERS)):
        (tmp_path / name).write_text(text)
        asked += [
            f"{name}::{line[4:].partition('(')[0]}" for line in text.splitlines() if line[:9] == "def test_"
        ]
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.kernel.at_once", "-c", "/dev/null",
         "--rootdir", str(tmp_path), *asked),
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 3
    assert "test_second.py::test_fails (call):" in done.stdout
    lines = summary(read_told(tmp_path / "results"), asked, 61.2)
    assert [re.sub(r" +[0-9]+ s  ", " ", line) for line in lines] == [
        "| condition | where | asked | seen |",
        "| --- | --- | --- | --- |",
        "| `loss-5pct` | pod, client | 5.00 % lost | 4.80 % of 2,000 pings |",
        "   passed test_first.py::test_passes",
        "  skipped test_second.py::test_skips",
        "   failed test_second.py::test_fails",
        "   failed test_second.py::test_ends_badly",
        "  cut off test_second.py::test_takes_all_along",
        "not begun          test_second.py::test_is_never_begun",
        "stock kernel: 1 passed, 2 failed, 1 skipped, 1 cut off, 1 not begun in 61 s",
    ]


def test_nothing_kept_is_nothing_told(tmp_path: Path) -> None:
    """No file, and a line that was cut off with the guest."""
    assert read_told(tmp_path / "results") == Told()
    (tmp_path / "results").write_text('{"test": "a", "pha')
    assert read_told(tmp_path / "results") == Told()


def test_after_a_guest_that_went_down_another_runs_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test that took the first guest along is not tried again; all others are, each once."""
    ran: list[list[str]] = []

    def run_in_guest(tests: list[str], share: Path, *_: object, limit_s: float) -> None:
        ran.append(tests)
        assert limit_s > 0
        with (share / RESULTS_FILE).open("a") as file:
            for test in tests[: 2 if len(ran) == 1 else None]:
                for phase in ("begin",) if test == "b" else ("begin", "call", "teardown"):
                    outcome = "" if phase == "begin" else "passed"
                    line = {"test": test, "phase": phase, "outcome": outcome, "seconds": 1, "netem": []}
                    file.write(f"{json.dumps(line)}\n")
        if len(ran) == 1:
            raise GuestError("the guest went down")

    monkeypatch.setattr("tests.kernel.__main__.run_in_guest", run_in_guest)
    monkeypatch.setattr("tests.kernel.__main__.make_disk", lambda *_: None)
    said: list[str] = []
    told = run_all(list("abcd"), tmp_path, said.append, until=time.monotonic() + 3600)
    assert ran == [list("abcd"), list("cd")]
    assert [test.outcome for test in told.tests] == ["passed", "cut off", "passed", "passed"]
    assert said[1:] == ["the guest went down", "2 tests had not begun"]
