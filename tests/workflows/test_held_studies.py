"""Live checks, NAT grids, fallback and growth: beside whom they do not begin, and how what they held is given back."""

import contextlib
import os
import shutil
import signal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from inventory.load import BUILT_IN, load
from vpnmesh.errors import InputError
from workflows import criteria, fallback, growth, nat_grid, teardown
from workflows.run import verify_command
from workflows.run.firewall import MOST_CHARS, FirewallRun, run_of
from workflows.run.interrupts import closing_connections
from workflows.run.left_runs import left_study
from workflows.run.measured_hosts import MeasuredHosts

VERIFY = ("--verify", "nebula", "--only", "full-mesh")
GRID = ("--solutions", "nebula", "--pairs", "none>none")
FALLBACK = ("--solutions", "nebula", "--events", "path-cut")
GROWTH = ("--scenario", "nebula-direct", "--members", "3")


@pytest.mark.parametrize(
    ("module", "command", "words"),
    [
        (verify_command, criteria, VERIFY),
        (growth, growth, GROWTH),
        (nat_grid, nat_grid, GRID),
        (fallback, fallback, FALLBACK),
    ],
    ids=["criteria", "growth", "nat-grid", "fallback"],
)
def test_somebody_elses_vpn_stops_it_before_anybody_is_asked(
    module: ModuleType, command: Any, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every command that sets VPNs up; with --beside-foreign it would go on."""

    def refuse(_site: object, **_: object) -> None:
        raise InputError("worker1: a VPN", "not of vpnmesh's making, and nothing was changed")

    monkeypatch.setattr(module, "lab_for", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(module, "refuse_foreign", refuse)
    monkeypatch.setattr(module, "may_change", lambda *_: pytest.fail("somebody was asked"))
    done = CliRunner().invoke(command.main, [*words, "--out", str(tmp_path / "out"), "--beside-foreign"])
    assert (done.exit_code, "not of vpnmesh's making" in done.stderr) == (2, True), done.output


def test_what_was_verified_elsewhere_is_not_gone_on_with(tmp_path: Path) -> None:
    """A VPN's evidence is of one testbed; another VPN beside it may be of another."""
    MeasuredHosts.of("lab", load("lab")[1]).keep(folder := made(tmp_path / "out" / "nebula"))
    place = shutil.copytree(BUILT_IN / "lab", tmp_path / "elsewhere")
    hosts = (place / "hosts.yaml").read_text(encoding="utf-8")
    (place / "hosts.yaml").write_text(hosts.replace("192.88.99.18/29", "192.88.99.19/29"), encoding="utf-8")
    words = [*VERIFY, "--out", str(tmp_path / "out"), "--inventory", str(place)]
    done = CliRunner().invoke(criteria.main, words)
    assert (done.exit_code, f"--out: {folder} holds what was measured on other hosts" in done.stderr) == (
        2,
        True,
    )


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose leases were taken away, after sweeps of nodes of which there are none."""
    found: list[str] = []

    def forget(_site: object, run: str) -> dict[str, Any]:
        found.append(run)
        return {}

    monkeypatch.setattr(teardown, "runs_going_on", lambda _site: {})
    monkeypatch.setattr(teardown, "at_home", lambda *_, **__: [])
    monkeypatch.setattr(teardown, "sweep", lambda *_, **__: [])
    monkeypatch.setattr(teardown, "forget_leases", forget)
    monkeypatch.setattr(teardown, "forget_cluster", lambda _bed: None)
    return found


def test_a_folder_is_enough_to_give_its_leases_back(forgotten: list[str], tmp_path: Path) -> None:
    """It says under which name the nodes are held; the name itself does as well."""
    place = shutil.copytree(BUILT_IN / "lab", tmp_path / "metal")
    hosts = yaml.safe_load((place / "hosts.yaml").read_text(encoding="utf-8"))
    for host in hosts.values():
        host["data"] |= {"kind": "metal", "testbed": True}
    (place / "hosts.yaml").write_text(yaml.safe_dump(hosts, sort_keys=False), encoding="utf-8")
    folder, name = made(tmp_path / "out" / "nebula"), "verify-out-nebula"
    assert run_of("verify", tmp_path / "out", "nebula") == name
    MeasuredHosts.of(str(place), load(str(place))[1], name).keep(folder)
    for run in (str(folder), name):
        done = CliRunner().invoke(teardown.main, ["--run", run, "--inventory", str(place)])
        assert done.exit_code == 0, done.output
    assert forgotten == [name, name]


def test_a_lab_that_is_gone_took_all_with_it(
    forgotten: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed command takes its own lab with it: there is no node to be asked."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path / "lab"))
    MeasuredHosts.of("lab", load("lab")[1], "verify-out-nebula").keep(tmp_path)
    done = CliRunner().invoke(teardown.main, ["--run", str(tmp_path)])
    assert (done.exit_code, done.output.splitlines()[-1], forgotten) == (0, teardown.NOTHING_LEFT, [])


def test_a_folder_of_nobody_is_refused(forgotten: list[str], tmp_path: Path) -> None:
    """It is taken for no name: then all that is ours would go from the lab."""
    done = CliRunner().invoke(teardown.main, ["--run", str(tmp_path / "runs")])
    assert (done.exit_code, "holds neither manifest.json nor testbed.json" in done.stderr) == (2, True)
    assert forgotten == []


def test_journals_beside_a_folder_are_used(tmp_path: Path) -> None:
    MeasuredHosts("lab", "digest", "fallback-1").keep(tmp_path)
    without = left_study(tmp_path)
    made(tmp_path / "firewall")
    beside = left_study(tmp_path)
    assert without is not None
    assert beside is not None
    assert without.left.mark == FirewallRun("fallback-1")
    assert beside.left.mark == FirewallRun.of(tmp_path, "fallback-1")
    assert left_study(tmp_path / "firewall") is None


def test_a_name_fits_into_a_rules_description() -> None:
    """The command is never cut away, and neither is what tells folders apart at the end."""
    assert run_of("nat-grid", Path("/somewhere/my grid")) == "nat-grid-my-grid"
    long = run_of("verify", Path(f"/{'x' * 60}"), "wireguard")
    assert (len(long), long.startswith("verify-x"), long.endswith("-wireguard")) == (MOST_CHARS, True, True)


def test_a_signal_ends_a_commands_work_with_its_code() -> None:
    """Connections are closed then, as after an error, which goes on to whoever called."""
    closed: list[str] = []
    nr: Any = SimpleNamespace(
        close_connections=lambda: closed.append("closed"), inventory=SimpleNamespace(hosts={}), runner=None
    )
    with closing_connections(nr) as ended:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it went on")
    assert (ended.code, closed) == (143, ["closed"])
    with pytest.raises(InputError), closing_connections(nr):
        raise InputError("here", "wrong")
    assert closed == ["closed", "closed"]
