"""Live checks whose process is killed in the middle of what they put on nodes: teardown by their folder ends all."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live.test_impair_command import footprint
from tests.live.test_lease_live import PROCESSES
from tests.live.vpn import need, said
from workflows.run.lease import lease_holders
from workflows.run.site import Site

pytestmark = pytest.mark.live
VPN = "wireguard"
LOOK = f"""
{PROCESSES}; ip netns; nft list tables; ip route show default; ip -o link show type veth | grep vmbehind
find /run/vpnmesh /var/lib/vpnmesh -mindepth 1 2> /dev/null; true
"""
LISTENS = "ip route show default | grep -q 4278 && pgrep -f 'wireguard-go' > /dev/null && echo there; true"
BEHIND = "[ -e /sys/class/net/vmbehind0 ] && echo there; true"


@pytest.mark.parametrize(
    ("check", "node", "look"), [("self-hosted", "worker1", LISTENS), ("subnet-routers", "worker2", BEHIND)]
)
def test_a_killed_check_leaves_nothing_once_it_was_torn_down(
    check: str, node: str, look: str, site: Site, tmp_path: Path
) -> None:
    """With a default route and listeners on every node, or a network behind a member; its lease goes, too."""
    need(site, f"{VPN}-direct")
    before, was = footprint(site), everywhere(site)
    words = ("--verify", VPN, "--only", check, "--out", str(tmp_path / "out"), "--hold", "30")
    with called("criteria", *words) as process:
        ends_at = time.monotonic() + 60
        while said(site, node, look).strip() != "there":
            assert time.monotonic() < ends_at, "it did not come about"
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.kill()
    assert {one.run for one in lease_holders(site).values()} == {f"verify-out-{VPN}"}
    with called("teardown", "--run", str(tmp_path / "out" / VPN)) as done:
        output, errors = done.communicate(timeout=120)
    print(output, errors)
    assert (done.returncode, output.splitlines()[-1]) == (0, "nothing of vpnmesh is left")
    assert lease_holders(site) == {}
    assert everywhere(site) == was
    assert footprint(site) == before


def called(command: str, *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    argv = (sys.executable, "-m", f"workflows.{command}", *words)
    return subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def everywhere(site: Site) -> dict[str, list[str]]:
    """Processes, namespaces, tables, default routes and files of ours, by node."""
    return {name: sorted(said(site, name, LOOK).splitlines()) for name in site.all_nodes}
