"""Daemons of a VPN that are killed under a run: a worker's, the relay's, the control plane's."""

from pathlib import Path

import pytest

import tasks
from tests.faults.table import CONTROL, DAEMON, RELAY
from tests.live.faulty_runs import Matrix, complaints, failed, set_up_anew
from tests.live.vpn import need
from workflows.run.hosts import run_on
from workflows.run.site import Site

pytestmark = pytest.mark.live


def kill(site: Site, node: str) -> None:
    """End all our services there as a crash would."""
    assert run_on(site.nr, [node], tasks.kill_services)[node].result


def logs_of(matrix: Matrix, scenario: str) -> list[str]:
    """The logs that were kept of a scenario."""
    return sorted(path.name for path in (matrix.directory / "raw" / scenario / "logs").rglob("*.log"))


def test_a_daemon_that_is_killed_costs_one_repetition(site: Site, tmp_path: Path) -> None:
    """Its interface went with it; the node without it is set up again with all others."""
    need(site, "nebula-direct")
    server = site.testbed.server.name
    matrix = Matrix(site, tmp_path / "run", scenarios=("nebula-direct",), tests=("idle",))
    store = matrix.run({matrix.raw("idle", 1, "rtt-before.txt"): lambda: kill(site, server)})
    assert failed(store, DAEMON) == ["nebula-direct idle 1"]
    assert len(set_up_anew(store)) == 1
    assert logs_of(matrix, "nebula-direct")
    assert complaints(store) == []


def test_a_relay_that_is_killed_costs_one_repetition(site: Site, tmp_path: Path) -> None:
    """Members may go on saying that they are relayed: what their pods hear of each other tells otherwise."""
    need(site, "nebula-relay")
    relay = site.testbed.relay.name
    matrix = Matrix(site, tmp_path / "run", scenarios=("nebula-relay",), tests=("idle",))
    store = matrix.run({matrix.raw("idle", 1, "rtt-before.txt"): lambda: kill(site, relay)})
    assert failed(store, RELAY) == ["nebula-relay idle 1"]
    assert len(set_up_anew(store)) == 1
    assert complaints(store) == []


def test_a_control_plane_that_is_killed_costs_nothing(site: Site, tmp_path: Path) -> None:
    """Headscale's members keep what they know of each other, and leave without it too."""
    need(site, "headscale-direct")
    control = site.testbed.control_plane.name
    matrix = Matrix(site, tmp_path / "run", scenarios=("headscale-direct",), tests=("ping",))
    store = matrix.run({matrix.raw("ping", 1, "rtt-before.txt"): lambda: kill(site, control)})
    assert failed(store, CONTROL) == []
    assert set_up_anew(store) == []
    assert complaints(store) == []
