"""What workflows refuse or must not trip over, without a node: every task is answered here."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nornir.core.task import Result

from tests.solutions import walk_through
from tests.workflows.test_runner import run
from vpnmesh.errors import UnavailableError
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Condition, NodeKind, Place, Placement, Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.journal import ScenarioUp
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import scenario_named
from workflows.run import impair, runner, teardown
from workflows.run.site import Site
from workflows.run.store import Store


def test_an_impairment_that_relayed_packets_never_meet_is_a_failed_row(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`vlan-pair` under a relayed scenario: nothing is impaired, nothing measured, and every row says why."""

    @contextlib.contextmanager
    def provisioned(site: Site, scenario: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            scenario=scenario, event=lambda: ScenarioUp(scenario=scenario.name), cluster=None
        )

    monkeypatch.setattr(runner, "provisioned", provisioned)
    monkeypatch.setattr(runner, "impaired", lambda *_: pytest.fail("it was impaired"))
    profile = replace(
        PROFILES["quick"],
        scenarios=("nebula-relay",),
        conditions=(Condition(loss_pct=5),),
        placement=Placement(place=Place.VLAN_PAIR),
        budget_min=None,
    )
    store = Store.create(tmp_path / "run")
    run(plan_matrix(profile, bed.pairs, seed=1), bed, store)
    rows = store.repetitions
    assert {(row.outcome, row.stage) for row in rows} == {("failed", "impairment")}
    assert "never pass between the two workers' VLANs" in str(rows[0].reason)


def test_a_solution_without_a_scenario_is_torn_down_too(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is registered before its scenarios are written does not stop the teardown of all others."""

    def run_on(_nr: object, names: list[str], task: object, **parameters: Any) -> dict[str, Result]:
        left.append(parameters["solution"].name if "solution" in parameters else "")
        return {name: Result(host=None) for name in names}

    def no_engine(site: Site) -> None:
        raise UnavailableError("no netem")

    left: list[str] = []
    lonely = walk_through.solution()
    assert "plainvxlan" not in {scenario_named(name).solution for name in PROFILES["paper"].scenarios}
    monkeypatch.setitem(SOLUTIONS, lonely.name, lonely)
    monkeypatch.setattr(teardown, "run_on", run_on)
    monkeypatch.setattr(teardown, "ask_each", lambda *_, **__: ({}, {}))
    monkeypatch.setattr(teardown, "find_engine", no_engine)
    nr = SimpleNamespace(inventory=SimpleNamespace(hosts={}))
    list(teardown.sweep(Site(nr, bed), dry_run=True))  # type: ignore[arg-type]
    assert set(SOLUTIONS) <= set(left)


@pytest.mark.parametrize("impairing", [True, False])
def test_netem_is_needed_only_by_who_impairs(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch, *, impairing: bool
) -> None:
    """A run without loss and delay is possible on machines whose kernel has no netem; one with them says where."""
    metal = replace(bed, nodes=tuple(replace(node, kind=NodeKind.METAL) for node in bed.nodes))

    def without_netem(_nr: object, names: list[str], *_: object, **__: object) -> dict[str, Result]:
        return {name: Result(host=None, result=False) for name in names}

    monkeypatch.setattr(impair, "run_on", without_netem)
    site = Site(SimpleNamespace(), metal)  # type: ignore[arg-type]
    if impairing:
        with pytest.raises(UnavailableError, match="no netem in the kernel of worker1, worker2, firewall"):
            impair.find_engine(site)
    else:
        assert isinstance(impair.find_engine(site, impairing=False), NetemEngine)
