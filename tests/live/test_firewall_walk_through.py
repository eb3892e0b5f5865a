"""The driver that docs/add-a-firewall-driver.md shows, installed and used on the lab's firewall node."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest
import yaml

import tasks
from tests.conftest import ROOT
from tests.firewall.walk_through import NAME, install
from tests.live.conftest import INVENTORY
from workflows.run.firewall import prove
from workflows.run.hosts import run_on
from workflows.run.site import Site

pytestmark = pytest.mark.live


@pytest.fixture
def command(site: Site, tmp_path: Path) -> tuple[str, ...]:
    """An inventory that names the driver, as the last words of a command."""
    folder = copytree(INVENTORY, tmp_path / "inventory")
    hosts = yaml.safe_load((folder / "hosts.yaml").read_text())
    hosts[site.testbed.firewall.name]["data"]["firewall_driver"] = NAME
    (folder / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return ("--inventory", str(folder))


def call(packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m workflows.firewall` as a user calls it, with the package on the path."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{packages}"}
    argv = (sys.executable, "-m", "workflows.firewall", *arguments)
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_packets_obey_a_driver_from_another_package(
    site: Site, command: tuple[str, ...], tmp_path: Path
) -> None:
    """Set and proven by packets, no nftables table of ours, nothing to do a second time, and back again."""
    packages = tmp_path / "packages"
    packages.mkdir()
    install(packages)
    done = call(packages, "set", "block-udp-k8s", "--run", "walk", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the rules do not end by themselves" in done.stderr
    assert all(line.holds for line in prove(site.nr, site.testbed, "block-udp-k8s"))
    assert not all(line.holds for line in prove(site.nr, site.testbed, "allow-all"))
    name = site.testbed.firewall.name
    listed = run_on(site.nr, [name], tasks.run_command, argv=("nft", "list", "tables"))[name].result
    assert "inet vpnmesh" not in listed
    again = call(packages, "set", "block-udp-k8s", "--run", "walk", "--dry-run", *command)
    assert (again.returncode, again.stdout.strip()) == (0, "nothing to do")
    back = call(packages, "set", "allow-all", "--run", "walk", *command)
    assert back.returncode == 0, back.stdout + back.stderr
    rules = run_on(site.nr, [name], tasks.run_command, argv=("iptables", "-S"))[name].result
    assert "VPNMESH" not in rules
