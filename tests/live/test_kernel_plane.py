"""VPNs whose packets the kernel's own WireGuard carries, where there is one."""

import pytest

import tasks
from tests.live.vpn import need, said
from tests.needs import missing
from vpnmesh.model import DataPlane
from vpnmesh.study.checks import check_mesh
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live

# in a namespace of its own, so that nothing of the node is touched
HAS = "unshare --net ip link add wg0 type wireguard 2> /dev/null && echo yes || echo no"


@pytest.mark.parametrize("name", ["wireguard-direct", "netbird-direct"])
def test_the_kernel_encrypts(name: str, site: Site) -> None:
    """Every member says `kernel`, has a link of kind wireguard and no wireguard-go; then no link stays."""
    if said(site, site.testbed.client.name, HAS).strip() != "yes":
        missing("kernel-wireguard", "this kernel has no WireGuard")
    need(site, name)
    with provisioned(site, scenario_named(name)) as standing:
        check_mesh(standing.mesh, standing.statuses)
        assert {status.data_plane for status in standing.statuses.values()} == {DataPlane.KERNEL}
        assert standing.data_plane == "kernel"
        for node in site.k8s:
            assert len(said(site, node, "ip -br link show type wireguard").splitlines()) == 1
            assert said(site, node, "ps -e -o comm= | grep -c wireguard-go || true").strip() == "0"
        address = str(standing.statuses[site.testbed.server.name].address)
        pings = run_on(site.nr, [site.testbed.client.name], tasks.ping_address, address=address, count=5)
        assert pings[site.testbed.client.name].result.received == 5
    assert site.take_complaints() == []
    for node in site.k8s:
        assert said(site, node, "ip -br link show type wireguard") == ""
