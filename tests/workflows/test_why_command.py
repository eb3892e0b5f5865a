"""`workflows.why` refuses bad input in one sentence, before anything is asked."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from workflows.why import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("worker1", "worker9"), "unknown member 'worker9'; known are: k8s-master, worker1, worker2"),
        (("worker1", "worker1"), "worker1 twice; name two members"),
        (("worker1", "relay"), "unknown member 'relay'"),
        (("worker1", "worker2", "--set-up"), "--set-up: does not say which scenario; add --scenario NAME"),
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
