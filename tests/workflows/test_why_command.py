"""`workflows.why` refuses bad input in one sentence, before anything is asked."""

import contextlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import workflows.why
from tests.why.seen import ALL_ON, MESH, PAIR, SOLUTION, healthy, with_state
from vpnmesh.why.judge import diagnose
from vpnmesh.why.state_of_path import seen_state
from vpnmesh.why.words import Diagnosis
from workflows.why import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("worker1", "worker9"), "unknown member 'worker9'; known are: k8s-master, worker1, worker2"),
        (("worker1", "worker1"), "worker1 twice; name two members"),
        (("worker1", "relay"), "unknown member 'relay'"),
        (("worker1", "worker2", "--set-up"), "--set-up: does not say which scenario; add --scenario NAME"),
        (
            ("worker1", "worker2", "--set-up", "--scenario", "native-1450", "--try", "--dry-run"),
            "--dry-run: is of --try on a mesh that stands; add --try, and leave --set-up out",
        ),
        (("worker1", "worker2", "--dry-run"), "--dry-run: is of --try on a mesh that stands"),
        (("worker1", "worker2", "--scenario", "nothing"), "unknown scenario 'nothing'"),
        (("worker1", "worker2"), "no lab is up; vpnmesh lab up, or --set-up --scenario NAME"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Place, problem, way out; exit code 2, and nothing on stdout."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path / "lab"))
    done = CliRunner().invoke(main, list(arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_json_is_all_that_stdout_holds_though_something_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan and comparison are on stderr; without --json all is on stdout."""
    off = {**ALL_ON, "generic-segmentation-offload": False}
    seen = with_state(healthy(), "worker1", offloads={"eth0": off})
    found = Diagnosis(PAIR, seen_state(seen), tuple(diagnose(seen)))
    monkeypatch.setattr(workflows.why, "find", lambda: "a lab")
    monkeypatch.setattr(workflows.why, "mesh_that_stands", lambda *_: (SOLUTION, MESH))
    monkeypatch.setattr(workflows.why, "why", lambda *_: found)
    monkeypatch.setattr(workflows.why, "may_change", lambda *_: None)
    for name in ("leased", "tried"):
        monkeypatch.setattr(workflows.why, name, lambda *_, **__: contextlib.nullcontext())
    arguments = ["worker1", "worker2", "--scenario", "headscale-direct", "--try"]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert json.loads(done.stdout)["findings"][0]["cause"] == "offload"
    assert "worker1: eth0: gso on" in done.stderr
    assert "stays:  offload: worker1" in done.stderr
    plain = CliRunner().invoke(main, arguments)
    assert "to be tried, and taken back:\n  worker1: eth0: gso on\nbefore:" in plain.stdout
    assert (plain.exit_code, plain.stderr) == (1, "")
