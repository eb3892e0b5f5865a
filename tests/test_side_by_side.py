"""Tests on several workers: whole files and parts of long ones, a line per file, the closing line, Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import side_by_side
from tests.conftest import ROOT
from tests.side_by_side import NETBOX, SECONDS, Cut, earliness, parts

CONFTEST = """
from tests import side_by_side
from tests.conftest import pytest_configure, pytest_terminal_summary, pytest_xdist_make_scheduler
"""
GOOD = """
import os, pytest

@pytest.fixture(scope="module")
def place():
    return os.getpid()

seen = set()

@pytest.mark.parametrize("number", range(12))
def test_it(number, place):
    seen.add(place)
    assert seen == {os.getpid()}
"""
MIXED = """
import pytest
from tests.needs import missing

def test_bad(): assert 1 == 2

def test_missing(): missing("", "no php")

@pytest.fixture
def broken(): raise RuntimeError

def test_never(broken): pass
"""
HANGING = """
import pathlib, time

def test_first(): pass

def test_hangs():
    try:
        pathlib.Path("begun").touch()
        time.sleep(300)
    finally:
        pathlib.Path("undone").touch()
"""


def argv(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """pytest on two workers, over these files."""
    (folder / "conftest.py").write_text(CONFTEST)
    for name, text in files.items():
        (folder / name).write_text(text)
    return (sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--rootdir", str(folder))


def environment() -> dict[str, str]:
    """The project's own tests are not told that they run on a worker."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**told, "PYTHONPATH": str(ROOT), "CI": ""}


def test_every_long_file_is_there() -> None:
    """A file that was renamed would lose its place."""
    assert [file for file in SECONDS if not (ROOT / file).is_file()] == []


def test_the_longest_come_first() -> None:
    """NetBox, which cannot be cut, then by the length of a part; what is short comes last, by the number of tests."""
    short = ["tests/test_tools.py", "tests/test_needs.py"]
    files = [*short, *SECONDS, f"{NETBOX}test_netbox_wire.py"]
    tests = Counter({short[0]: 3, short[1]: 9})
    ordered = sorted(files, key=lambda file: earliness(file, tests), reverse=True)
    assert ordered[0] == files[-1]
    assert ordered[-2:] == short[::-1]


def test_parts_take_turns_and_netbox_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 250 s has three parts; asked again, a test is in the part that it was in."""
    monkeypatch.setattr(side_by_side, "SECONDS", {"tests/a.py": 250})
    cut = Cut()
    tests = [f"tests/a.py::test[{number}]" for number in range(5)]
    found = [cut.part(test) for test in tests]
    assert parts("tests/a.py") == 3
    assert found == [f"tests/a.py {turn}" for turn in (0, 1, 2, 0, 1)]
    assert [cut.part(test) for test in tests] == found
    assert cut.part("tests/b.py::C::test") == "tests/b.py 0"
    netbox = {cut.part(f"{NETBOX}test_{name}.py::test") for name in ("one", "other")}
    assert netbox == {NETBOX}


def test_what_is_shown_and_the_exit_code(tmp_path: Path) -> None:
    """Every file has its line, a failure is named at once and told at the end, skips by reason, closing line last."""
    command = argv(tmp_path, {"test_good.py": GOOD, "test_mixed.py": MIXED})
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    said = re.findall(r"^\[ *\d+%\] (\S+: .*), \d+ s$", done.stdout, re.MULTILINE)
    assert sorted(said) == ["test_good.py: 12 passed", "test_mixed.py: 2 failed, 1 skipped"]
    assert lines.index("FAILED test_mixed.py::test_bad (call)") < lines.index(
        next(line for line in lines if "= FAILURES =" in line)
    )
    assert "FAILED test_mixed.py::test_never (setup)" in lines
    assert "1 skipped: no php" in lines
    assert re.search(r"= 1 failed, 12 passed, 1 skipped, 1 error in ", lines[-1])


IGNORED = ("env", "--ignore-signal=INT")
"""What a shell does to a command that ends in `&`."""


@pytest.mark.parametrize(
    ("send", "by"),
    [(os.killpg, ()), (os.kill, ()), (os.killpg, IGNORED)],
    ids=["as a terminal does", "the first process alone", "a run in the background"],
)
def test_ctrl_c_undoes_what_tests_began(
    send: Callable[[int, int], None], by: tuple[str, ...], tmp_path: Path
) -> None:
    """A terminal's Ctrl-C goes to all processes: fixtures are finished, and the exit code is 2."""
    command = (*by, *argv(tmp_path, {"test_hanging.py": HANGING}))
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        send(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 2, said
    deadline = time.monotonic() + 30
    while not (tmp_path / "undone").exists():
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
