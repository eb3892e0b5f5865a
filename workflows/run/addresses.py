"""Nodes known by their addresses, however they are named: names are resolved once, and addresses compared."""

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from nornir.core.inventory import Host

from vpnmesh.errors import InputError
from vpnmesh.model import NodeKind, Testbed


def addresses_of(name: str) -> frozenset[str]:
    """The IPv4 addresses of a name or an address; none where it does not resolve here, as behind a jump host."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return frozenset()
    return frozenset(str(answer[4][0]) for answer in found)


def same_machines(first: Iterable[str], second: Iterable[str]) -> bool:
    """Whether any of these names, or an address that it has, is one of the others."""
    known = [{name, *addresses_of(name)} for name in first]
    others = {one for name in second for one in (name, *addresses_of(name))}
    return any(one & others for one in known)


def refuse_controller(testbed: Testbed, hosts: Mapping[str, Host]) -> None:
    """InputError for a node that is this very machine: measured, cut and torn down would be the run itself.

    A loopback address with a port of its own is forwarded and leads elsewhere; a lab's nodes are never here.
    """
    for node in testbed.nodes:
        if node.kind is NodeKind.NETNS:
            continue
        forwarded = (hosts[node.name].port or SSH_PORT) != SSH_PORT
        reached = {one for one in addresses_of(node.management) if not (forwarded and _is_loopback(one))}
        if here := sorted(filter(_is_here, {*reached, *(str(leg.address.ip) for leg in node.legs)})):
            raise InputError(
                node.name,
                f"is this machine itself: it has {here[0]}",
                "run vpnmesh from a machine that is no node of the testbed",
            )


SSH_PORT = 22


def _is_loopback(address: str) -> bool:
    return IPv4Address(address).is_loopback


def _is_here(address: str) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.bind((address, 0))
        except OSError:
            return False
    return True


def refuse_shared_addresses(testbed: Testbed) -> None:
    """InputError for two names of one machine, and for a name whose address is one that is measured."""
    measured = {str(leg.address.ip): node.name for node in testbed.nodes for leg in node.legs}
    owners: dict[str, str] = {}
    for node in testbed.nodes:
        for address in sorted(addresses_of(node.management)):
            if other := measured.get(address):
                raise InputError(
                    node.name,
                    f"its management name '{node.management}' leads to {address}, {other}'s measured address",
                    "give it an address outside the testbed's VLANs",
                )
            if (other := owners.setdefault(address, node.name)) != node.name:
                raise InputError(
                    node.name,
                    f"its management name '{node.management}' leads to {address}, as {other}'s does",
                    "one of the two is another machine: correct its hostname",
                )
