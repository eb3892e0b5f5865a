"""A policy is refused where it would cut the controller off, however nodes are named in the inventory."""

import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from tasks.firewall import policy as firewall
from tasks.firewall.policy import controller_ways, refuse_to_cut
from tests.firewall.appliance import six_nodes
from vpnmesh.errors import CheckError
from vpnmesh.firewall.policy import ManagementPath, policy_named, resolve
from vpnmesh.model import Testbed

INSIDE = IPv4Address("192.88.99.11")
"""A controller in worker1's VLAN."""


def named(suffix: str) -> Testbed:
    """Six nodes that the inventory has by name."""
    bed = six_nodes()
    return replace(bed, nodes=tuple(replace(node, management=f"{node.name}{suffix}") for node in bed.nodes))


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names and their addresses, and a controller in worker1's VLAN."""
    zone = {f"{node.name}.example.net": str(node.underlay) for node in six_nodes().nodes}

    def look_up(name: str, *_: object) -> list[tuple[object, ...]]:
        if name not in zone:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (zone[name], 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(firewall, "_way_to", lambda address: ManagementPath(INSIDE, address))
    return zone


def test_nodes_by_name_are_judged_by_what_the_names_mean(dns: dict[str, str]) -> None:
    """A policy that leaves only TCP 443 cuts SSH from inside a VLAN to nodes that are managed over their underlay."""
    wanted = resolve(policy_named("tcp-443-only"), six_nodes())
    with pytest.raises(
        CheckError, match=r"cut the controller off from k8s-master, worker2, relay, hypervisor"
    ):
        refuse_to_cut(wanted, named(".example.net"))
    for node in six_nodes().nodes:
        dns[f"{node.name}.example.net"] = "203.0.113.9"
    refuse_to_cut(wanted, named(".example.net"))


def test_a_name_that_does_not_resolve_is_said(dns: dict[str, str]) -> None:
    """What cannot be judged is refused with node, name and way out, not passed over."""
    del dns["worker2.example.net"]
    wanted = resolve(policy_named("tcp-443-only"), six_nodes())
    with pytest.raises(
        CheckError, match=r"worker2: .*'worker2.example.net'.*not known.*write an IPv4 address"
    ):
        refuse_to_cut(wanted, named(".example.net"))


def test_a_policy_that_cannot_cut_needs_no_names() -> None:
    """Blocking UDP never touches SSH: nothing is resolved, so a broken DNS is no obstacle."""
    refuse_to_cut(resolve(policy_named("block-udp"), six_nodes()), named(".invalid"))


def test_names_are_really_resolved() -> None:
    """Through this machine's resolver, and the kernel says which of its addresses it would use."""
    bed, loopback = six_nodes(), IPv4Address("127.0.0.1")
    one = replace(bed.nodes[0], management="localhost")
    local = replace(bed.vlans[0], prefix=IPv4Network("127.0.0.0/8"))
    found = controller_ways(replace(bed, nodes=(one,), vlans=(local,)), "any")
    assert found == {one.name: (ManagementPath(loopback, loopback),)}


def test_management_outside_the_vlans_needs_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule can cut a way that does not end in a VLAN, so a machine without any network can plan for it."""

    def no_route(address: IPv4Address) -> ManagementPath:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(firewall, "_way_to", no_route)
    refuse_to_cut(resolve(policy_named("tcp-443-only"), six_nodes()), six_nodes())
    over = replace(
        six_nodes(), nodes=tuple(replace(n, management=str(n.underlay)) for n in six_nodes().nodes)
    )
    with pytest.raises(CheckError, match="Network is unreachable"):
        refuse_to_cut(resolve(policy_named("tcp-443-only"), six_nodes()), over)
