"""Every check of an honest measurement refuses what is wrong, under the stage that rows are filed under."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.golden.goldens import answered
from vpnmesh.errors import CheckError
from vpnmesh.host.links import endpoint_address
from vpnmesh.model import DataPlane, Path, Place, Placement, Scenario, Testbed
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh, Peer, Status
from vpnmesh.study.checks import (
    check_endpoints,
    check_foreign,
    check_mesh,
    check_on_path,
    check_path,
    check_pod_mtu,
    check_share,
    seen_path,
)
from vpnmesh.study.scenarios import scenario_named

DIRECT, RELAYED = scenario_named("nebula-direct"), scenario_named("nebula-relay")


def statuses(mesh: Mesh) -> dict[str, Status]:
    """A mesh in which everything is as the scenario says."""
    relayed = mesh.scenario.path is Path.RELAY
    return {
        node.name: Status(
            DataPlane.USERSPACE,
            "vpn0",
            mesh.overlay(node).ip,
            1280,
            tuple(
                Peer(peer.name, mesh.scenario.path, mesh.testbed.relay.underlay if relayed else peer.underlay)
                for peer in mesh.peers(node)
            ),
        )
        for node in mesh.members
    }


def changed(mesh: Mesh, node: str, peer: str, **fields: object) -> dict[str, Status]:
    """The same mesh, with one thing wrong at one peer of one node."""
    said = statuses(mesh)
    peers = tuple(
        replace(one, **fields) if one.name == peer else one  # type: ignore[arg-type]
        for one in said[node].peers
    )
    return {**said, node: replace(said[node], peers=peers)}


@pytest.mark.parametrize("scenario", [DIRECT, RELAYED], ids=lambda one: one.name)
def test_a_good_mesh_passes(bed: Testbed, scenario: Scenario) -> None:
    """Path by both ends, MTU and endpoints as wanted."""
    mesh = Mesh(bed, scenario)
    check_mesh(mesh, statuses(mesh))


@pytest.mark.parametrize("found", [None, 1281, 1500])
def test_a_tunnel_of_another_mtu(bed: Testbed, found: int | None) -> None:
    """1280 is asked for, and nothing else will do."""
    mesh = Mesh(bed, DIRECT)
    said = statuses(mesh)
    said["worker2"] = replace(said["worker2"], mtu=found)
    with pytest.raises(CheckError, match=f"worker2: vpn0 has {found}, wanted 1280") as caught:
        check_mesh(mesh, said)
    assert caught.value.stage == "mtu"


@pytest.mark.parametrize(
    ("scenario", "path", "words"),
    [
        (DIRECT, Path.RELAY, "worker2 reaches worker1 relay, wanted direct"),
        (DIRECT, None, "worker2 reaches worker1 not at all, wanted direct"),
        (RELAYED, Path.DIRECT, "worker2 reaches worker1 direct, wanted relay"),
    ],
)
def test_one_end_on_another_path_is_enough(
    bed: Testbed, scenario: Scenario, path: Path | None, words: str
) -> None:
    """Both ends must say the scenario's path; one may say direct over a relay."""
    mesh = Mesh(bed, scenario)
    with pytest.raises(CheckError, match=words) as caught:
        check_mesh(mesh, changed(mesh, "worker2", "worker1", path=path))
    assert caught.value.stage == "path"


def test_a_peer_that_is_not_named_is_not_reached(bed: Testbed) -> None:
    """A status without that peer."""
    status = replace(statuses(Mesh(bed, DIRECT))["worker1"], peers=())
    with pytest.raises(CheckError, match="worker1 reaches worker2 not at all") as caught:
        check_path(DIRECT, "worker1", status, "worker2")
    assert caught.value.stage == "path"


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("10.136.0.65", "in the pod network"),
        ("10.213.0.2", "in the overlay"),
        ("198.18.213.13", "worker2's management address"),
        ("192.88.99.26", "relay's underlay address"),
        ("192.88.99.2", "k8s-master's underlay address"),
        ("192.88.99.17", "no underlay address of this testbed"),
        ("203.0.113.7", "no underlay address of this testbed"),
        ("100.64.0.7", "no underlay address of this testbed"),
    ],
)
def test_a_direct_peer_anywhere_but_at_its_underlay(bed: Testbed, endpoint: str, place: str) -> None:
    """Pods, overlays, management, another port, the relay, another member: all that is not the peer's underlay."""
    mesh = Mesh(bed, DIRECT)
    said = changed(mesh, "worker1", "worker2", endpoint=IPv4Address(endpoint))
    words = f"worker1 reaches worker2 at {endpoint}, {place}, wanted 192.88.99.18"
    with pytest.raises(CheckError, match=words) as caught:
        check_mesh(mesh, said)
    assert caught.value.stage == "endpoint"


