"""No secret of a run is in its directory, on its screen or, afterwards, on any node; until then only in 0600 files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.live.vpn import files_with, need, said, secrets_of, secrets_on, with_any
from vpnmesh.model import Condition, Scenario
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from workflows.run import provenance, runner
from workflows.run.impair import choose_engine
from workflows.run.progress import RunProgress
from workflows.run.provision import Provisioned, provisioned
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

pytestmark = pytest.mark.live

AT_LEAST = {
    "headscale-direct": 6,  # auth key, noise key, TLS key, relay's key, and a state file a member
    "netbird-relay": 6,  # relay's secret, owner's token, setup key, and a private key a member
    "netbird-relay-tcp": 6,
    "zerotier-relay": 10,  # identity and token of five nodes
    "wireguard-direct": 3,
    "nebula-relay": 6,
}

# the folders of ours that others may enter, and what they may write in them; where the first is closed, all is
OPEN_TO_OTHERS = """
find /run/vpnmesh /var/lib/vpnmesh -maxdepth 0 -perm /077 -printf '%m %p\\n'
find /run/vpnmesh /var/lib/vpnmesh ! -type l ! -type s -perm /022 -printf '%m %p\\n'
find /run/vpnmesh -maxdepth 1 -name '*.[pls][iop]*' -type f -perm /077 -printf '%m %p\\n'
true
"""


@pytest.mark.parametrize("scenario", AT_LEAST)
def test_a_run_directory_and_its_nodes_keep_no_secret(
    scenario: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Throughput, idle and convergence measured, manifest and all: grepped for every key, token and password."""
    need(site, scenario)
    known: set[str] = set()
    modes: dict[str, str] = {}
    shown: list[str] = []
    open_to_others: list[str] = []

    @contextmanager
    def watched(site: Site, scenario: Scenario) -> Iterator[Provisioned]:
        with provisioned(site, scenario) as standing:
            known.update(secrets_on(site), secrets_of(standing.mesh))
            yield standing
            known.update(secrets_on(site))
            modes.update(files_with(site, sorted(known)))
            shown.extend(said(site, node, "ps -eo args") for node in site.all_nodes)
            open_to_others.extend(said(site, node, OPEN_TO_OTHERS) for node in site.all_nodes)

    monkeypatch.setattr(runner, "provisioned", watched)
    profile = replace(
        PROFILES["quick"],
        scenarios=(scenario,),
        conditions=(Condition(),),
        tests=("tcp", "idle", "convergence"),
        repetitions_clean=1,
    )
    plan, engine = plan_matrix(profile, site.testbed.pairs, seed=1), choose_engine(site)
    store = Store.create(tmp_path / "run", provenance.request(profile, 1, "lab", site.testbed), site.secrets)
    console = Console(width=200, record=True, quiet=False, file=(tmp_path / "screen").open("w"))
    with RunProgress(console, plan, 0) as progress:
        store.update_manifest(**provenance.surroundings(site, None, engine).entries())
        MatrixRun(site, plan, store, engine).run(progress)
        store.update_manifest(footprint=provenance.footprint(site))
    console.file.close()
    store.write_results()

    rows = store.repetitions
    assert [(row.test, row.reason) for row in rows if row.outcome != "measured"] == []
    converged = next(row for row in rows if row.test == "convergence")
    assert "client_solution_cpu_pct" in converged.columns()
    secrets = sorted(known)
    assert len(secrets) >= AT_LEAST[scenario]
    assert with_any(tmp_path, secrets) == []
    assert [secret for secret in secrets if secret in "".join(shown)] == []
    lines = [line for text in modes.values() for line in text.splitlines()]
    assert [line for line in lines if not line.startswith("600 ")] == []
    assert "".join(open_to_others) == ""
    assert files_with(site, secrets) == {}
