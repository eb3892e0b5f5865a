"""The embedded testbed as a value, with the addresses of inventory/lab, for tests that need no YAML."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vpnmesh.model import Leg, Node, NodeKind, Role, Testbed, Vlan

_NAMES = ("k8s-master", "worker1", "worker2", "relay", "hypervisor")
_ROLES = (Role.K8S_MASTER, Role.K8S_WORKER, Role.K8S_WORKER, Role.RELAY, Role.HYPERVISOR)


def six_nodes() -> Testbed:
    """Five nodes, each in its own /29 of 192.88.99.0/24, and the firewall with a leg in each."""
    prefixes = list(IPv4Network("192.88.99.0/24").subnets(new_prefix=29))[: len(_NAMES)]
    vlans = tuple(
        Vlan(10 * (index + 1), name, prefix, prefix[1])
        for index, (name, prefix) in enumerate(zip(_NAMES, prefixes, strict=True))
    )
    nodes = tuple(
        Node(
            name=name,
            kind=NodeKind.NETNS,
            roles=frozenset({role}),
            management=str(IPv4Address("198.18.213.11") + index),
            legs=(Leg(vlans[index].vid, "eth0", IPv4Interface(f"{prefixes[index][2]}/29")),),
            site="lab",
            management_interface="mgmt0",
        )
        for index, (name, role) in enumerate(zip(_NAMES, _ROLES, strict=True))
    )
    firewall = Node(
        name="firewall",
        kind=NodeKind.NETNS,
        roles=frozenset({Role.FIREWALL}),
        management="198.18.213.16",
        legs=tuple(Leg(vlan.vid, f"vlan{vlan.vid}", IPv4Interface(f"{vlan.gateway}/29")) for vlan in vlans),
        site="lab",
        management_interface="mgmt0",
    )
    return Testbed(
        "lab", (*nodes, firewall), vlans, IPv4Network("10.213.0.0/24"), IPv4Network("10.136.0.0/16")
    )
