"""What must hold around every measurement, judged from what nodes said: a CheckError names the stage."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Path, Scenario
from vpnmesh.solutions.protocol import Mesh, Status, check_endpoints

RELAYED_SHARE = 0.9
"""A relayed pair's relay node must send at least this share of the pair's bytes."""
DIRECT_SHARE = 0.01
"""A direct pair's relay node may send no more than this share of them."""


def check_mesh(mesh: Mesh, statuses: Mapping[str, Status]) -> None:
    """Every member reaches every other on the scenario's path, said by both ends, with the scenario's MTU."""
    forbidden = forbidden_endpoints(mesh, statuses)
    for name, status in statuses.items():
        node = mesh.testbed.node(name)
        if mesh.scenario.tunnel_mtu is not None and status.mtu != mesh.scenario.tunnel_mtu:
            raise CheckError(
                "mtu", f"{name}: {status.interface} has {status.mtu}, wanted {mesh.scenario.tunnel_mtu}"
            )
        for other in statuses:
            if other != name:
                check_path(mesh.scenario, name, status, other)
        check_endpoints(mesh, node, status, forbidden)


def forbidden_endpoints(mesh: Mesh, statuses: Mapping[str, Status]) -> dict[str, frozenset[IPv4Address]]:
    """Addresses that no peer may be reached at, by what they are: management, and what the VPN itself gave out.

    Some solutions choose their own range, so what the members have counts, not what we would give.
    """
    given = (status for status in statuses.values() if status.data_plane is not DataPlane.NONE)
    return {
        "management network": frozenset(management_addresses(mesh)),
        "overlay": frozenset(status.address for status in given if status.address),
    }


def check_path(scenario: Scenario, name: str, status: Status, other: str) -> None:
    """That node's solution says that the other is reached on the scenario's path."""
    peer = status.peer(other)
    found = peer.path if peer else None
    if found is not scenario.path:
        raise CheckError("path", f"{name} reaches {other} {found or 'not at all'}, wanted {scenario.path}")


def check_share(scenario: Scenario, relay: str, share: float) -> None:
    """The relay node's own counters agree with the scenario's path."""
    if scenario.path is Path.RELAY and share < RELAYED_SHARE:
        raise CheckError(
            "path", f"{relay} sent {share:.1%} of the bytes, wanted at least {RELAYED_SHARE:.0%}"
        )
    if scenario.path is Path.DIRECT and share > DIRECT_SHARE:
        raise CheckError("path", f"{relay} sent {share:.1%} of the bytes, wanted at most {DIRECT_SHARE:.0%}")


def check_pod_mtu(scenario: Scenario, name: str, found: int | None) -> None:
    """The pod's interface has the scenario's MTU."""
    if found != scenario.pod_mtu:
        raise CheckError("mtu", f"{name}: pod MTU is {found or 'unknown'}, wanted {scenario.pod_mtu}")


def check_foreign(name: str, foreign: Sequence[str]) -> None:
    """No other overlay's interface is there beside the scenario's."""
    if foreign:
        raise CheckError("foreign", f"{name}: {', '.join(foreign)} of another overlay is there")


def management_addresses(mesh: Mesh) -> tuple[IPv4Address, ...]:
    """Addresses on which no VPN may be reached: nodes' management where it is not the underlay itself."""
    found = []
    for node in mesh.testbed.nodes:
        try:
            address = IPv4Address(node.management)
        except ValueError:
            continue
        if address != node.underlay:
            found.append(address)
    return tuple(found)
