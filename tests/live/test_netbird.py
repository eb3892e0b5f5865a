"""NetBird on real nodes: its blacklist, its policies, its secrets, and a relay that dies and comes back."""

import time
from dataclasses import replace

import pytest

import tasks
from tests.live.test_headscale import TRY_TCP, until
from tests.live.vpn import files_with, need, said, secrets_of
from vpnmesh.errors import CheckError
from vpnmesh.study.checks import check_mesh
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, Site, join, mesh_statuses, provisioned

pytestmark = pytest.mark.live


def stands(site: Site, standing: Provisioned) -> bool:
    """Whether every member says that it is on the scenario's path to every other."""
    try:
        check_mesh(standing.mesh, mesh_statuses(site, standing.solution, standing.mesh))
    except CheckError:
        return False
    return True


def test_without_its_blacklist_it_did_not_fall_for_the_pod_network(site: Site) -> None:
    """NetBird 0.74 with Calico's interfaces allowed: for ten seconds no peer is reached inside the pod network.

    The paper (section 3.2.3) had to blacklist them; the guard would raise here, as it does in test_stability.
    """
    need(site, "netbird-direct")
    with provisioned(site, scenario_named("netbird-direct")) as standing:
        allowed = replace(standing.mesh, blacklist=())
        changed = run_on(
            site.nr, site.k8s, tasks.blacklist_interfaces, solution=standing.solution, mesh=allowed
        )
        assert {result.changed for result in changed.values()} == {True}
        assert until(lambda: stands(site, standing), seconds=30)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            check_mesh(standing.mesh, mesh_statuses(site, standing.solution, standing.mesh))
            time.sleep(0.5)


def test_the_policy_changes_without_a_restart(site: Site) -> None:
    """Granular drops TCP that a cluster does not need; coarse lets it through again; nothing was restarted."""
    need(site, "netbird-direct")
    client, control = site.testbed.client.name, site.testbed.control_plane.name
    pids = "cat /run/vpnmesh/netbird-mgmt.pid"
    with provisioned(site, scenario_named("netbird-direct")) as standing:
        address = str(standing.statuses[site.testbed.server.name].address)
        before = said(site, control, pids)
        for access, wanted in (("granular", "dropped"), ("coarse", "reached")):
            mesh = replace(standing.mesh, scenario=replace(standing.scenario, options={"access": access}))
            stage = next(one for one in standing.solution.stages(mesh) if one.name == "policy")
            assert run_on(site.nr, [control], tasks.join_stage, mesh=mesh, stage=stage)[control].changed

            def as_wanted(wanted: str = wanted) -> bool:
                return said(site, client, TRY_TCP, address).strip() == wanted

            assert until(as_wanted, seconds=15)
        assert before == said(site, control, pids)


def test_secrets_lie_where_they_must_and_are_gone_afterwards(site: Site) -> None:
    """Setup key, TURN password, database key: 0600, on no command line, in no text of ours, gone after leaving."""
    need(site, "netbird-relay")
    with provisioned(site, scenario_named("netbird-relay")) as standing:
        secrets = secrets_of(standing.mesh)
        assert len(secrets) == 3
        held = files_with(site, secrets)
        control, relay = site.testbed.control_plane.name, site.testbed.relay.name
        assert {control, relay} <= set(held)
        modes = {line.split()[0] for text in held.values() for line in text.splitlines()}
        assert modes == {"600"}
        shown = repr(standing) + "".join(said(site, node, "ps -eo args") for node in site.all_nodes)
        assert [secret for secret in secrets if secret in shown] == []
    assert files_with(site, secrets) == {}


def test_a_relay_that_died_is_found_again(site: Site) -> None:
    """NetBird's own relay killed: no path is claimed to stand; started again, the mesh comes back by itself."""
    need(site, "netbird-relay-tcp")
    relay = site.testbed.relay.name
    with provisioned(site, scenario_named("netbird-relay-tcp")) as standing:
        assert run_on(site.nr, [relay], tasks.kill_services)[relay].result
        assert until(lambda: not stands(site, standing), seconds=30)
        join(site, standing.solution, standing.mesh)
        assert until(lambda: stands(site, standing), seconds=90)
