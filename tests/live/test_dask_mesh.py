"""A mesh on the lab, provisioned by a Dask worker: the workflows are the same, chosen by the environment alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from inventory.across.certificates import make_credentials
from inventory.dask_runner import DaskRunner
from inventory.lines import Line
from inventory.load import load
from tests.live.far_sites import FarSites
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.study.scenarios import scenario_named
from workflows.run.provision import provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live


@pytest.fixture
def far(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarSites]:
    """A scheduler and a worker in the controller's network, with the lab's key in the worker's own file."""
    keys = lab.key_file.parent
    make_credentials(tmp_path / "credentials")
    login = {"key_file": str(keys / "id_ed25519"), "known_hosts": str(keys / "known_hosts")}
    (tmp_path / "logins.yaml").write_text(yaml.safe_dump({"defaults": login}))
    (tmp_path / "logins.yaml").chmod(0o600)
    sites = FarSites(tmp_path, 0, 0, host="127.0.0.1")
    monkeypatch.setenv("VPNMESH_DASK", sites.address)
    monkeypatch.setenv("VPNMESH_DASK_CREDENTIALS", str(sites.credentials))
    try:
        sites.start_scheduler()
        sites.start_workers({"everywhere": "*"})
        yield sites
    finally:
        sites.end_all()


def test_a_mesh_is_joined_proven_and_left_through_a_worker(far: FarSites) -> None:
    """The path holds, nothing is left, and the controller itself never logged in to a node that only joins."""
    del far
    site = Site(*load("lab"))
    runner = site.nr.runner
    assert isinstance(runner, DaskRunner)
    with provisioned(site, scenario_named("wireguard-direct")) as standing:
        assert sorted(standing.statuses) == site.k8s
        assert standing.relay_share == 0.0
        assert standing.set_up.steps > 0
    assert site.take_complaints() == []
    master = site.nr.inventory.hosts["k8s-master"].connections.get(Line.NAME)
    assert master is None
    runner.close()
    site.nr.close_connections()
