"""`workflows.impair` as a user calls it: set, proven by packets, held, and lifted by Ctrl-C with nothing left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import tasks
from tests.conftest import ROOT
from vpnmesh.impairment.burst import loss_bounds
from vpnmesh.impairment.engine import every_target
from vpnmesh.model import Condition
from workflows.run.hosts import run_on
from workflows.run.impair import find_engine
from workflows.run.site import Site

pytestmark = pytest.mark.live
ARGV = (sys.executable, "-m", "workflows.impair")
TEN, FIVE = "loss-10pct", "delay-50ms+loss-5pct"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    argv = (*ARGV, *arguments)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@contextmanager
def held(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, once it says that it holds the condition; it is waited for in any case."""
    pipe = subprocess.PIPE
    with subprocess.Popen((*ARGV, *arguments), cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("held"):
                break
        else:
            assert process.stderr
            pytest.fail("".join(said) + process.stderr.read())
        try:
            assert any(line.startswith("proven: ") for line in said)
            yield process
        finally:
            process.kill()


def footprint(site: Site) -> dict[str, object]:
    """What a run could leave on any node."""
    return {name: one.result for name, one in run_on(site.nr, site.all_nodes, tasks.read_footprint).items()}


def conditions(site: Site) -> list[str]:
    """What the kernels hold at all places, by name."""
    engine, bed = find_engine(site), site.testbed
    found = []
    for target in every_target(engine, bed, bed.pairs[0]):
        done = run_on(site.nr, [target.node], tasks.read_impairment, engine=engine, target=target)
        found.append(done[target.node].result.condition)
    return [one.name for one in found if one]


def lost(site: Site) -> int:
    """Pings lost of 2,000 from client to server."""
    bed = site.testbed
    done = run_on(
        site.nr, [bed.client.name], tasks.ping_burst, address=str(bed.server.underlay), from_pod=False
    )
    return int(done[bed.client.name].result.lost)


def test_held_until_ctrl_c_and_nothing_is_left(site: Site) -> None:
    """The condition is in the kernel and in the packets, a second one is refused, and SIGINT lifts it: 130."""
    before = footprint(site)
    with held(TEN) as process:
        assert conditions(site) == [TEN]
        low, high = loss_bounds(2000, Condition.parse(TEN).loss_pct)
        assert low <= lost(site) <= high
        second = call("loss-1pct")
        assert (second.returncode, second.stdout) == (2, "")
        assert "is impaired already" in second.stderr
        assert conditions(site) == [TEN]
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
    assert (process.returncode, out, error) == (130, "lifted\n", "")
    assert conditions(site) == []
    assert footprint(site) == before


def test_held_for_a_time(site: Site) -> None:
    """It ends by itself with exit code 0, and says what the packets showed before and after."""
    before, begun = footprint(site), time.monotonic()
    done = call(FIVE, "--for", "2")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun > 2
    first, clean, proven, *rest = done.stdout.splitlines()
    assert first.startswith(f"worker1 to worker2: {FIVE} at underlay:client, by ")
    assert clean.startswith("before: 0 of ")
    assert float(proven.rpartition("least round trip ")[2].removesuffix(" ms")) > 49
    assert rest == ["held for 2 s", "lifted"]
    assert footprint(site) == before


def test_a_known_network_acts_both_ways(site: Site) -> None:
    """Its two ways are set at the two ends, proven by every answer and by a train, and lifted at both."""
    before = footprint(site)
    done = call("lte", "--for", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("worker1 to worker2: lte at underlay:client, by ")
    assert "held for 1 s\nlifted\n" in done.stdout
    assert footprint(site) == before
    diff = call("lte", "--dry-run").stdout
    assert "jitter" in diff or "delay 35ms 5ms" in diff
    assert diff.count("35ms") == 2


def test_a_dry_run_shows_diffs_and_changes_nothing(site: Site) -> None:
    """The condition is in the diff, and in no kernel."""
    before = footprint(site)
    done = call(FIVE, "--dry-run", "--placement", "underlay:both")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("50") >= 2
    assert done.stdout.endswith("nothing was changed\n")
    assert conditions(site) == []
    assert footprint(site) == before


def test_a_place_inside_the_pod_network_needs_pods(site: Site) -> None:
    """One sentence with the way out, before anything is set."""
    done = call(TEN, "--placement", "pod")
    assert done.returncode == 2
    assert "--placement: pod is inside the pod network, and worker1 has no pod; take" in done.stderr
    assert conditions(site) == []


def test_a_controller_that_is_killed_leaves_what_teardown_takes_away(site: Site) -> None:
    """After kill -9 the condition is still there; teardown says what it takes away."""
    before = footprint(site)
    with held(TEN) as process:
        process.kill()
        process.wait(timeout=60)
    assert conditions(site) == [TEN]
    argv = (sys.executable, "-m", "workflows.teardown")
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert conditions(site) == []
    assert footprint(site) == before
