"""The loop over visits: what cannot be attempted is a row, what failed is a row, what is finished is not repeated."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tests.cluster.stand_in import INSTALLER
from vpnmesh.cluster.protocol import Cluster, ClusterState, PodState
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.host.pods import pod_network
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Cell, Condition, Pair, Scenario, Testbed
from vpnmesh.plan import Secret
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.matrix import MatrixPlan, plan_matrix
from vpnmesh.study.outcome import Failed
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record
from vpnmesh.study.visits import Job
from workflows.run import cluster as run_cluster
from workflows.run import runner
from workflows.run.cluster import RaisedCluster
from workflows.run.deploying import SetUp
from workflows.run.measure import Attempt
from workflows.run.progress import RunProgress
from workflows.run.provision import Provisioned
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store


@pytest.fixture
def plan(bed: Testbed) -> MatrixPlan:
    """Two scenarios, two conditions, tcp and udp, two repetitions in two visits each."""
    profile = replace(
        PROFILES["quick"],
        scenarios=("native-1450", "zerotier-relay"),
        conditions=(Condition(), Condition(loss_pct=1)),
        blocks=2,
        budget_min=None,
    )
    return plan_matrix(profile, bed.pairs, seed=1)


def run(
    plan: MatrixPlan, bed: Testbed, store: Store, secrets: set[Secret] | None = None
) -> tuple[MatrixRun, str]:
    """Carry the plan out with whatever `provisioned` is patched to; returns what was said too."""
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    site = Site(None, bed, secrets=set() if secrets is None else secrets)  # type: ignore[arg-type]
    matrix = MatrixRun(site, plan, store, NetemEngine())
    with RunProgress(console, plan, matrix.done) as progress:
        matrix.run(progress)
    console.file.close()
    return matrix, console.export_text()


def failing(error: Exception) -> Any:
    """A `provisioned` that never stands."""

    @contextlib.contextmanager
    def provisioned(site: Site, scenario: Any) -> Iterator[None]:
        raise error
        yield

    return provisioned


def test_an_unavailable_scenario_is_one_row_per_cell(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many visits and repetitions: one row a cell, with the reason, no attempt, no failure, tried again."""
    monkeypatch.setattr(runner, "provisioned", failing(UnavailableError("no binary zerotier-one on worker1")))
    store = Store.create(tmp_path / "run")
    matrix, said = run(plan, bed, store)
    rows = store.repetitions
    assert len(rows) == 2 * 2 * 2
    assert {"unavailable"} == {row.stage for row in rows}
    assert {"unavailable: no binary zerotier-one on worker1"} == {row.reason for row in rows}
    assert matrix.failed == 0
    assert frozenset() == store.finished
    assert "unavailable: no binary zerotier-one" in said


def test_a_scenario_that_does_not_stand_fails_every_attempt_and_the_run_goes_on(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each repetition is an attempt that failed at the stage the error names."""
    monkeypatch.setattr(
        runner, "provisioned", failing(CheckError("path", "worker1 reaches worker2 not at all"))
    )
    store = Store.create(tmp_path / "run")
    matrix, said = run(plan, bed, store)
    rows = store.repetitions
    assert plan.repetitions == len(rows) == matrix.failed
    assert {"path"} == {row.stage for row in rows}
    assert "FAILED path" in said
    again, _ = run(plan, bed, Store.open(tmp_path / "run"))
    assert plan.repetitions == again.done == again.failed


def test_the_logs_of_a_scenario_that_does_not_stand_are_kept_without_secrets(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row names the folder below raw/; neither log, journal nor results hold what a node published as secret."""

    @contextlib.contextmanager
    def provisioned(site: Site, scenario: Any) -> Iterator[None]:
        site.secrets.add(Secret("sesame-of-this-run"))
        site.logs["worker1-tailscaled.log"] = "timeout; key sesame-of-this-run"
        raise CheckError("provision", "worker1: refused sesame-of-this-run")
        yield

    monkeypatch.setattr(runner, "provisioned", provisioned)
    known: set[Secret] = set()
    store = Store.create(tmp_path / "run", secrets=known)
    _, said = run(plan, bed, store, known)
    assert "refused <secret" in said
    assert "sesame" not in said
    store.write_results()
    rows = Store.open(tmp_path / "run").repetitions
    assert {row.raw for row in rows} == {
        f"raw/{visit.scenario}/logs/visit-{visit.number}" for visit in plan.visits
    }
    for row in rows:
        text = (tmp_path / "run" / str(row.raw) / "worker1-tailscaled.log").read_text()
        assert text.startswith("timeout; key <secret ")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"sesame" in path.read_bytes()] == []


def test_a_foreign_pod_fails_the_conditions_that_it_may_have_disturbed(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is looked at before every condition; the rows name pod and node, nothing is impaired for them."""
    cluster = Cluster(bed, pod_network(bed, 1230, {node.name: ("eth0", node.underlay) for node in bed.k8s}))
    raised = RaisedCluster(INSTALLER, cluster, ClusterState(), SetUp())
    web = PodState("default", "web", bed.client.name, "Running", ready=True)
    monkeypatch.setattr(run_cluster, "await_ready", lambda *_: ClusterState(pods=(web,)))

    @contextlib.contextmanager
    def provisioned(site: Site, scenario: Scenario) -> Iterator[Provisioned]:
        set_up = SetUp(seconds=dict.fromkeys(("infrastructure", "members", "ready"), 1.0))
        mesh = Mesh(bed, scenario)
        yield Provisioned(scenario, solution_named("native"), mesh, {}, 0.0, set_up, cluster=raised)

    monkeypatch.setattr(runner, "provisioned", provisioned)
    store = Store.create(tmp_path / "run")
    run(plan, bed, store)
    rows = store.repetitions
    assert len(rows) == plan.repetitions
    assert {row.stage for row in rows} == {"foreign"}
    assert {f"pod default/web on {bed.client.name}" in str(row.reason) for row in rows} == {True}


def test_nobody_is_asked_why_before_all_that_was_measured_beside_it_is_kept(
    plan: MatrixPlan, bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that cuts the questions after the first pair's failure costs no result of another pair."""
    pairs = (bed.pairs[0], Pair(bed.pairs[0].server, bed.pairs[0].client))
    cells = [Cell("native-1450", "none", "tcp", pair) for pair in pairs]
    store = Store.create(tmp_path / "run")
    kept_when_asked: list[int] = []

    def measure(_context: Any, attempt: Attempt, *_: Any) -> tuple[Record, None]:
        return Record(attempt.cell, 1, Failed("path", "no answer"), datetime.now(UTC), visit=1), None

    def failed(*_: Any) -> None:
        kept_when_asked.append(len(store.repetitions))

    for name in ("keep_lease", "keep_policy"):
        monkeypatch.setattr(runner, name, lambda *_: None)
    monkeypatch.setattr(runner, "require_standing", lambda *_: (None, None))
    monkeypatch.setattr(runner, "measure", measure)
    matrix = MatrixRun(Site(None, bed), plan, store, NetemEngine())  # type: ignore[arg-type]
    matrix._why = SimpleNamespace(failed=failed)  # type: ignore[assignment]
    context: Any = SimpleNamespace(deployed=SimpleNamespace(scenario=plan.catalogue.named("native-1450")))
    jobs = [Job(cell, (1,)) for cell in cells]
    visit: Any = SimpleNamespace(scenario="native-1450", number=1)
    progress: Any = SimpleNamespace(doing=print, advance=print, finished=print)
    matrix._batch(context, visit, jobs, dict.fromkeys(pairs), progress)  # type: ignore[arg-type]
    assert kept_when_asked == [2, 2]
