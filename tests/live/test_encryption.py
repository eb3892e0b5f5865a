"""What pods say cannot be read at the relay or on the underlay, with any VPN on either path; with none it can."""

import pytest

import tasks
from tests.live.vpn import need
from vpnmesh.errors import CheckError
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.study.secrecy import MarkerTrial, check_secrecy, read_outside
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live

NATIVE = "native-1450"
ENCRYPTING = (
    "headscale-direct",
    "headscale-relay",
    "netbird-direct",
    "netbird-relay",
    "netbird-relay-tcp",
    "wireguard-direct",
    "nebula-relay",
    "zerotier-direct",
    "zerotier-relay",
    "netmaker-direct",
)


def tried(site: Site, scenario: str) -> MarkerTrial:
    """A marker sent while that scenario stands."""
    need(site, scenario)
    client = site.testbed.client.name
    with provisioned(site, scenario_named(scenario)):
        results = run_on(
            site.nr,
            [client],
            tasks.listen_for_marker,
            testbed=site.testbed,
            others=site.nr.inventory.hosts,
            tunnels=SOLUTIONS[scenario_named(scenario).solution].interfaces,
        )
    trial: MarkerTrial = results[client].result
    return trial


def test_without_a_vpn_the_marker_is_read_on_the_underlay(site: Site) -> None:
    """At both ends, and not at the relay, which it does not pass: so the listeners tell one from the other."""
    scenario, trial = scenario_named(NATIVE), tried(site, NATIVE)
    ends = {site.testbed.client.name, site.testbed.server.name}
    assert {tap.node for tap in read_outside(scenario, site.testbed, trial)} == ends
    # by either protocol, there and back
    assert min(heard.marked for tap, heard in trial.heard.items() if tap.node in ends) >= 120
    with pytest.raises(
        CheckError, match=r"secrecy: native-1450: what pods say can be read at worker1 \S+ \(\d+"
    ):
        check_secrecy(scenario, site.testbed, trial)


@pytest.mark.parametrize("name", ENCRYPTING)
def test_a_vpn_hides_what_pods_say(name: str, site: Site) -> None:
    """Read inside of the overlay, not outside of it, where at least as many bytes passed by."""
    trial = tried(site, name)
    assert read_outside(scenario_named(name), site.testbed, trial) == ()
    check_secrecy(scenario_named(name), site.testbed, trial)
    assert site.take_complaints() == []


def test_a_relay_that_has_the_keys_reads_what_pods_say(site: Site) -> None:
    """Netmaker's gateway forwards from one tunnel into the next; on the underlay nothing is read with it, either."""
    trial = tried(site, "netmaker-relay")
    where = read_outside(scenario_named("netmaker-relay"), site.testbed, trial)
    assert [str(tap) for tap in where] == [f"{site.testbed.relay.name} netmaker"]
