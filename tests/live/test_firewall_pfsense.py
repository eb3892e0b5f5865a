"""The REST driver over HTTPS to the stand-in, which runs in the lab's firewall node: real packets, a real cell."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import tasks
from inventory.load import load
from tests.live.named_servers import EXPECTED, reached_under_tcp_443_only
from tests.live.nat_kinds import NAT_PORTS, ports_outside
from tests.live.pfsense_node import ROOT, Standing, stand_in
from tests.needs import needs
from vpnmesh.firewall.policy import POLICIES
from vpnmesh.lab.lifecycle import Lab
from workflows.run import firewall
from workflows.run.hosts import run_on
from workflows.run.site import Site

pytestmark = [pytest.mark.live]


@pytest.fixture(scope="module")
def standing(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """The stand-in in the lab's firewall node."""
    with stand_in(lab, tmp_path_factory.mktemp("pfsense")) as found:
        yield found


@pytest.fixture
def site(standing: Standing) -> Iterator[Site]:
    """The lab behind the stand-in, as workflows see it."""
    site = Site(*load(str(standing.inventory)))
    yield site
    firewall.roll_back(site.nr, site.testbed, site.firewall)
    site.nr.close_connections()


@pytest.mark.parametrize("name", [policy.name for policy in POLICIES])
def test_packets_do_what_the_policy_says(site: Site, standing: Standing, name: str) -> None:
    """The same proof as for nftables, before, during and after, and the configuration is as before."""
    before = standing.content()
    for policy in ("allow-all", name, "allow-all"):
        firewall.set_policy(site.nr, site.testbed, policy, site.firewall)
        lines = firewall.prove(site.nr, site.testbed, policy)
        assert [str(line) for line in lines if not line.holds] == []
    assert before == standing.content()


def test_named_servers_stay_open_and_nothing_else(site: Site) -> None:
    """As with nftables: DNS and NTP reach the named servers, at their ports alone."""
    assert reached_under_tcp_443_only(site) == EXPECTED


@pytest.mark.parametrize(("name", "ports"), NAT_PORTS)
def test_kinds_of_nat_differ_in_the_port_that_peers_see(site: Site, name: str, ports: int) -> None:
    """The outbound mappings that the driver makes keep the source port, or do not, as the policy says."""
    firewall.set_policy(site.nr, site.testbed, name, site.firewall)
    assert ports == len(ports_outside(site))


def test_pfsense_over_real_ssh(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory chooses pfsense-ssh: its script runs by PHP on the firewall node, over stand-in functions."""
    needs(shutil.which("php") is not None, "no php (Debian package php-cli)")
    place, name = "/run/pfsense", site.testbed.firewall.name

    def shell(line: str) -> str:
        done = run_on(site.nr, [name], tasks.run_command, argv=("sh", "-c", line))[name].result
        return str(getattr(done, "stdout", done))

    theirs = {"filter": {"rule": [{"descr": "theirs"}]}, "revision": {"time": "41"}}
    stubs = {one.name: one.read_text() for one in (ROOT / "tests" / "firewall" / "php").iterdir()}
    for file, text in {**stubs, "config.json": json.dumps(theirs)}.items():
        shell(f"mkdir -p {place} && printf %s {shlex.quote(text)} > {place}/{file}")
    words = ("env", f"STUB_CONFIG={place}/config.json", "php", "-d", f"include_path={place}", "-q")
    monkeypatch.setattr("vpnmesh.firewall.pfsense_php.ARGV", words)
    monkeypatch.setitem(site.nr.inventory.hosts[name].data, "firewall_driver", "pfsense-ssh")
    firewall.set_policy(site.nr, site.testbed, "block-udp-k8s", site.firewall)
    held = json.loads(shell(f"cat {place}/config.json"))
    rules = [rule["descr"] for rule in held["filter"]["rule"]]
    assert rules[:2] == ["theirs", "vpnmesh:vpnmesh:block-udp-k8s 00"]
    assert firewall.roll_back(site.nr, site.testbed, site.firewall)
    held = json.loads(shell(f"cat {place}/config.json"))
    assert held["filter"] == theirs["filter"]
    shell(f"rm -r {place}")


def test_a_matrix_cell_behind_it(standing: Standing, tmp_path: Path) -> None:
    """full_matrix with this inventory: the relayed scenario is blocked by the driver, proven, and measured."""
    before = standing.content()
    run = tmp_path / "run"
    arguments = ("--scenarios", "nebula-relay", "--conditions", "none", "--tests", "tcp", "--out", str(run))
    argv = (sys.executable, "-m", "workflows.full_matrix", "--inventory", str(standing.inventory), *arguments)
    done = subprocess.run(
        (*argv, "--repetitions", "1", "--duration", "1"),
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = pl.read_parquet(run / "results.parquet").row(0, named=True)
    assert row["outcome"] == "measured"
    assert row["relay_share"] >= 0.9
    assert before == standing.content()
    assert list((run / "firewall").glob("*.json")) == []


def test_a_killed_run_is_taken_back_by_its_directory(standing: Standing, tmp_path: Path) -> None:
    """kill -9 in mid-run leaves the blocks; `workflows.teardown --run DIRECTORY` leaves the snapshot."""
    before = standing.content()
    run = tmp_path / "run"
    arguments = ("--scenarios", "nebula-relay", "--conditions", "none", "--tests", "tcp", "--out", str(run))
    argv = (sys.executable, "-m", "workflows.full_matrix", "--inventory", str(standing.inventory), *arguments)
    with subprocess.Popen(
        (*argv, "--repetitions", "1", "--duration", "60"), cwd=ROOT, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 180
        while standing.content() == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert before != standing.content()
    teardown = (sys.executable, "-m", "workflows.teardown", "--run", str(run))
    done = subprocess.run(teardown, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "firewall: changes of run run: removed" in done.stdout
    assert before == standing.content()
