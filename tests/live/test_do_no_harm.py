"""Nodes that are said to be real hosts, with other people's VPNs on one: these stop a run, and survive everything.

The lab stands for real machines here: its inventory says `metal`, and has marks only where a test writes them.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.live.vpn import said
from tests.needs import needs
from vpnmesh.study.journal import RepetitionEnded, of_kind
from vpnmesh.study.manifest import NodeFootprints
from workflows.full_matrix import main as matrix
from workflows.run import provenance
from workflows.run.site import Site
from workflows.run.store import RunFiles
from workflows.teardown import main as teardown

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0
ASKED = ("--conditions", "none", "--tests", "ping", "--duration", "1", "--repetitions")
# a daemon with an interface and a rule by names that one of ours has, a WireGuard by another name, files of theirs in
# both of our folders
_THEIRS = """
mkdir -p /root/theirs /var/lib/vpnmesh /run/vpnmesh
setsid -f tailscaled --no-logs-no-support --statedir=/root/theirs --socket=/root/theirs/sock --tun=tailscale0 \\
  --port=41999 > /root/theirs/log 2>&1 < /dev/null
wireguard-go wgtheirs > /dev/null 2>&1 && ip address add 203.0.113.1/24 dev wgtheirs && ip link set wgtheirs up
echo theirs > /var/lib/vpnmesh/notes.txt; echo theirs > /run/vpnmesh/notes.txt
i=0; while [ ! -e /sys/class/net/tailscale0 ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done
# it takes chains of this name away when it starts
sleep 1; iptables -N ts-input; iptables -A ts-input -s 203.0.113.0/24 -j ACCEPT
"""
_LISTED = """
for name in tailscaled wireguard-go; do
  for d in /proc/[0-9]*; do [ "$(cat "$d/comm" 2> /dev/null)" = "$name" ] && echo "$name ${d#/proc/}"; done
done
ip -o link show tailscale0 | cut -d: -f1,2; ip -o -4 address show dev wgtheirs
iptables -S | grep ts-; cat /var/lib/vpnmesh/notes.txt /run/vpnmesh/notes.txt
"""


@pytest.fixture(scope="module")
def real(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's inventory as of real hosts: not emulated, and without a mark."""
    needs(shutil.which("tailscaled") is not None, "no tailscaled")
    folder = tmp_path_factory.mktemp("real")
    shutil.copytree(ROOT / "inventory" / "lab", folder, dirs_exist_ok=True)
    defaults = site.nr.inventory.defaults.connection_options["netmiko"].extras or {}
    text = yaml.safe_load((folder / "defaults.yaml").read_text())
    text["connection_options"]["netmiko"]["extras"] |= dict(defaults)
    (folder / "defaults.yaml").write_text(yaml.safe_dump(text))
    mark(folder, marked=False)
    return folder


def mark(folder: Path, *, marked: bool) -> None:
    """Write the marks into the inventory, or take them out."""
    hosts = yaml.safe_load((folder / "hosts.yaml").read_text())
    for entry in hosts.values():
        entry["data"] |= {"kind": "metal", "testbed": marked}
    (folder / "hosts.yaml").write_text(yaml.safe_dump(hosts, sort_keys=False))


@pytest.fixture(scope="module")
def foreign(site: Site, real: Path) -> Iterator[str]:
    """Somebody else's things on the server, listed; they are theirs until the module ends."""
    del real
    node = site.testbed.server.name
    said(site, node, _THEIRS)
    yield listed(site)
    assert not said(site, node, "ls /root/theirs/sock > /dev/null")


def listed(site: Site) -> str:
    """What of theirs is there: processes with their ids, interfaces, rules, files."""
    return said(site, site.testbed.server.name, _LISTED)


def differences(site: Site, before: NodeFootprints) -> list[str]:
    """What is other than before; but for tables without any rule, which their daemon makes anew when it wants one."""
    found = provenance.compare_footprints(before, provenance.footprint(site))
    return [one for one in found if not re.search(r"firewall: gone: (table ip6? \w+ \{|\})$", one)]


def run(real: Path, out: Path, *options: str, repetitions: int = 1) -> Result:
    """`vpnmesh matrix` on these hosts."""
    words = ("--inventory", str(real), "--out", str(out), *ASKED, str(repetitions), *options)
    return CliRunner().invoke(matrix, words)


def killed(real: Path, out: Path, *options: str) -> None:
    """A run in a process of its own that is killed once something was measured."""
    argv = (sys.executable, "-m", "workflows.full_matrix", "--inventory", str(real), "--out", str(out))
    with subprocess.Popen((*argv, *ASKED, "500", *options), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + WAIT_S
            while not (out / "journal.jsonl").exists() or not of_kind(
                RunFiles(out).events(), RepetitionEnded
            ):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGKILL)


def test_hosts_without_the_mark_and_foreign_vpns_stop_a_run(
    site: Site, real: Path, foreign: str, tmp_path: Path
) -> None:
    """Each by name and before anything is changed, a yes given or not; teardown takes nothing of theirs away."""
    before, out = provenance.footprint(site), tmp_path / "run"
    refused = run(real, out, "--scenarios", "native-1450", "--yes", "--beside-foreign")
    assert refused.exit_code == 2
    assert "are not marked as testbed" in refused.output
    assert all(name in refused.output.splitlines()[-1] for name in site.all_nodes)
    assert CliRunner().invoke(teardown, ("--inventory", str(real))).exit_code == 2
    mark(real, marked=True)
    refused = run(real, out, "--scenarios", "native-1450", "--yes")
    assert refused.exit_code == 2
    assert "worker2: Tailscale: process " in refused.output
    assert "worker2: WireGuard: process " in refused.output
    assert "nothing was changed" in refused.output
    assert not out.exists()
    asked = run(real, out, "--scenarios", "native-1450", "--beside-foreign")
    assert asked.exit_code == 2
    assert "pods:" in asked.output
    assert "--yes: nobody agreed" in asked.output
    assert not out.exists()
    assert CliRunner().invoke(teardown, ("--inventory", str(real))).exit_code == 0
    assert listed(site) == foreign
    assert differences(site, before) == []


def test_beside_them_a_run_and_a_killed_one_leave_all_of_theirs(
    site: Site, real: Path, foreign: str, tmp_path: Path
) -> None:
    """The same product's scenario is a row with the reason; a killed run is undone from its journal alone."""
    mark(real, marked=True)
    before, runs = provenance.footprint(site), tmp_path / "runs"
    names = "wireguard-direct,headscale-direct"
    done = run(real, runs / "one", "--scenarios", names, "--beside-foreign", "--yes")
    assert done.exit_code in (0, 3), (done.output, done.exception)
    outcomes = {
        row.scenario: (row.outcome, row.reason)
        for row in of_kind(RunFiles(runs / "one").events(), RepetitionEnded)
    }
    assert outcomes["wireguard-direct"][0] == "measured", done.output
    assert "Tailscale is on worker2 already" in str(outcomes["headscale-direct"][1])
    assert listed(site) == foreign
    assert differences(site, before) == []
    killed(real, runs / "two", "--scenarios", "wireguard-direct", "--beside-foreign")
    # whatever becomes of the inventory: the run's directory is enough
    shutil.rmtree(real)
    cleaned = CliRunner().invoke(teardown, ("--all", "--runs", str(runs), "--force"))
    assert cleaned.exit_code == 0, cleaned.output
    assert "wireguard: removed" in cleaned.output
    assert listed(site) == foreign
    assert differences(site, before) == []