@pytest.mark.parametrize("endpoint", ["192.88.99.18", "198.18.213.14", "203.0.113.7"])
def test_a_relayed_peer_anywhere_but_at_the_relay(bed: Testbed, endpoint: str) -> None:
    """The peer's own address is a direct path, whatever the solution calls it; so is the relay's other port."""
    mesh = Mesh(bed, RELAYED)
    said = changed(mesh, "worker1", "worker2", endpoint=IPv4Address(endpoint))
    with pytest.raises(CheckError, match=f"worker2 at {endpoint}, .*wanted 192.88.99.26") as caught:
        check_mesh(mesh, said)
    assert caught.value.stage == "endpoint"


@pytest.mark.parametrize("scenario", [DIRECT, RELAYED], ids=lambda one: one.name)
def test_nodes_that_are_managed_by_name(bed: Testbed, scenario: Scenario) -> None:
    """A testbed whose inventory has names instead of management addresses is guarded in the same way."""
    named = replace(
        bed, nodes=tuple(replace(node, management=f"{node.name}.example.net") for node in bed.nodes)
    )
    mesh = Mesh(named, scenario)
    check_mesh(mesh, statuses(mesh))
    said = changed(mesh, "worker1", "worker2", endpoint=IPv4Address("198.18.213.13"))
    with pytest.raises(CheckError, match=r"worker1 reaches worker2 at 198\.18\.213\.13") as caught:
        check_mesh(mesh, said)
    assert caught.value.stage == "endpoint"


@pytest.mark.parametrize(
    ("endpoint", "passes"),
    [
        ("192.88.99.18", True),
        ("192.88.99.18:51820", True),
        ("[::ffff:192.88.99.18]:51820", True),
        ("::ffff:c058:6312", True),
        ("198.18.213.13:51820", False),
        ("[::ffff:198.18.213.13]:51820", False),
        ("[2001:db8::18]:51820", False),
        ("fe80::1%eth0", False),
    ],
)
def test_endpoints_as_solutions_write_them(bed: Testbed, endpoint: str, passes: bool) -> None:  # noqa: FBT001
    """Ports and IPv4 mapped into IPv6 are read; IPv6 is on no VLAN of the testbed, so it is never right."""
    mesh = Mesh(bed, DIRECT)
    said = changed(mesh, "worker1", "worker2", endpoint=endpoint_address(endpoint))
    if passes:
        check_mesh(mesh, said)
    else:
        with pytest.raises(CheckError, match="worker1 reaches worker2"):
            check_mesh(mesh, said)


@pytest.mark.parametrize("scenario", [DIRECT, RELAYED], ids=lambda one: one.name)
def test_a_path_without_an_endpoint_is_refused(bed: Testbed, scenario: Scenario) -> None:
    """A solution that does not say where it sends to cannot be shown to use the underlay; its own words are shown."""
    mesh = Mesh(bed, scenario)
    said = changed(mesh, "worker1", "worker2", endpoint=None, via="DERP fra")
    words = rf"worker1 reaches worker2 {scenario.path} \(DERP fra\) and does not say at which address"
    with pytest.raises(CheckError, match=words) as caught:
        check_mesh(mesh, said)
    assert caught.value.stage == "endpoint"


def test_a_third_member_that_is_not_reached_now_does_not_matter(bed: Testbed) -> None:
    """A peer without path and endpoint carries nothing; one that is somewhere wrong does."""
    mesh = Mesh(bed, DIRECT)
    check_endpoints(
        mesh, "worker1", changed(mesh, "worker1", "k8s-master", path=None, endpoint=None)["worker1"]
    )
    pod = changed(mesh, "worker1", "k8s-master", path=None, endpoint=IPv4Address("10.136.0.1"))
    with pytest.raises(CheckError, match=r"worker1 reaches k8s-master at 10\.136\.0\.1, in the pod network"):
        check_endpoints(mesh, "worker1", pod["worker1"])


