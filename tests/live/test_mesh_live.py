"""A lab of eight nodes, pairs drawn from its five members, measured at once as far as they let each other be."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.lifecycle import find, up
from vpnmesh.lab.sizes import sized, write_inventory
from vpnmesh.study.journal import PairsAtOnce, of_kind
from workflows.run.store import RunFiles

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
MATRIX = (sys.executable, "-m", "workflows.full_matrix")
SHAPED_MBIT_S = 20.0
"""Slow enough that two streams at once are no load for two busy cores."""


def inventory(folder: Path) -> Path:
    """Eight nodes, whose members declare cores of their own."""
    write_inventory(sized(ROOT / "inventory" / "lab", 8), folder)
    hosts = folder / "hosts.yaml"
    hosts.write_text(hosts.read_text().replace("kind: netns", "kind: netns\n    cores: 1"))
    return folder


def test_pairs_of_a_larger_lab(place: Path, tmp_path: Path) -> None:
    """Each drawn pair is measured, undisturbed and with the delay on its own client; the report has a heat map."""
    folder, out = inventory(tmp_path / "mine"), tmp_path / "run"
    arguments = (
        "--inventory",
        str(folder),
        "--scenarios",
        "native-1450",
        "--tests",
        "tcp",
        "--repetitions",
        "1",
    )
    more = ("--conditions", "none,delay-50ms", "--duration", "1", "--pairs", "sample:3", "--out", str(out))
    with up(read_testbed(folder), port_rate_mbit_s=SHAPED_MBIT_S, owned=True) as lab:
        assert len(lab.record.nodes) == 8
        done = subprocess.run(
            (*MATRIX, *arguments, *more), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pl.read_parquet(out / "results.parquet")
    assert rows["pair"].n_unique() == 3
    assert rows.height == 6
    assert rows.filter(condition="delay-50ms")["rtt_ms_before"].min() >= 50  # type: ignore[operator]  # not empty
    assert rows.filter(condition="none")["rtt_ms_before"].max() < 50  # type: ignore[operator]  # not empty
    (event,) = of_kind(RunFiles(out).events(), PairsAtOnce)
    assert event.allowed == 2
    # what a loaded machine makes of it is not this test's; that rows say what was found is
    assert event.at_once == rows.filter(condition="none")["at_once"].max()
    assert (event.at_once == 2) is ("disturb each other" not in event.why)
    assert set(rows.filter(condition="delay-50ms")["at_once"]) == {1}
    report = subprocess.run(
        (sys.executable, "-m", "workflows.report", str(out), "--out", str(tmp_path / "report")),
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report" / "figures" / "mesh-tcp-none.svg").exists()


def test_a_mesh_that_grows(place: Path, tmp_path: Path) -> None:
    """Two sizes on a lab of their own: a row each, figures of the control plane, and no exponent from so few."""
    out = tmp_path / "growth"
    argv = (sys.executable, "-m", "workflows.growth", "--scenario", "nebula-direct", "--members", "3,4")
    done = subprocess.run(
        (*argv, "--repetitions", "1", "--out", str(out)),
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    frame = pl.read_csv(out / "growth.csv")
    assert frame["members"].to_list() == [3, 4]
    for figure in ("join_s", "control_ram_mb", "control_link_mb"):
        assert frame[figure].min() > 0  # type: ignore[operator]  # two rows
    assert "exponent" not in (out / "growth.txt").read_text()
    assert (out / "growth.svg").exists()
    assert find() is None
