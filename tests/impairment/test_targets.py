"""Placements become devices, directions and prefixes on the right node."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from vpnmesh.impairment.engine import every_target
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.impairment.targets import Direction, Target, device_targets, hook_targets
from vpnmesh.model import End, Pair, Place, Placement, Testbed

PAIR = Pair("worker1", "worker2")
WORKER1, WORKER2 = IPv4Network("192.88.99.8/29"), IPv4Network("192.88.99.16/29")
INGRESS = Direction.INGRESS
TESTBED = (IPv4Network("192.88.99.0/27"), IPv4Network("192.88.99.32/29"))


@pytest.mark.parametrize(
    ("place", "device", "hook"),
    [
        (
            Place.UNDERLAY,
            Target("worker1", "underlay-client", "eth0"),
            Target("firewall", "underlay-client", "vlan20", INGRESS),
        ),
        (
            Place.VXLAN,
            Target("worker1", "vxlan-client", "vxlan.calico"),
            Target("worker1", "vxlan-client", "vxlan.calico"),
        ),
        (
            Place.POD,
            Target("worker1", "pod-client", "eth0", netns="vpnmesh-pod"),
            Target("worker1", "pod-client", "cali0", INGRESS),
        ),
        (
            Place.VLAN_PAIR,
            Target("firewall", "vlan-pair-client", "vlan30", Direction.EGRESS, (WORKER1,), (WORKER2,)),
            Target("firewall", "vlan-pair-client", "vlan20", INGRESS, (WORKER1,), (WORKER2,)),
        ),
    ],
)
def test_the_clients_egress(bed: Testbed, place: Place, device: Target, hook: Target) -> None:
    """Each place is the egress of the client, seen by netem on a device and by NFQUEUE in the IP layer."""
    placement = Placement(place)
    assert device_targets(bed, PAIR, placement) == (device,)
    assert hook_targets(bed, PAIR, placement) == (hook,)


def test_the_server_end_is_the_mirror_image(bed: Testbed) -> None:
    """The server's egress is caught at its own port, and between VLANs the prefixes change places."""
    placement = Placement(Place.VLAN_PAIR, End.SERVER)
    expected = Target("firewall", "vlan-pair-server", "vlan30", INGRESS, (WORKER2,), (WORKER1,), slot=1)
    assert hook_targets(bed, PAIR, placement) == (expected,)


@pytest.mark.parametrize("place", list(Place))
def test_both_ends_are_the_two_ends(bed: Testbed, place: Place) -> None:
    """Both ends are client and server, told apart by slot, so that they can stand on one node."""
    for engine in (NetemEngine(), NfqueueEngine("/bin/false")):
        both = engine.targets(bed, PAIR, Placement(place, End.BOTH))
        ends = [engine.targets(bed, PAIR, Placement(place, end)) for end in (End.CLIENT, End.SERVER)]
        assert both == ends[0] + ends[1]
        assert [target.slot for target in both] == [0, 1]


def test_beside_management_only_the_testbeds_prefixes(bed: Testbed) -> None:
    """On a NIC shared with management only packets to the testbed's VLANs are impaired."""
    shared = tuple(replace(node, management_interface="eth0") for node in bed.nodes)
    testbed = replace(bed, nodes=shared)
    for found in (device_targets(testbed, PAIR, Placement()), hook_targets(testbed, PAIR, Placement())):
        assert [target.destinations for target in found] == [TESTBED]


def test_every_target_is_all_places_and_ends(bed: Testbed) -> None:
    """Teardown knows eight targets, no two of one name on one node."""
    found = every_target(NetemEngine(), bed, PAIR)
    assert len({(target.node, target.name) for target in found}) == 8
