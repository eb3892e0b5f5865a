"""The Kubernetes API test on the lab: both ways to ask, without a VPN and over one, and what goes wrong."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

import tasks
from tests.live.vpn import need, said
from tests.needs import missing
from vpnmesh.host.api_leftovers import FOLDER
from vpnmesh.lab.roots import SEARCH
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.api_standing import PORT
from vpnmesh.measurements.protocol import Question, Settings
from vpnmesh.model import Condition, Pair
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import BUILT_IN, scenario_named
from workflows.reporting.studies import study_from_run
from workflows.run import provenance
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.impair import choose_engine
from workflows.run.progress import RunProgress
from workflows.run.provision import provisioned
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store
from workflows.run.teardown import sweep

pytestmark = pytest.mark.live

REQUESTS = 20
MASTER, CLIENT = "k8s-master", "worker1"
AT_WORK = """
i=0; until ss -Htn state established "sport = :$1" | grep -q "$2" || [ $i -gt 600 ]; do sleep 0.1; i=$((i+1)); done
"""
"""Waits until the client's pod has a connection to the server."""
PROGRAMS = "pidof etcd kubernetes kube-apiserver; true"


@pytest.fixture(autouse=True)
def programs(root: None) -> None:
    """Skip where Kubernetes' programs or etcd are missing."""
    del root
    for piece, names in (("kubernetes", ("kubernetes", "kube-apiserver")), ("", ("etcd",)), ("", ("hey",))):
        if not any(shutil.which(name, path=SEARCH) for name in names):
            missing(piece, f"no {names[0]} on PATH")


@pytest.mark.parametrize("scenario", ["native-1450", "headscale-relay"])
def test_both_ways_to_ask(scenario: str, site: Site, tmp_path: Path) -> None:
    """Figures, requests in the report's table, no token in any file, nothing left on any node."""
    need(site, scenario)
    profile = replace(
        PROFILES["quick"],
        scenarios=(scenario,),
        conditions=(Condition(),),
        tests=("api", "api-hey"),
        api_requests=REQUESTS,
        hey_requests=REQUESTS,
    )
    request = provenance.request(profile, 1, "lab", site.testbed)
    store, engine = Store.create(tmp_path / "run", request, site.secrets), choose_engine(site)
    plan = plan_matrix(profile, site.testbed.pairs, 1, BUILT_IN, MASTER)
    before = provenance.footprint(site)
    matrix = MatrixRun(site, plan, store, engine)
    with RunProgress(Console(quiet=True), plan, 0) as progress:
        matrix.run(progress)
    assert [(one.outcome, one.reason) for one in store.repetitions] == [("measured", None)] * 2
    assert {one.pair for one in store.repetitions} == {f"{CLIENT}>{MASTER}"}
    store.write_results()
    api = study_from_run(store.directory).tables["api"]
    assert api.select("mode", "requests", "failed").sort("mode").rows() == [
        ("hey", REQUESTS, 0),
        ("open-loop", REQUESTS, 0),
    ]
    assert api.filter(pl.col("mean_s") > 0, pl.col("p50_s") < 20).height == 2
    kept = [path for path in store.directory.rglob("*") if path.is_file() and b"eyJ" in path.read_bytes()]
    assert kept == []
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []
    assert said(site, MASTER, PROGRAMS).strip() == ""


def test_etcd_that_dies_meanwhile_is_a_failure(site: Site) -> None:
    """The stage is the server's, the reason names etcd; the API server does not outlive it."""
    with behind_the_back(site, 'kill -9 "$(pidof etcd)"'), pytest.raises(HostsFailedError) as failed:
        ask(site, requests=60)
    assert "api-server: etcd ended during the test" in str(failed.value.first)
    assert said(site, MASTER, PROGRAMS).strip() == ""


def test_a_port_that_is_taken_is_a_failure(site: Site) -> None:
    """Another program has it: the reason is the API server's own."""
    occupy = f"import socket, time; s = socket.create_server(('', {PORT})); time.sleep(60)"
    listener = f'setsid python3 -c "{occupy}" > /dev/null 2>&1 < /dev/null & echo $!; sleep 0.5'
    held = said(site, MASTER, listener).strip()
    try:
        with pytest.raises(
            HostsFailedError, match=r"api-server: kube-apiserver ended: .*address already in use"
        ):
            ask(site)
    finally:
        said(site, MASTER, f"kill {held}")
    assert said(site, MASTER, f"ls -d {FOLDER}; {PROGRAMS}").strip() == ""


def test_a_kill_leaves_a_folder_that_the_next_one_removes(site: Site) -> None:
    """The kernel ends both programs with what started them; a teardown removes the folder, and so does a next test."""
    shot = 'kill -9 "$(ps -o ppid= -p "$(pidof etcd)" | tr -d " ")"'
    with behind_the_back(site, shot), pytest.raises(HostsFailedError):
        ask(site, requests=60)
    said(
        site,
        MASTER,
        "i=0; while pidof etcd kubernetes && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done; true",
    )
    assert said(site, MASTER, f"{PROGRAMS}; ls -d {FOLDER}").strip() == FOLDER
    removed = [one for one in sweep(site, dry_run=False) if one.removed and one.what == "API test"]
    assert [one.host for one in removed] == [MASTER]
    assert ask(site)["requests.csv"].count("\n") == 1 + REQUESTS


def ask(site: Site, requests: int = REQUESTS) -> dict[str, str]:
    """What the nodes said of one repetition by the clock, over the pod network alone."""
    question = Question(
        site.testbed,
        Pair(CLIENT, MASTER),
        settings=Settings(api_requests=requests),
        scenario=scenario_named("native-1450"),
    )
    with provisioned(site, scenario_named("native-1450")):
        raw: dict[str, str] = run_on(
            site.nr,
            [CLIENT],
            tasks.measure,
            measurement=measurement_named("api"),
            question=question,
            others=site.nr.inventory.hosts,
        )[CLIENT].result
    return raw


@contextmanager
def behind_the_back(site: Site, deed: str) -> Iterator[None]:
    """Do that on the master as soon as the client asks."""
    pod = Question(site.testbed, Pair(CLIENT, MASTER)).pod("client")
    script = f"{AT_WORK}\n{deed}"
    said(
        site,
        MASTER,
        'setsid sh -c "$1" sh "$2" "$3" > /dev/null 2>&1 < /dev/null &',
        script,
        str(PORT),
        str(pod),
    )
    yield
