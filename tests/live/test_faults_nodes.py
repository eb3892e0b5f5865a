"""Nodes that break under a run: rebooted, without SSH, dead, off the network for a moment, full."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tasks
from tests.faults.table import DEAD, FLAP, FULL_TMP, FULL_VAR, REBOOT, ROUTE, SSHD
from tests.live.faulty_runs import Matrix, complaints, failed, in_node, set_up_anew, soon
from tests.live.node_power import Power, powered
from tests.live.vpn import need
from vpnmesh.lab.lifecycle import Lab
from workflows.run import lost
from workflows.run.hosts import run_on
from workflows.run.site import Site

pytestmark = pytest.mark.live

FLAPS = """
until pidof iperf3 > /dev/null; do sleep 0.02; done; sleep 0.3
ip route show dev eth0 > /tmp/routes; ip link set eth0 down; sleep 0.3; ip link set eth0 up
while read -r r; do ip route replace $r dev eth0; done < /tmp/routes
"""
LOSES_ROUTES = """
ip route show dev eth0 via 192.88.99.17 > /tmp/routes
while read -r r; do ip route delete $r dev eth0; done < /tmp/routes
"""
FINDS_ROUTES = "while read -r r; do ip route add $r via 192.88.99.17 dev eth0; done < /tmp/routes"
# as a machine without power: nothing in, nothing out, and no refusal either
SILENT = """
nft "add table inet silent; add chain inet silent in { type filter hook input priority -300; };
 add chain inet silent out { type filter hook output priority -300; };
 add rule inet silent in iifname mgmt0 drop; add rule inet silent out oifname mgmt0 drop"
"""
SPEAKS = "nft delete table inet silent"
FILL = """
mount -t tmpfs -o size=64k tmpfs "$1"; dd if=/dev/zero of="$1/filler" bs=1k 2> /dev/null; true
"""
ANSWER_S = 120
"""How long a dead node may keep a run of two scenarios on a busy machine, whose repetitions are 24."""


@pytest.fixture(scope="module")
def power(lab: Lab, site: Site) -> Iterator[Power]:
    """The server's power switch."""
    with powered(lab, site.testbed.server) as switch:
        yield switch


def test_a_node_that_boots_again_costs_one_repetition(power: Power, site: Site, tmp_path: Path) -> None:
    """Its pod went with it: the scenario is set up anew, and all that is left is measured."""
    matrix = Matrix(site, tmp_path / "run", tests=("idle",))
    store = matrix.run({matrix.raw("idle", 1, "rtt-before.txt"): power.off, "idle 1": soon(power.on, 1)})
    assert failed(store, REBOOT) == ["native-1450 idle 1"]
    assert set_up_anew(store) == ["mtu: worker2: pod MTU is unknown, wanted 1450"]
    assert complaints(store) == []


def test_an_ssh_server_that_comes_back_costs_one_repetition(power: Power, site: Site, tmp_path: Path) -> None:
    """The scenario stands as before: nothing is set up anew."""
    matrix = Matrix(site, tmp_path / "run", tests=("idle",))
    back = soon(power.start_sshd, 1)
    store = matrix.run({matrix.raw("idle", 1, "rtt-before.txt"): power.kill_sshd, "idle 1": back})
    assert failed(store, SSHD) == ["native-1450 idle 1"]
    assert set_up_anew(store) == []
    assert complaints(store) == []


def test_a_dead_node_costs_one_wait_and_not_one_per_repetition(
    power: Power, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logins that nobody answers take ten seconds each: of 24 repetitions few can have met one."""
    monkeypatch.setattr(lost, "RETURN_S", 3.0)
    scenarios, began, took_s = ("native-1450", "native-1230"), time.monotonic(), list[float]()
    matrix = Matrix(site, tmp_path / "run", scenarios=scenarios, tests=("ping", "idle"), repetitions=6)
    first = matrix.plan.visits[0].jobs[0].cell
    dies = matrix.raw(first.test, 1, "rtt-before.txt", first.scenario)

    def mended() -> None:
        took_s.append(time.monotonic() - began)
        in_node(power.pid, SPEAKS)
        # as a person does who begins anew: what was known of a silent node is gone
        site.nr.close_connections()
        # the complaints name it: its pod is still there, for it never lost its power
        run_on(site.nr, [site.testbed.server.name], tasks.detach_pods)

    store = matrix.run({dies: lambda: in_node(power.pid, SILENT)}, mended)
    assert took_s[0] < ANSWER_S
    assert len(failed(store, DEAD)) == 24
    waited = [one for one in store.repetitions if "not back after 3 s" in str(one.reason)]
    assert len(waited) == 11
    assert all("worker2: no SSH" in problem for problem in complaints(store))


def test_an_interface_that_flaps_gives_no_figure(power: Power, site: Site, tmp_path: Path) -> None:
    """iperf3 gets over it and prints a rate: of a link that was away for a part of the time."""
    # long enough to be steady again at its end
    matrix = Matrix(site, tmp_path / "run", tests=("tcp", "ping"), duration_s=4)
    flap = soon(lambda: in_node(power.pid, FLAPS), 0)
    store = matrix.run({matrix.raw("tcp", 1, "rtt-before.txt"): flap})
    assert failed(store, FLAP) == ["native-1450 tcp 1"]
    assert set_up_anew(store) == []


def test_a_path_that_is_lost_in_silence_gives_no_figure(power: Power, site: Site, tmp_path: Path) -> None:
    """No tool notices while nothing is sent, and the inventory still says where the peers are."""
    matrix = Matrix(site, tmp_path / "run", tests=("idle",))
    lose, find = (lambda script=script: in_node(power.pid, script) for script in (LOSES_ROUTES, FINDS_ROUTES))
    store = matrix.run({matrix.raw("idle", 1, "rtt-before.txt"): lose, "idle 1": find})
    assert failed(store, ROUTE) == ["native-1450 idle 1"]
    assert set_up_anew(store) == []


@contextmanager
def full(power: Power, place: str) -> Iterator[None]:
    """A disk of 64 kB there, with no room left."""
    in_node(power.pid, FILL, place)
    try:
        yield
    finally:
        in_node(power.pid, 'umount "$1"', place)


def test_a_full_tmp_fails_what_needs_it(power: Power, site: Site, tmp_path: Path) -> None:
    """iperf3 maps a file there for every stream; ping has none."""
    matrix = Matrix(site, tmp_path / "run", tests=("tcp", "ping"), repetitions=1)
    with full(power, "/tmp"):
        store = matrix.run({})
    assert failed(store, FULL_TMP) == ["native-1450 tcp 1"]


def test_a_full_disk_fails_the_scenario_that_needs_it(power: Power, site: Site, tmp_path: Path) -> None:
    """Nebula's configuration finds no room; native needs none."""
    need(site, "nebula-direct")
    matrix = Matrix(site, tmp_path / "run", scenarios=("nebula-direct", "native-1450"), repetitions=1)
    with full(power, "/var/lib"):
        store = matrix.run({})
    assert failed(store, FULL_VAR) == ["nebula-direct ping 1"]
    assert complaints(store) == []
