"""`workflows.fallback` as a user calls it: two events seen by real streams, and nothing left, also after a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tasks
from tests.conftest import ROOT
from tests.live.vpn import need, said
from vpnmesh.study.fallback import Seen
from vpnmesh.study.fallback_record import Attempt, Outcome, read_attempts
from workflows.run.hosts import run_on
from workflows.run.site import Site

pytestmark = pytest.mark.live
ARGV = (sys.executable, "-m", "workflows.fallback")
ADDRESSES = "ip -4 -o address show; ip -4 route show; cat /run/vpnmesh/roaming 2> /dev/null; true"
LEASE_S = 15


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    argv = (*ARGV, *arguments)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)


def footprint(site: Site) -> dict[str, object]:
    """What could be left on any node, addresses and routes among it."""
    found = {name: one.result for name, one in run_on(site.nr, site.all_nodes, tasks.read_footprint).items()}
    return {name: (one, said(site, name, ADDRESSES)) for name, one in found.items()}


def study(out: Path) -> list[Attempt]:
    """The lines that were written."""
    return read_attempts((out / "fallback.jsonl").read_text(), "fallback.jsonl")


def measured(attempt: Attempt) -> Seen:
    """What was seen, which must be there."""
    assert attempt.outcome is Outcome.MEASURED, attempt.reason
    assert attempt.seen is not None
    return attempt.seen


def test_a_cut_path_falls_back_and_a_lost_control_plane_stops_nothing(site: Site, tmp_path: Path) -> None:
    """Headscale: datagrams are lost when UDP is blocked, then both streams flow over the relay; every node is as found.

    Whatever the machine does, a datagram that the firewall dropped never comes, and one that was not sent twice comes
    once.
    """
    need(site, "headscale-direct")
    before, out = footprint(site), tmp_path / "study"
    done = call(
        "--solutions", "headscale", "--events", "path-cut,control-lost", "--hold", "3", "--out", str(out)
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert footprint(site) == before
    cut, lost = study(out)
    seen = measured(cut)
    assert seen.udp.lost >= 20
    assert seen.udp.silence.came_back
    assert seen.tcp.silence.came_back
    assert seen.udp.duplicates == 0
    assert measured(lost).udp.silence.came_back
    assert measured(lost).tcp.connections == 1
    assert lost.when is not None
    assert lost.when.undone_s is not None
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "near instantaneous" in page
    assert "path-cut" in done.stdout
    # all is measured: nothing is done again, only the page is made
    assert call("--resume", str(out), "--solutions", "headscale", "--events", "path-cut").returncode == 0
    assert study(out) == [cut, lost]


def test_a_node_sets_its_own_address_back_after_a_kill(site: Site, tmp_path: Path) -> None:
    """The controller is killed while the client is away from home: the lease ends, and all is as it was."""
    need(site, "wireguard-direct")
    client, before = site.testbed.client.name, footprint(site)
    argv = (
        *ARGV,
        "--solutions",
        "wireguard",
        "--events",
        "address-change",
        "--hold",
        "300",
        "--lease",
        str(LEASE_S),
    )
    with subprocess.Popen(
        (*argv, "--out", str(tmp_path / "study")),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert until(
                lambda: "/run/vpnmesh/roaming" in said(site, client, "ls /run/vpnmesh/roaming; true"), 180
            )
            away = said(site, client, ADDRESSES)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    assert away != before[client][1]  # type: ignore[index]  # a pair
    assert until(lambda: footprint(site) == before, 120)


def until(there: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes about in so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := there()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
