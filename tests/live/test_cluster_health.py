"""Cluster health on the lab: a real cluster over a VPN that falls back and is killed piece by piece."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from tests.live.clusters import left_on, site_of_a_cluster
from tests.live.vpn import said
from vpnmesh.cluster import installer_named
from vpnmesh.measurements.cluster_health import MEASUREMENT, PHASES
from vpnmesh.measurements.cluster_phases import TOKEN_FILE
from vpnmesh.model import Condition, Testbed
from vpnmesh.study.health import Lane
from vpnmesh.study.health_raw import FILES, health_of
from vpnmesh.study.journal import TeardownProblem, of_kind
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from workflows.run.impair import choose_engine
from workflows.run.progress import RunProgress
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

pytestmark = [pytest.mark.live, pytest.mark.slow]
SCENARIO = "headscale-direct"


@pytest.fixture(scope="module")
def site(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab for clusters, for one module."""
    directory = tmp_path_factory.mktemp("health") / "lab"
    with site_of_a_cluster(testbed, installer_named("kubernetes"), directory) as site:
        yield site


@pytest.fixture(scope="module")
def store(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run of one repetition."""
    profile = replace(
        PROFILES["quick"],
        scenarios=(SCENARIO,),
        conditions=(Condition(),),
        tests=(MEASUREMENT.name,),
        repetitions_clean=1,
        blocks=1,
        cluster="kubernetes",
    )
    bed = site.testbed
    plan = plan_matrix(profile, bed.pairs, seed=1, master=bed.master.name)
    store = Store.create(tmp_path_factory.mktemp("run") / "run", secrets=site.secrets)
    matrix = MatrixRun(site, plan, store, choose_engine(site))
    with RunProgress(Console(quiet=True), plan, 0) as progress:
        matrix.run(progress)
    return store


def test_everything_is_seen(store: Store) -> None:
    """All phases in order; the API was away while the path changed; its clocks are known; nothing secret is kept."""
    (row,) = store.repetitions
    assert (row.outcome, row.reason) == ("measured", None)
    raw = {name: (store.directory / str(row.raw) / name).read_text() for name in FILES}
    health = health_of(raw)
    assert [phase.name for phase in health.phases] == [
        name for name in PHASES if name not in ("blocked", "unblocked")
    ]
    assert health.watched == set(Lane)
    by_name = {phase.name: phase for phase in health.phases}
    for name in ("to-relay", "worker-restart", "master-restart"):
        assert health.longest_s(Lane.API_NODE, by_name[name]) > 0, name
        assert (by_name[name].path_s or 0) > 0, name
    assert health.longest_s(Lane.ROUTES, by_name["worker-restart"]) > 0
    assert by_name["worker-restart"].put_back_s is not None
    assert health.accuracy_s < 5
    assert not [name for name, text in raw.items() if "Bearer" in text or "eyJ" in text]


def test_nothing_of_it_is_left(site: Site, store: Store) -> None:
    """No token on a node; the scenario and its cluster could be taken off as ever."""
    for name in site.k8s:
        assert said(site, name, 'ls "$1" 2> /dev/null; true', TOKEN_FILE) == ""
    assert of_kind(store.events, TeardownProblem) == []
    assert left_on(site) == {}
