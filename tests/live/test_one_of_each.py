"""One of each from packages of their own: a VPN, a kind of test, a firewall driver and scenarios, used in one run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import polars as pl
import pytest
import yaml

from tests.conftest import ROOT
from tests.firewall import walk_through as driver_page
from tests.live.conftest import INVENTORY
from tests.measurements import walk_through as test_page
from tests.solutions import walk_through as solution_page
from vpnmesh.report.figure_tables import title_and_unit
from workflows.run.site import Site

pytestmark = pytest.mark.live

SCENARIOS = f"""
{solution_page.shown("yaml")}
nebula-relay-small:
  variant_of: nebula-relay
  pod_mtu: 1200
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The three packages of the pages, as an installer would put them."""
    folder = tmp_path / "packages"
    folder.mkdir()
    solution_page.install(folder)
    driver_page.install(folder)
    test_page.install(folder)
    return folder


@pytest.fixture
def inventory(site: Site, tmp_path: Path) -> Path:
    """The lab's, with the driver of the page on its firewall."""
    folder = copytree(INVENTORY, tmp_path / "inventory")
    hosts = yaml.safe_load((folder / "hosts.yaml").read_text())
    hosts[site.testbed.firewall.name]["data"]["firewall_driver"] = driver_page.NAME
    (folder / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return folder


def vpnmesh(packages: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The console command as a user calls it, with the packages on the path."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{packages}"}
    argv = (sys.executable, "-m", "workflows", *map(str, arguments))
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500
    )


def tree() -> dict[str, int]:
    """Every source file of the project, and when it was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for folder in ("vpnmesh", "tasks", "workflows", "inventory")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_one_of_each_without_a_change_in_the_tree(packages: Path, inventory: Path, tmp_path: Path) -> None:
    """All four are found by name, measured in one run, kept in its files, and shown on its page."""
    before = tree()
    mine, run = tmp_path / "mine.yaml", tmp_path / "run"
    mine.write_text(SCENARIOS)
    measured = vpnmesh(
        *(packages, "matrix", "--inventory", inventory, "--scenario-file", mine, "--out", run),
        *("--tests", "tcp-connect", "--conditions", "none", "--repetitions", "1", "--require-all"),
    )
    assert measured.returncode == 0, measured.stdout + measured.stderr
    wanted = {"plainvxlan-direct", "nebula-relay", "nebula-relay-small"}
    results = pl.read_parquet(run / "results.parquet")
    assert set(results.select("scenario", "test", "outcome").rows()) == {
        (name, "tcp-connect", "measured") for name in wanted
    }
    figures = pl.read_parquet(run / "figures.parquet")
    assert set(figures["scenario"]) == wanted
    kept = json.loads((run / "manifest.json").read_text())
    assert kept["scenarios"]["plainvxlan-direct"]["solution"] == "plainvxlan"
    assert kept["scenarios"]["nebula-relay-small"]["pod_mtu"] == 1200

    # the report needs neither the file nor the packages
    told = vpnmesh(tmp_path, "report", run)
    assert told.returncode == 0, told.stderr
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    titles = [title_and_unit(name)[0] for name in figures["figure"].unique()]
    assert [text for text in (*wanted, "tcp-connect", *titles) if text not in page] == []
    assert tree() == before


def test_its_policy_is_the_drivers(packages: Path, inventory: Path) -> None:
    """The relayed scenario's policy was set by the page's driver, and nothing of it is left."""
    done = vpnmesh(packages, "firewall", "set", "allow-all", "--dry-run", "--inventory", inventory)
    assert (done.returncode, done.stdout.strip()) == (0, "nothing to do"), done.stdout + done.stderr
