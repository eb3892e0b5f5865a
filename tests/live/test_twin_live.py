"""The twin of the six bare-metal machines that ship as an example, with measured paths: it is what the files say."""

import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tasks
from inventory.load import BUILT_IN, load
from tests.live.conftest import place_for_a_lab
from tests.needs import needs
from vpnmesh.doctor.paths import PathRound, RecordedPath, RecordedPaths, ends_of, parse_paths
from vpnmesh.lab.__main__ import main as lab_command
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.lifecycle import down, find
from vpnmesh.lab.nfqueue.build import binary_path
from vpnmesh.lab.processes import descendants
from vpnmesh.model import Testbed
from workflows.doctor import main as doctor
from workflows.impair import main as impair
from workflows.report import main as report
from workflows.run.hosts import run_on

pytestmark = pytest.mark.live

REAL = read_testbed(BUILT_IN / "baremetal")
TIMES_MS = (3.0, 20.0, 8.0, 30.0, 12.0, 45.0, 6.0, 60.0, 25.0, 15.0)
LOSSY, LOST_OF_25 = 5, 5
LATE_MS = 5.0
"""What a busy machine may add; the least of many round trips, which load does not lengthen, is looked at."""


def recorded_paths() -> RecordedPaths:
    """Every path of the example with a round trip of its own, and one that loses a fifth of its packets."""
    ends = combinations(ends_of(REAL), 2)
    paths = tuple(
        RecordedPath(
            *pair,
            tuple(PathRound(25, 25 - (LOST_OF_25 if n == LOSSY else 0), ms, ms) for _ in range(8)),
        )
        for n, (pair, ms) in enumerate(zip(ends, TIMES_MS, strict=True))
    )
    return RecordedPaths(1, REAL.name, "2026-01-01T00:00:00+00:00", "real", paths)


def up(*words: str) -> Result:
    return CliRunner().invoke(lab_command, ["up", "--like", str(BUILT_IN / "baremetal"), *words])


@pytest.fixture(scope="module")
def place(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A network and a directory of its own; nothing may be left in it."""
    needs(binary_path().is_file(), "make engine")
    folder = tmp_path_factory.mktemp("twin")
    with place_for_a_lab(folder / "lab"):
        try:
            yield folder
        finally:
            down()


@pytest.fixture(scope="module")
def twin(place: Path) -> Testbed:
    """The twin, up, with its paths replayed."""
    (place / "real.json").write_bytes(recorded_paths().to_json())
    done = up("--paths", str(place / "real.json"))
    assert done.exit_code == 0, done.output
    return load("twin")[1]


def test_names_vlans_and_addresses_are_those_of_the_inventory(twin: Testbed) -> None:
    """Asked of the kernels: every node has its interface with its address, and reaches the others by the router."""
    nr, _ = load("twin")
    names = [node.name for node in REAL.nodes]
    shown = run_on(nr, names, tasks.run_command, argv=("ip", "-4", "-oneline", "addr"))
    hosts = run_on(nr, names, tasks.run_command, argv=("hostname",))
    routes = run_on(nr, names, tasks.run_command, argv=("ip", "-4", "route"))
    nr.close_connections()
    for node in REAL.nodes:
        assert str(hosts[node.name].result).strip() == node.name
        rows = [line.split() for line in str(shown[node.name].result).splitlines()]
        found = {(row[1], row[3]) for row in rows}
        assert {(leg.interface, str(leg.address)) for leg in node.legs} <= found
    gateway = REAL.vlan(REAL.client.leg.vid).gateway
    assert f"{REAL.vlan(REAL.server.leg.vid).prefix} via {gateway}" in str(routes[REAL.client.name].result)
    assert [vlan.vid for vlan in twin.vlans] == [vlan.vid for vlan in REAL.vlans]


def test_a_second_up_changes_nothing_and_other_paths_are_refused(twin: Testbed, place: Path) -> None:
    """The same file is already replayed; another one is not laid over it."""
    del twin
    before = find()
    again = up("--paths", str(place / "real.json"))
    assert (again.exit_code, "is up already" in again.output) == (0, True)
    assert before is not None
    assert (found := find()) is not None
    assert found.init_pid == before.init_pid
    other = recorded_paths()
    (place / "other.json").write_bytes(RecordedPaths(1, "x", "", "real", other.paths[:3]).to_json())
    refused = up("--paths", str(place / "other.json"))
    assert refused.exit_code == 2
    assert "--paths: other paths are replayed in the lab that is up; take it down first" in refused.output


def test_round_trips_and_loss_are_those_of_the_file(twin: Testbed, place: Path) -> None:
    """Recorded on the twin by the same command as on the real machines; then both stand side by side."""
    del twin
    done = CliRunner().invoke(
        doctor, ["--inventory", "twin", "--record-paths", str(place / "twin.json")], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found = parse_paths((place / "twin.json").read_bytes(), "twin.json")
    wanted = recorded_paths()
    assert [path.ends for path in found.paths] == [path.ends for path in wanted.paths]
    for seen, real in zip(found.paths, wanted.paths, strict=True):
        least = min(one.rtt_min_ms for one in seen.rounds if one.rtt_min_ms is not None)
        assert real.rtt_ms is not None
        assert real.rtt_ms - 0.5 <= least <= real.rtt_ms + LATE_MS
    # 200 pings that lose a fifth lose 11 to 73 in all but one of a million runs
    assert 11 <= found.paths[LOSSY].lost <= 73
    beside = CliRunner().invoke(report, ["--fidelity", str(place / "real.json"), str(place / "twin.json")])
    assert beside.exit_code == 0, beside.output
    assert "of 10 paths have the real round trip within 10% or 0.5 ms" in beside.output


def test_an_impairment_comes_on_top_and_is_lifted_alone(twin: Testbed) -> None:
    """A run's condition is proven by its own burst on the replayed path, and takes nothing of the replay away."""
    done = CliRunner().invoke(impair, ["delay-50ms", "--inventory", "twin", "--for", "0.1"])
    assert done.exit_code == 0, done.output
    nr, _ = load("twin")
    seen = run_on(nr, [twin.client.name], tasks.ping_address, address=str(twin.server.underlay), count=10)
    nr.close_connections()
    rtt = seen[twin.client.name].result.rtt
    wanted = next(
        path for path in recorded_paths().paths if path.ends == (twin.client.name, twin.server.name)
    )
    assert rtt is not None
    assert wanted.rtt_ms is not None
    assert wanted.rtt_ms - 0.5 <= rtt.min_ms <= wanted.rtt_ms + LATE_MS


def test_down_leaves_nothing(twin: Testbed, place: Path) -> None:
    """No process of the engine, no folder, no link; and `twin` is no inventory any more."""
    del twin
    lab = find()
    assert lab is not None
    processes = descendants(lab.init_pid)
    engines = [one for one in processes if Path(f"/proc/{one.pid}/comm").read_text().strip() == "vpnmesh-nfq"]
    assert len(engines) == len(TIMES_MS)
    done = CliRunner().invoke(lab_command, ["down"])
    assert (done.exit_code, "nothing is left" in done.output) == (0, True)
    assert not any(one.alive for one in engines)
    assert not (place / "lab").exists()
    links = subprocess.run(("ip", "-brief", "link"), capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]
    gone = CliRunner().invoke(doctor, ["--inventory", "twin", "--record-paths", str(place / "x.json")])
    assert (gone.exit_code, "no twin is up" in gone.output) == (2, True)
