"""Prepared illnesses and their diagnoses: each is made on one lab, told by its cause, and gone once it is healed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import tasks
from tests.live.vpn import need, said
from vpnmesh.host.pods import pod_address
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Path
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.why.finding import Cause, Effect, Finding
from vpnmesh.why.words import Diagnosis, lines
from workflows.run.diagnosing import why
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, firewall_policy, mesh_statuses, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def headscale(site: Site) -> Iterator[Provisioned]:
    """A mesh that has a relay to fall back to."""
    need(site, "headscale-direct")
    with provisioned(site, scenario_named("headscale-direct")) as deployed:
        yield deployed


def asked(site: Site, deployed: Provisioned) -> Diagnosis:
    """The measured pair's diagnosis, shown as the command shows it."""
    found = why(site, deployed.solution, deployed.mesh, site.testbed.pairs[0])
    print("\n".join(lines(found)))
    return found


def one(found: Diagnosis, cause: Cause, where: str) -> Finding:
    """The finding of that cause at that place."""
    fitting = [each for each in found.findings if each.cause is cause and each.where == where]
    assert len(fitting) == 1, "\n".join(lines(found))
    return fitting[0]


@contextmanager
def ill(site: Site, node: str, make: str, heal: str) -> Iterator[None]:
    """A node made ill by a script, and healed by another whatever happens."""
    said(site, node, make)
    try:
        yield
    finally:
        said(site, node, heal)


@contextmanager
def policy(site: Site, name: str) -> Iterator[None]:
    """A policy on the firewall while this lasts."""
    firewall_policy(site, name)
    try:
        yield
    finally:
        firewall_policy(site, "allow-all")


def settled(site: Site, deployed: Provisioned, path: Path) -> None:
    """Wait until both ends of the pair are on that path; what pods send makes daemons look for one."""
    pair, bed = site.testbed.pairs[0], site.testbed

    def look() -> set[Path | None]:
        address = str(pod_address(bed, bed.node(pair.server)))
        run_on(site.nr, [pair.client], tasks.ping_address, address=address, count=2, from_pod=True)
        said_by = mesh_statuses(site, deployed.solution, deployed.mesh)
        ends = ((pair.client, pair.server), (pair.server, pair.client))
        return {peer.path if (peer := said_by[name].peer(other)) else None for name, other in ends}

    assert wait_until(look, 120, 0.2, good=lambda seen: seen == {path}) == {path}


def test_a_healthy_mesh_has_no_finding(site: Site, headscale: Provisioned) -> None:
    """Nothing is found, on a machine however busy."""
    found = asked(site, headscale)
    assert list(found.findings) == []
    assert found.healthy


def test_udp_that_the_firewall_blocks(site: Site, headscale: Provisioned) -> None:
    """It is relayed; both directions are named, and the rule that dropped the probes."""
    with policy(site, "block-udp"):
        settled(site, headscale, Path.RELAY)
        found = asked(site, headscale)
        told = one(found, Cause.UDP, "worker1 to worker2")
        assert told.effect is Effect.RELAYED
    settled(site, headscale, Path.DIRECT)


def test_a_symmetric_nat(site: Site, headscale: Provisioned) -> None:
    with policy(site, "nat-symmetric"):
        settled(site, headscale, Path.RELAY)
        found = asked(site, headscale)
        told = one(found, Cause.NAT, "worker1")
        assert told.effect is Effect.RELAYED
    settled(site, headscale, Path.DIRECT)


def test_a_relay_that_is_dead(site: Site, headscale: Provisioned) -> None:
    with ill(site, "relay", "kill $(cat /run/vpnmesh/derper.pid)", "true"):
        found = asked(site, headscale)
        one(found, Cause.RELAY, "relay")
