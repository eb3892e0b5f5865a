"""A scenario that breaks down under a run: set up anew once, and a node that stays silent is waited for once."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workflows.test_runner import run
from vpnmesh.errors import CheckError, NodeUnreachableError, VpnmeshError
from vpnmesh.model import Condition, NodeKind, Testbed
from vpnmesh.study.journal import ScenarioUp, VisitStarted, of_kind
from vpnmesh.study.matrix import MatrixPlan, plan_matrix
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record
from vpnmesh.tools.ping import PingSummary
from workflows.run import lost, runner
from workflows.run.hosts import HostsFailedError
from workflows.run.measure import Attempt, Checked, VisitContext
from workflows.run.store import Store

GOOD = Measured((Sample("rtt_ms", 1.0),))
STOOD = Checked(PingSummary(5, 5, None))
NO_POD = CheckError("mtu", "worker2: pod MTU is unknown, wanted 1450")


class Testbench:
    """Nodes that answer as told: what every repetition gives, what every check says, and which nodes are silent."""

    __test__ = False

    def __init__(self, outcomes: list[Outcome], checks: list[VpnmeshError | None], silent: int = 0) -> None:
        self.outcomes, self.checks, self.silent = outcomes, checks, silent
        self.set_up = 0

    @contextlib.contextmanager
    def provisioned(self, _site: Any, scenario: Any) -> Iterator[Any]:
        self.set_up += 1
        yield SimpleNamespace(
            scenario=scenario, event=lambda: ScenarioUp(scenario=scenario.name), cluster=None
        )

    @contextlib.contextmanager
    def impaired(self, *_: Any) -> Iterator[Any]:
        yield SimpleNamespace()

    def measure(
        self, _context: VisitContext, attempt: Attempt, _impaired: Any, checked: Checked | None
    ) -> tuple[Record, Checked | None]:
        outcome = self.outcomes.pop(0)
        record = Record(
            attempt.cell, attempt.repetition, outcome, datetime.now(UTC), sequence=attempt.sequence
        )
        return record, None if isinstance(outcome, Failed) else checked

    def check(self, *_: Any) -> Checked:
        found = self.checks.pop(0) if self.checks else None
        if found:
            raise found
        return STOOD

    def run_on(self, _nr: Any, _names: Any, _task: Any, **_: Any) -> dict[str, Any]:
        self.silent -= 1
        if self.silent >= 0:
            raise HostsFailedError("run_command", {"relay": NodeUnreachableError("relay", "refused")})
        return {}

    def use(self, monkeypatch: pytest.MonkeyPatch) -> "Testbench":
        monkeypatch.setattr(runner, "provisioned", self.provisioned)
        monkeypatch.setattr(runner, "impaired", self.impaired)
        monkeypatch.setattr(runner, "measure", self.measure)
        monkeypatch.setattr(runner, "keep_policy", lambda *_: None)
        monkeypatch.setattr(lost, "check", self.check)
        monkeypatch.setattr(lost, "run_on", self.run_on)
        monkeypatch.setattr(lost, "RETURN_S", 0.05)
        monkeypatch.setattr(lost, "BOOT_S", 30.0)
        monkeypatch.setattr(lost, "_LOOK_EVERY_S", 0.01)
        return self


@pytest.fixture
def plan(bed: Testbed) -> MatrixPlan:
    """One scenario, one test, four repetitions in one visit."""
    quick = replace(PROFILES["quick"], scenarios=("native-1450",), conditions=(Condition(),), tests=("ping",))
    return plan_matrix(replace(quick, repetitions_clean=4, blocks=1, budget_min=None), bed.pairs, seed=1)


def outcomes(store: Store) -> list[str | None]:
    """What became of every repetition, in order: None where it was measured, else the stage."""
    return [one.stage for one in store.repetitions]


def test_what_broke_down_is_set_up_anew_and_the_rest_is_measured(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repetition that was hit failed, no other does, and the journal says why the visit began twice."""
    bench = Testbench([GOOD, Failed("path", "gone"), GOOD, GOOD], [None, NO_POD]).use(monkeypatch)
    store = Store.create(tmp_path / "run")
    _, said = run(plan, bed, store)
    assert outcomes(store) == [None, "path", None, None]
    assert bench.set_up == 2
    visits = of_kind(store.events, VisitStarted)
    assert [one.again for one in visits] == [None, str(NO_POD)]
    assert visits[0].visit == visits[1].visit
    assert "set up anew, for it broke down: mtu: worker2: pod MTU is unknown" in said


def test_it_is_set_up_anew_once_a_visit(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks down again is measured, and found out by every repetition's own check."""
    bad = Failed("path", "gone")
    bench = Testbench([bad, bad, bad, GOOD], [None, NO_POD]).use(monkeypatch)
    store = Store.create(tmp_path / "run")
    run(plan, bed, store)
    assert outcomes(store) == ["path", "path", "path", None]
    assert bench.set_up == 2


def test_a_failure_of_which_nothing_is_left_changes_nothing(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that failed on a scenario that stands: the next repetition follows at once."""
    bench = Testbench([Failed("tool", "busy"), GOOD, GOOD, GOOD], []).use(monkeypatch)
    store = Store.create(tmp_path / "run")
    run(plan, bed, store)
    assert outcomes(store) == ["tool", None, None, None]
    assert bench.set_up == 1


def test_a_silent_node_is_waited_for_and_nothing_more_fails(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers again after some looks, and the scenario stands as before."""
    bench = Testbench([Failed("node", "relay: no SSH"), GOOD, GOOD, GOOD], [], silent=2).use(monkeypatch)
    # a busy machine takes its time for three looks
    monkeypatch.setattr(lost, "RETURN_S", 30.0)
    store = Store.create(tmp_path / "run")
    run(plan, bed, store)
    assert outcomes(store) == ["node", None, None, None]
    assert bench.set_up == 1


def test_a_node_that_stays_silent_ends_the_visit_at_once(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for once; all that was left has failed with its name."""
    bench = Testbench([Failed("node", "relay: no SSH")], [], silent=10_000).use(monkeypatch)
    store = Store.create(tmp_path / "run")
    run(plan, bed, store)
    assert outcomes(store) == ["node"] * 4
    assert bench.set_up == 1
    assert [one.reason for one in store.repetitions[1:]] == ["relay: no SSH: refused; not back after 0 s"] * 3


def test_a_machine_that_boots_is_waited_for_longer_than_a_node_of_the_lab(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes minutes; one machine among the nodes that are asked is enough."""
    bench = Testbench([Failed("node", "relay: no SSH"), GOOD, GOOD, GOOD], [], silent=20).use(monkeypatch)
    nodes = (replace(one, kind=NodeKind.METAL) if one.name == "worker2" else one for one in bed.nodes)
    store = Store.create(tmp_path / "run")
    run(plan, replace(bed, nodes=tuple(nodes)), store)
    assert outcomes(store) == ["node", None, None, None]
    assert bench.silent < 0