def test_behind_a_nat_the_firewalls_address_is_right(bed: Testbed) -> None:
    """Workers behind a NAT show at the firewall's address in the asking node's VLAN, and at no other VLAN's."""
    hidden = Mesh(bed, replace(DIRECT, policy="nat-symmetric"))
    legs = {leg.vid: leg.address.ip for leg in bed.firewall.legs}
    mine, others = legs[bed.client.leg.vid], legs[bed.server.leg.vid]
    check_mesh(hidden, changed(hidden, "worker1", "worker2", endpoint=mine))
    for mesh, endpoint in ((hidden, others), (Mesh(bed, DIRECT), mine)):
        with pytest.raises(CheckError, match=f"worker1 reaches worker2 at {endpoint}"):
            check_mesh(mesh, changed(mesh, "worker1", "worker2", endpoint=endpoint))


def test_a_path_counts_only_where_its_endpoint_is_right(bed: Testbed) -> None:
    """What watches a path over time (convergence, stability) takes a direct path over management for none."""
    mesh = Mesh(bed, DIRECT)
    assert seen_path(mesh, "worker1", statuses(mesh)["worker1"], "worker2") is Path.DIRECT
    for endpoint in (None, IPv4Address("198.18.213.13")):
        said = changed(mesh, "worker1", "worker2", endpoint=endpoint)["worker1"]
        assert seen_path(mesh, "worker1", said, "worker2") is None
    assert seen_path(mesh, "worker1", statuses(mesh)["worker1"], "nobody") is None


def test_native_addresses_are_right(bed: Testbed) -> None:
    """Without a VPN the members' addresses are the underlay itself, and are their endpoints."""
    mesh = Mesh(bed, scenario_named("native-1450"))
    check_mesh(
        mesh, {node.name: answered(solution_named("native").status(mesh, node)) for node in mesh.members}
    )


@pytest.mark.parametrize(
    ("scenario", "share", "words"),
    [
        (RELAYED, 0.0, "relay sent 0.0% of the bytes, wanted at least 90%"),
        (RELAYED, 0.89, "relay sent 89.0% of the bytes, wanted at least 90%"),
        (DIRECT, 0.011, "relay sent 1.1% of the bytes, wanted at most 1%"),
        (DIRECT, 1.0, "relay sent 100.0% of the bytes, wanted at most 1%"),
    ],
)
def test_counters_that_contradict_the_path(scenario: Scenario, share: float, words: str) -> None:
    """At least 90 % when relayed, at most 1 % when direct."""
    with pytest.raises(CheckError, match=words) as caught:
        check_share(scenario, "relay", share)
    assert caught.value.stage == "path"


@pytest.mark.parametrize(
    ("scenario", "share"), [(RELAYED, 0.9), (RELAYED, 1.2), (DIRECT, 0.0), (DIRECT, 0.01)]
)
def test_counters_that_agree_with_the_path(scenario: Scenario, share: float) -> None:
    """The limits themselves are good; tunnel headers may make a relay's share a little more than all."""
    check_share(scenario, "relay", share)


def test_a_relay_that_is_an_end_sends_its_half_of_a_direct_path() -> None:
    """Three nodes: the relay is one of the two workers, and its counters contradict nothing."""
    check_share(DIRECT, "worker2", 0.53, ("worker1", "worker2"))
    with pytest.raises(CheckError, match=r"relay sent 53\.0%"):
        check_share(DIRECT, "relay", 0.53, ("worker1", "worker2"))


@pytest.mark.parametrize(("found", "said"), [(1450, "1450"), (None, "unknown"), (1280, "1280")])
def test_a_pod_of_another_mtu(found: int | None, said: str) -> None:
    """1230 over a VPN, whatever else the pod has."""
    with pytest.raises(CheckError, match=f"worker1: pod MTU is {said}, wanted 1230") as caught:
        check_pod_mtu(DIRECT, "worker1", found)
    assert caught.value.stage == "mtu"
    check_pod_mtu(DIRECT, "worker1", 1230)


def test_another_overlay_beside() -> None:
    """Any foreign interface is named; none is fine."""
    with pytest.raises(CheckError, match="worker1: wt0, tailscale0 of another overlay is there") as caught:
        check_foreign("worker1", ("wt0", "tailscale0"))
    assert caught.value.stage == "foreign"
    check_foreign("worker1", ())


@pytest.mark.parametrize("place", list(Place))
def test_an_impairment_beside_the_path_is_refused(place: Place) -> None:
    """Relayed packets do not pass between the workers' VLANs: an impairment there would be proven and never met."""
    check_on_path(DIRECT, Placement(place=place))
    if place is not Place.VLAN_PAIR:
        check_on_path(RELAYED, Placement(place=place))
        return
    with pytest.raises(CheckError, match="nebula-relay: relayed packets never pass") as caught:
        check_on_path(RELAYED, Placement(place=place))
    assert caught.value.stage == "impairment"
