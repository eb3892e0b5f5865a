"""Teardown beside a run: what may still be going on is not taken away beneath it, unless somebody says so."""

import pytest
from click.testing import CliRunner

from vpnmesh.errors import CommandError, VpnmeshError
from vpnmesh.host.lease import LeaseHolder
from workflows import teardown
from workflows.run.teardown import Removal

HOLDER = LeaseHolder("run-1", "elsewhere.example", "2026-01-01T10:00:00+00:00", 12)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to nodes, of which there are none."""
    called: list[str] = []

    def swept(*_: object, **__: object) -> list[Removal]:
        called.append("swept")
        return []

    def forgot(*_: object) -> dict[str, VpnmeshError]:
        called.append("forgot")
        return {}

    monkeypatch.setattr(teardown, "runs_going_on", lambda _site: {"worker1": HOLDER})
    monkeypatch.setattr(teardown, "sweep", swept)
    monkeypatch.setattr(teardown, "forget_leases", forgot)
    monkeypatch.setattr(teardown, "forget_cluster", lambda _bed: None)
    return called


def test_a_run_that_may_be_going_on_is_named_and_nothing_is_touched(done: list[str]) -> None:
    """One sentence with node, run, controller and the way out; exit code 2."""
    result = CliRunner().invoke(teardown.main, ["--inventory", "lab"])
    assert result.exit_code == 2
    assert "worker1 is held by run run-1 of elsewhere.example" in result.output.replace(": ", " ")
    assert "--force" in result.output
    assert done == []


@pytest.mark.parametrize(("option", "steps"), [("--force", ["swept", "forgot"]), ("--dry-run", ["swept"])])
def test_told_to_or_only_looking_it_goes_on(option: str, steps: list[str], done: list[str]) -> None:
    """The leases go last: as long as something is left, the nodes undo it by themselves."""
    result = CliRunner().invoke(teardown.main, ["--inventory", "lab", option])
    assert result.exit_code == 0, result.output
    assert done == steps


@pytest.mark.usefixtures("done")
def test_a_node_that_does_not_undo_what_it_was_told_to_is_not_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = CommandError("worker1", ("sh",), 124, "")
    monkeypatch.setattr(teardown, "forget_leases", lambda *_: {"worker1": slow})
    result = CliRunner().invoke(teardown.main, ["--inventory", "lab", "--force"])
    assert (result.exit_code, "worker1: lease: " in result.output) == (1, True)
    assert teardown.NOTHING_LEFT not in result.output
