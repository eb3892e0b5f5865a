"""Verdicts on real overlays that a test spoils: one that flaps, one that relays needlessly, one that loops."""

import threading
import time

import pytest

import tasks
from tests.live.vpn import cut_off, prove_stability
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import pod_address
from vpnmesh.model import Path
from vpnmesh.solutions import wireguard
from vpnmesh.study.checks import check_mesh
from vpnmesh.study.convergence import StabilityLimits
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import firewall_policy, mesh_statuses, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live


def test_a_steady_overlay_is_included_and_a_flapping_one_is_not(site: Site) -> None:
    """WireGuard untouched is included; the same mesh, its packets stopped for three seconds, is left out."""
    with provisioned(site, scenario_named("wireguard-direct")) as standing:
        limits = StabilityLimits(probes=10, seconds=4, outage_s=1.0)
        assert prove_stability(site, standing, Path.DIRECT, limits).included

        def flap() -> None:
            time.sleep(2)
            # a rule of its own at the firewall, gone after three seconds: UDP between the workers vanishes
            rules = "add table ip flap; add chain ip flap f { type filter hook forward priority -5; };"
            script = (
                f'nft "{rules} add rule ip flap f meta l4proto udp drop"; sleep 3; nft delete table ip flap'
            )
            firewall = site.testbed.firewall.name
            run_on(site.nr, [firewall], tasks.run_command, argv=("sh", "-ec", script))

        thread = threading.Thread(target=flap)
        thread.start()
        verdict = prove_stability(
            site, standing, Path.DIRECT, StabilityLimits(probes=10, seconds=8, outage_s=1.0)
        )
        thread.join()
        assert not verdict.included
        assert verdict.longest_outage_s > 1
        assert "no packet came back" in verdict.reason


def test_relaying_although_direct_works_is_excluded(site: Site) -> None:
    """Nebula that joined through its relay stays there when UDP is allowed again: left out by evidence."""
    with provisioned(site, scenario_named("nebula-relay")) as standing:
        firewall_policy(site, "allow-all")
        verdict = prove_stability(site, standing, Path.DIRECT, StabilityLimits(probes=10, seconds=3))
        assert not verdict.included
        assert "not on the direct path but relay" in verdict.reason


@pytest.mark.parametrize("where", ["pod", "management"])
def test_the_guard_catches_a_vpn_that_left_the_underlay(where: str, site: Site) -> None:
    """A peer's endpoint moved into the pod network (section 3.2.3) or onto management is refused as such.

    The peer cannot send meanwhile, or WireGuard would take its next packet for the better endpoint; everything else
    is as it should be, which a look before shows.
    """
    with provisioned(site, scenario_named("wireguard-direct")) as standing:
        bed = site.testbed
        address, words = {
            "pod": (str(pod_address(bed, bed.server)), "in the pod network"),
            "management": (bed.server.management, "worker2's management address"),
        }[where]
        key = str(standing.mesh.published_by(bed.server.name, "public-key"))
        argv = ("wg", "set", wireguard.INTERFACE, "peer", key, "endpoint", f"{address}:{wireguard.PORT}")
        with cut_off(site, bed.server.name):
            check_mesh(standing.mesh, mesh_statuses(site, standing.solution, standing.mesh))
            run_on(site.nr, [bed.client.name], tasks.run_command, argv=argv)
            with pytest.raises(CheckError, match=f"worker1 reaches worker2 at {address}, {words}") as caught:
                check_mesh(standing.mesh, mesh_statuses(site, standing.solution, standing.mesh))
        assert caught.value.stage == "endpoint"
