"""What a run makes of a lease that it lost: failed attempts by name, another run's testbed left alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tests.workflows.test_runner import failing
from tests.workflows.test_runner import plan as plan  # noqa: PLC0414 - a fixture
from vpnmesh.errors import CheckError, InputError
from vpnmesh.host.lease import LeaseHolder
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Condition, Testbed
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.matrix import MatrixPlan
from vpnmesh.study.outcome import Failed
from vpnmesh.study.scenarios import scenario_named
from workflows.run import lease, measure, provision, runner
from workflows.run.held_lease import TestbedHeldError
from workflows.run.lease import refuse_beside_run
from workflows.run.progress import RunProgress
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

OVER = CheckError("lease", "worker1: it has undone by itself what the run made")
TAKEN = TestbedHeldError("worker1", "is held by run other of root@far, since today", "let it end")


class Lost:
    """A lease that gives these errors in turn where it is asked for anew, then none."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.anew: set[str] = set()
        self.settings: dict[str, dict[str, str]] = {}

    def regain(self) -> None:
        """As HeldLease."""
        if self.errors:
            raise self.errors.pop(0)

    prove = keep = regain


def run(plan: MatrixPlan, bed: Testbed, store: Store, lease: Any) -> None:
    """Carry the plan out under that lease."""
    site = Site(None, bed, lease=lease)  # type: ignore[arg-type]
    with RunProgress(Console(quiet=True), plan, 0) as progress:
        MatrixRun(site, plan, store, NetemEngine()).run(progress)


def test_a_visit_whose_lease_is_over_fails_by_name_and_the_next_one_is_made(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of it is missing, and no other visit's is touched."""
    monkeypatch.setattr(runner, "provisioned", failing(CheckError("path", "not at all")))
    store = Store.create(tmp_path / "run")
    run(plan, bed, store, Lost(OVER))
    rows = store.repetitions
    first = min(row.visit for row in rows if row.visit)
    assert {(row.visit == first, row.stage) for row in rows} == {(True, "lease"), (False, "path")}
    assert len(rows) == plan.repetitions


def test_a_run_whose_testbed_another_holds_ends(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not spend its repetitions on failures: what is left can be gone on with."""
    monkeypatch.setattr(runner, "provisioned", failing(CheckError("path", "not at all")))
    store = Store.create(tmp_path / "run")
    with pytest.raises(TestbedHeldError, match="run other"):
        run(plan, bed, store, Lost(TAKEN))
    assert store.repetitions == []


def test_nothing_of_another_runs_is_removed(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes back too late takes nothing off, and says why."""
    monkeypatch.setattr(provision, "run_on", lambda *_, **__: pytest.fail("a node was touched"))
    site = Site(None, bed, lease=Lost(TAKEN))  # type: ignore[arg-type]
    scenario = scenario_named("native-1450")
    provision.take_off(site, solution_named("native"), Mesh(bed, scenario))
    assert site.complaints == [f"{TAKEN}: nothing was removed"]


def test_a_node_that_undid_by_itself_gets_the_runs_settings_again(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next visit would be measured under other kernel settings; its own are promised first."""
    done: list[tuple[str, object]] = []
    monkeypatch.setattr(provision, "promise", lambda _site: done.append(("promise", None)))
    monkeypatch.setattr(
        provision, "run_on", lambda _nr, names, task, **_: done.append((task.__name__, names))
    )
    lease: Any = Lost()
    lease.settings, lease.anew = {"worker1": {"fs.a": "1"}, "worker2": {"fs.a": "1"}}, {"worker2", "relay"}
    site = Site(None, bed, lease=lease)  # type: ignore[arg-type]
    provision.hold_again(site)
    provision.hold_again(site)
    assert done == [("promise", None), ("set_sysctls", ["worker2"])]


@pytest.mark.parametrize("measured", [False, True])
def test_an_attempt_that_ended_after_its_lease_is_no_figure(
    measured: bool,  # noqa: FBT001
    plan: MatrixPlan,
    bed: Testbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither what was measured nor another failure counts: the lease is the reason."""

    def steps(*_: object) -> Any:
        if not measured:
            raise CheckError("path", "worker1 reaches worker2 not at all")
        yield measure.Findings(measured=SimpleNamespace(get=lambda _: None))  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "_steps", steps)
    context: Any = SimpleNamespace(
        site=SimpleNamespace(lease=Lost(OVER), testbed=bed),
        deployed=SimpleNamespace(data_plane="none", scenario=scenario_named("native-1450")),
        profile=plan.profile,
        store=Store.create(tmp_path / "run"),
    )
    impaired: Any = SimpleNamespace(
        engine=NetemEngine(), impairment=SimpleNamespace(condition=Condition(), limit_packets=1)
    )
    attempt = measure.Attempt(plan.cells[0].cell, 1, 1, 1)
    record, checked = measure.measure(context, attempt, impaired)
    assert record.outcome == Failed("lease", OVER.reason)
    assert checked is None


def test_by_hand_nothing_is_changed_beside_a_run(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node that answers is enough to know; where none is held, the change goes on."""
    site = Site(None, bed)  # type: ignore[arg-type]
    holder = LeaseHolder("run-1", "elsewhere.example", "2026-01-01T10:00:00+00:00", 12)
    monkeypatch.setattr(lease, "lease_holders", lambda _site: {"worker2": holder})
    with pytest.raises(InputError, match=r"worker2: is held by run run-1 of elsewhere\.example"):
        refuse_beside_run(site)
    monkeypatch.setattr(lease, "lease_holders", lambda _site: {})
    refuse_beside_run(site)
