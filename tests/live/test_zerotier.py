"""ZeroTier on real nodes: only our root, a blacklist that takes hold, a relay that nothing forces."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

import tasks
from tests.live.test_headscale import until
from tests.live.vpn import need, said
from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Observation, judge
from vpnmesh.solutions import zerotier_networks as zerotier
from vpnmesh.study.scenarios import BUILT_IN, scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.site import Site
from workflows.run.verifying import Verifier, verifier
from workflows.run.verifying_access import coarse, granular
from workflows.run.verifying_members import control_plane_down, registration
from workflows.run.verifying_meshes import isolated
from workflows.run.verifying_outside import subnet_router
from workflows.run.verifying_paths import relay_udp

pytestmark = pytest.mark.live

CLI = f"zerotier-cli -D{zerotier.HOME} -j"
LONGEST_WAIT_S = 55
"""ZT_TCP_FALLBACK_AFTER is 60 s; the clock that the test reads starts a little after the daemon's."""


def listening_on(site: Site, node: str) -> set[str]:
    """The addresses that ZeroTier uses on a node."""
    settings = json.loads(said(site, node, f"{CLI} info"))["config"]["settings"]
    return {str(one).split("/", 1)[0] for one in settings["listeningOn"]}


def test_no_node_knows_a_root_but_ours(site: Site) -> None:
    """The only planet is our relay node; built-in roots are in no node's list of peers, nor ever sent a packet."""
    need(site, "zerotier-direct")
    with provisioned(site, scenario_named("zerotier-direct")) as standing:
        bed = site.testbed
        everyone = (*bed.k8s, bed.relay, bed.control_plane)
        ours = {zerotier.address_of(standing.mesh, node) for node in everyone}
        for node in site.k8s:
            peers = json.loads(said(site, node, f"{CLI} peers"))
            roots = [peer["address"] for peer in peers if peer["role"] != "LEAF"]
            assert roots == [zerotier.address_of(standing.mesh, site.testbed.relay)]
            assert {peer["address"] for peer in peers} <= ours
            secret = said(
                site, node, f"stat -c %a {zerotier.HOME}/identity.secret {zerotier.HOME}/authtoken.secret"
            )
            assert secret.split() == ["600", "600"]


def test_the_blacklist_takes_hold_on_a_running_daemon(site: Site) -> None:
    """Without it ZeroTier offers the pod network's address to its peers; with it again, it stops within a minute."""
    need(site, "zerotier-direct")
    client = site.testbed.client
    with provisioned(site, scenario_named("zerotier-direct")) as standing:
        pods = standing.mesh.testbed.pods

        def in_pods() -> bool:

            return any(ip_address(one) in pods for one in listening_on(site, client.name))

        assert not in_pods()
        assert str(client.underlay) in listening_on(site, client.name)
        for blacklist, wanted in (((), True), (standing.mesh.blacklist, False)):
            mesh = replace(standing.mesh, blacklist=blacklist)
            run_on(site.nr, [client.name], tasks.blacklist_interfaces, solution=standing.solution, mesh=mesh)
            assert until(lambda wanted=wanted: in_pods() is wanted, seconds=75)  # type: ignore[misc]


def test_a_relay_that_nothing_forces_is_used_after_a_minute(site: Site) -> None:
    """All UDP blocked from the start: no member reaches the TCP relay before 60 s, then all do, proven by its bytes."""
    need(site, "zerotier-relay-unforced")
    with provisioned(site, scenario_named("zerotier-relay-unforced")) as standing:
        told = {node: json.loads(said(site, node, f"{CLI} info")) for node in site.k8s}
        assert {one["config"]["settings"]["forceTcpRelay"] for one in told.values()} == {False}
        assert {one["tcpFallbackActive"] for one in told.values()} == {True}
        print(f"{standing.join_s:.0f} s until every pair was relayed: {standing.set_up.seconds}")
        assert standing.join_s > LONGEST_WAIT_S
        assert standing.relay_share >= 0.9


@pytest.fixture(scope="module")
def checks(site: Site) -> Iterator[Verifier]:
    """The live checks' way to the nodes; what they put there is gone at the end."""
    need(site, "zerotier-direct")
    with verifier(site, BUILT_IN, "zerotier", print, listening=False) as found:
        yield found
    assert site.take_complaints() == []


@pytest.mark.parametrize("check", [registration, coarse, granular, relay_udp, subnet_router, isolated])
def test_what_the_controller_is_told_holds(
    checks: Verifier, check: Callable[[Verifier], list[Observation]]
) -> None:
    """A refused identity, rules while it runs, a route, the root as relay, two networks: each with its control."""
    observations = check(checks)
    print("\n".join(f"{one.part}: {one}" for one in observations))
    assert judge(observations)[0] is Value.MET


def test_a_member_that_starts_anew_without_the_controller_is_reached(checks: Verifier) -> None:
    """It joins by what it was told before, which lies in the network's own file."""
    checks.hold_s = 5.0
    anew = next(one for one in control_plane_down(checks) if "started anew meanwhile" in one.what)
    assert not anew.seen.startswith("0 of")
