"""Every benchmark still runs to its end: each in its smallest size, as `make bench` calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import NAMES
from tests.needs import missing

ROOT = Path(__file__).parents[2]
PIECES = {"cluster": "kubernetes"}
ELSEWHERE = ("netbox",)
"""In tests/netbox, where its server stands already."""
ON_A_LAB = ("lab", "datapath", "cluster", "measuring", "impairment", "firewall", "peers", "hosts", "dask")


def smoke(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m bench` in a process of its own, wide enough that its tables are not wrapped."""
    argv = (sys.executable, "-m", "bench", "--smoke", *arguments)
    wide = {**os.environ, "COLUMNS": "400"}
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=wide, check=False, timeout=550)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.live if name in ON_A_LAB else ())
        for name in NAMES
        if name not in ELSEWHERE
    ],
)
def test_a_benchmark_runs_to_its_end(name: str) -> None:
    """Exit code 0, and figures of its own in the closing table."""
    done = smoke(name)
    assert done.returncode == 0, done.stdout + done.stderr
    closing = done.stdout.partition("all benchmarks")[2]
    rows = [line for line in closing.splitlines() if line.startswith(f"│ {name} ")]
    assert rows, done.stdout
    if unable := [row for row in rows if "not available here" in row or "not measured" in row]:
        missing(PIECES.get(name, ""), unable[0])


def test_a_benchmark_that_is_not_there_is_named() -> None:
    """The names that there are stand in the sentence."""
    done = smoke("nonsense")
    assert done.returncode == 2
    assert all(name in done.stderr for name in NAMES)


def test_one_that_breaks_does_not_keep_the_others_from_running() -> None:
    """The exit code says that something broke, the table says what the others found."""
    broken = (
        "import bench.lab, bench.report, bench.__main__ as main;"
        "from bench.figures import Figure;"
        "bench.lab.run = lambda *_: 1 / 0;"
        "bench.report.run = lambda *_: [Figure('pages', '7 s')];"
        "main.main(['lab', 'report'])"
    )
    done = subprocess.run(
        (sys.executable, "-c", broken), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "7 s" in done.stdout.partition("all benchmarks")[2]
    assert "broke: lab" in done.stdout
