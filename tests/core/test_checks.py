"""Every check of an honest measurement refuses what is wrong, under the stage that rows are filed under."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from vpnmesh.checks import (
    check_foreign,
    check_mesh,
    check_path,
    check_pod_mtu,
    check_share,
    forbidden_endpoints,
    management_addresses,
)
from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Path, Scenario, Testbed
from vpnmesh.scenarios import scenario_named
from vpnmesh.solutions.protocol import Mesh, Peer, Status, check_endpoints

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
        ("10.136.0.65", "pod network"),
        ("10.213.0.2", "overlay"),
        ("198.18.213.13", "management network"),
        ("100.64.0.7", "overlay"),
    ],
)
def test_an_endpoint_where_none_may_be(bed: Testbed, endpoint: str, place: str) -> None:
    """Pods, overlays (ours or the VPN's own choice) and management are no ways to a peer (section 3.2.3)."""
    mesh = Mesh(bed, DIRECT)
    said = changed(mesh, "worker1", "worker2", endpoint=IPv4Address(endpoint))
    said["k8s-master"] = replace(said["k8s-master"], address=IPv4Address("100.64.0.7"))
    with pytest.raises(CheckError, match=f"worker1 reaches worker2 at {endpoint}, in the {place}") as caught:
        check_mesh(mesh, said)
    assert caught.value.stage == "endpoint"


def test_an_unknown_endpoint_is_not_judged(bed: Testbed) -> None:
    """A solution may not say where a relayed peer is."""
    mesh = Mesh(bed, RELAYED)
    check_mesh(mesh, changed(mesh, "worker1", "worker2", endpoint=None))


def test_native_addresses_are_no_overlay(bed: Testbed) -> None:
    """Without a VPN the members' addresses are the underlay itself, and may be endpoints."""
    mesh = Mesh(bed, scenario_named("native-1450"))
    said = {node.name: Status(DataPlane.NONE, "eth0", node.underlay, None, ()) for node in mesh.members}
    assert forbidden_endpoints(mesh, said)["overlay"] == frozenset()
    peers = tuple(Peer(peer.name, Path.DIRECT, peer.underlay) for peer in mesh.peers(bed.client))
    status = replace(said["worker1"], peers=peers)
    check_endpoints(mesh, bed.client, status, forbidden_endpoints(mesh, said))


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


def test_management_addresses_are_those_apart_from_the_underlay(bed: Testbed) -> None:
    """A node managed over its underlay, or by name, forbids nothing."""
    mesh = Mesh(bed, DIRECT)
    assert [IPv4Address(node.management) for node in bed.nodes] == list(management_addresses(mesh))
    one, two, *rest = bed.nodes
    odd = replace(
        bed,
        nodes=(replace(one, management=str(one.underlay)), replace(two, management="host.example"), *rest),
    )
    wanted = [IPv4Address(node.management) for node in rest]
    assert wanted == list(management_addresses(Mesh(odd, DIRECT)))
