"""A solution that tells nothing of its ways is asked for its status alone."""

from types import SimpleNamespace
from typing import Any

import pytest

import tasks.why
from tests.why.seen import BED
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import scenario_named


def test_a_baseline_has_a_status_and_no_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is even sent: the underlay is known from the inventory."""
    scenario = scenario_named("native-1450")
    shell = SimpleNamespace(gather=lambda fact: fact.read(()))
    monkeypatch.setattr(tasks.why, "shell", lambda _task: shell)
    task: Any = SimpleNamespace(host=SimpleNamespace(name="worker1"))
    mesh, solution = Mesh(BED, scenario), solution_named(scenario.solution)
    status, ways = tasks.read_ways(task, solution, mesh, {"worker1": "worker2"}).result
    assert status.peer("worker2").endpoint == BED.server.underlay
    assert ways is None
