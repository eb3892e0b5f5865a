"""Programs and disks that fail under a run: a server that hangs, a run directory that is full."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.faults.table import FULL_RUN, HUNG_SERVER, HUNG_UDP, Fault
from tests.live.faulty_runs import Matrix, complaints, failed, in_node, soon
from tests.small_disk import small_disk
from vpnmesh.lab.lifecycle import Lab
from workflows.run.site import Site
from workflows.run.store import RunFiles

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
# once data has arrived for a while: a UDP stream that does not open is opened again, with another server
HANG = """
got() { cat /sys/class/net/eth0/statistics/rx_bytes; }
until p=$(pidof iperf3); do sleep 0.02; done; b=$(got)
until [ $(($(got) - b)) -gt 2000000 ]; do sleep 0.02; done
sleep 0.4; kill -STOP $p
"""
DEADLINE_S = 300


@pytest.mark.parametrize("fault", [HUNG_SERVER, HUNG_UDP], ids=["tcp", "udp"])
def test_a_server_that_hangs_costs_its_repetition(
    fault: Fault, lab: Lab, site: Site, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The client is given up when its time is over, and the stopped server is no longer there for the next one."""
    test, server = str(request.node.callspec.id), lab.node_pid(site.testbed.server.name)
    matrix = Matrix(site, tmp_path / "run", tests=(test,))
    hang = soon(lambda: in_node(server, HANG), 0)
    store = matrix.run({matrix.raw(test, 1, "rtt-before.txt"): hang})
    assert failed(store, fault) == [f"native-1450 {test} 1"]
    assert complaints(store) == []
    assert in_node(server, "pidof iperf3 || true") == ""


@pytest.fixture(name="small_disk")
def two_megabytes(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    with small_disk(tmp_path / "disk", "2m") as place:
        yield place


def test_a_full_run_directory_ends_the_run_and_nothing_is_lost(
    site: Site, small_disk: Path, tmp_path: Path
) -> None:
    """Filled up after the first repetition; with room again the rest is measured, and nothing twice."""
    run = small_disk / "run"
    options = ("--scenarios", "native-1450", "--conditions", "none", "--tests", "ping,idle")
    process = full_matrix(*options, "--repetitions", "2", "--duration", "1", "--out", str(run))
    await_a_row(run, process)
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        fill(filler)
    said = process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 1, said
    assert FULL_RUN.says(said.strip().splitlines()[-1]), said
    before = rows(run)
    assert 1 <= len(before) < 4
    (small_disk / "filler").unlink()
    again = full_matrix("--resume", str(run))
    said = again.communicate(timeout=DEADLINE_S)[0]
    assert again.returncode == 0, said
    assert before == rows(run)[: len(before)]
    assert sorted(rows(run)) == [(test, n) for test in ("idle", "ping") for n in (1, 2)]
    assert set(pl.read_parquet(run / "results.parquet")["outcome"]) == {"measured"}
    assert RunFiles(run).manifest().entries()["footprint_differences"] == []


def full_matrix(*arguments: str) -> subprocess.Popen[str]:
    """The command, on the module's lab."""
    argv = (sys.executable, "-m", "workflows.full_matrix", *arguments)
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def await_a_row(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until something is measured."""
    deadline = time.monotonic() + DEADLINE_S
    while not (run.exists() and rows(run)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows(run: Path) -> list[tuple[str, int]]:
    """Test and number of every repetition in the journal."""
    events = RunFiles(run).events()
    return [(one.test, one.repetition) for one in events if one.type == "repetition"]


def fill(filler: object) -> None:
    """Write until nothing more fits."""
    for size in (4096, 1):
        try:
            while True:
                filler.write(b"x" * size)  # type: ignore[attr-defined]
        except OSError:
            continue
