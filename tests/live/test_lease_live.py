"""Leases with real controllers: killed, stopped for a while and for too long, gone on with, and two on one testbed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.vpn import said
from vpnmesh.study.journal import RepetitionEnded, of_kind
from workflows.run import provenance
from workflows.run.lease import lease_holders
from workflows.run.site import Site
from workflows.run.store import RunFiles

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
MATRIX = (sys.executable, "-m", "workflows.full_matrix")
WAIT_S = 180.0
# what runs on a node beside this very question: names that a run's programs and timers have
PROCESSES = "ps -eo args | grep -E 'nebula|wireguard-go|vpnmesh|sleep [0-9]' | grep -vE 'ps -eo|grep'"


@contextmanager
def controller(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A run in a process of its own, which is killed if it has not ended by then."""
    pipe = subprocess.PIPE
    with subprocess.Popen((*MATRIX, *arguments), cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(good: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait for that, as long as the process lives."""
    ends_at = time.monotonic() + WAIT_S
    while not good():
        assert time.monotonic() < ends_at, "it did not come about"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)


def rows(run: Path) -> list[RepetitionEnded]:
    """The repetitions that the run has journalled."""
    return of_kind(RunFiles(run).events(), RepetitionEnded)


def measured(run: Path, times: int) -> bool:
    """Whether so many were measured."""
    return sum(row.outcome == "measured" for row in rows(run)) >= times


def refused(site: Site, run: Path, out: Path) -> None:
    """A second run on the same testbed is told whose the testbed is, and leaves no directory."""
    done = subprocess.run(
        (*MATRIX, "--scenarios", "native-1450", "--out", str(out)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done
    assert f"is held by run {run.name} of " in done.stderr
    assert f"@{os.uname().nodename} (process " in done.stderr
    assert not out.exists()
    assert {holder.run for holder in lease_holders(site).values()} == {run.name}


def traces(site: Site) -> dict[str, str]:
    """What each node runs of a run's programs, and what is below the folders of a run."""
    look = f"{PROCESSES}; find /run/vpnmesh /var/lib/vpnmesh -mindepth 1 2> /dev/null; true"
    return {node: said(site, node, look).strip() for node in site.all_nodes}


def test_a_killed_controllers_nodes_clean_themselves(site: Site, tmp_path: Path) -> None:
    """Killed under a VPN with a blocked relay path and an impairment; held against others; taken back by --resume.

    Killed again, with a short lease: every node is as it was before, processes, links, rules, files and namespaces,
    and nobody helped.
    """
    before, clean, run = provenance.footprint(site), traces(site), tmp_path / "first-run"
    assert set(clean.values()) == {""}
    asked = (
        "--scenarios",
        "nebula-relay",
        "--conditions",
        "delay-50ms",
        "--tests",
        "ping",
        "--duration",
        "1",
    )
    with controller(*asked, "--repetitions", "200", "--out", str(run)) as process:
        until(lambda: measured(run, 1), process)
        process.send_signal(signal.SIGKILL)
    refused(site, run, tmp_path / "second")
    there = len(rows(run))
    with controller("--resume", str(run), "--lease", "10") as process:
        until(lambda: measured(run, there + 1), process)
        assert all(traces(site).values())
        process.send_signal(signal.SIGKILL)
    until(lambda: not any(traces(site).values()))
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []
    assert lease_holders(site) == {}


def test_a_stopped_controller_goes_on_or_says_what_it_lost(site: Site, tmp_path: Path) -> None:
    """A second run is refused and the first goes on unharmed; stopped for less than its lease it loses nothing.

    Stopped for longer, the nodes have undone all: what is left of the visit fails by name, the next one is measured,
    and Ctrl-C leaves nothing.
    """
    run = tmp_path / "stopped"
    asked = ("--scenarios", "wireguard-direct", "--conditions", "none", "--tests", "ping", "--duration", "1")
    more = ("--repetitions", "300", "--blocks", "6", "--lease", "12", "--out", str(run))
    with controller(*asked, *more) as process:
        until(lambda: measured(run, 1), process)
        refused(site, run, tmp_path / "second")
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        there = len(rows(run))
        process.send_signal(signal.SIGCONT)
        until(lambda: measured(run, there + 2), process)
        assert {row.outcome for row in rows(run)} == {"measured"}
        process.send_signal(signal.SIGSTOP)
        until(lambda: not any(traces(site).values()))
        process.send_signal(signal.SIGCONT)
        until(lambda: [row for row in rows(run) if row.outcome == "measured" and row.visit == 2], process)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=WAIT_S)
    assert process.returncode == 128 + signal.SIGINT, told
    failed = [row for row in rows(run) if row.outcome == "failed"]
    assert {(row.visit, row.stage) for row in failed} == {(1, "lease")}
    assert all("undone by itself" in str(row.reason) for row in failed)
    assert len([row for row in rows(run) if row.visit == 1]) == 50
    assert set(traces(site).values()) == {""}
