"""What must hold around every measurement, judged from what nodes said: a CheckError names the stage."""

from collections.abc import Collection, Mapping, Sequence

from vpnmesh.errors import CheckError
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.host.dual_stack import Address
from vpnmesh.model import Path, Place, Placement, Scenario, Testbed
from vpnmesh.solutions.protocol import Mesh, Peer, Status

RELAYED_SHARE = 0.9
"""A relayed pair's relay node must send at least this share of the pair's bytes."""
DIRECT_SHARE = 0.01
"""A direct pair's relay node may send no more than this share of them."""


def check_mesh(mesh: Mesh, statuses: Mapping[str, Status]) -> None:
    """Every member reaches every other on the scenario's path, said by both ends, with the scenario's MTU."""
    for name, status in statuses.items():
        if mesh.scenario.tunnel_mtu is not None and status.mtu != mesh.scenario.tunnel_mtu:
            raise CheckError(
                "mtu", f"{name}: {status.interface} has {status.mtu}, wanted {mesh.scenario.tunnel_mtu}"
            )
        for other in statuses:
            if other != name:
                check_path(mesh.scenario, name, status, other)
        check_endpoints(mesh, name, status)


def check_path(scenario: Scenario, name: str, status: Status, other: str) -> None:
    """That node's solution says that the other is reached on the scenario's path."""
    peer = status.peer(other)
    found = peer.path if peer else None
    if found is not scenario.path:
        way = f" ({peer.via})" if peer and peer.via else ""
        raise CheckError(
            "path", f"{name} reaches {other} {found or 'not at all'}{way}, wanted {scenario.path}"
        )


def check_endpoints(mesh: Mesh, name: str, status: Status) -> None:
    """Raise CheckError unless every peer with a path is reached at its underlay address, or at the relay's.

    Whatever else it may be (the management network, another port, a pod: the circular dependency of section
    3.2.3), no impairment and no firewall rule of the study is there. So only what is right is named, and no list
    of what is wrong has to be complete. A peer without path and endpoint carries nothing: `check_path` judges it.
    """
    for peer in status.peers:
        if peer.path is None and peer.endpoint is None:
            continue
        right = right_endpoints(mesh, name, peer)
        wanted = " or ".join(str(address) for address in right)
        if peer.endpoint is None:
            words = f"{peer.path}{f' ({peer.via})' if peer.via else ''} and does not say at which address"
            raise CheckError("endpoint", f"{name} reaches {peer.name} {words}, wanted {wanted}")
        if peer.endpoint not in right:
            place = _place(mesh.testbed, peer.endpoint)
            raise CheckError(
                "endpoint", f"{name} reaches {peer.name} at {peer.endpoint}, {place}, wanted {wanted}"
            )


def seen_path(mesh: Mesh, name: str, status: Status, other: str) -> Path | None:
    """The path on which that node reaches the other, None where the endpoint is not that path's."""
    peer = status.peer(other)
    if peer is None or peer.endpoint not in right_endpoints(mesh, name, peer):
        return None
    return peer.path


def right_endpoints(mesh: Mesh, name: str, peer: Peer) -> tuple[Address, ...]:
    """Where a peer may be reached on its path: its own underlay address, or the relay's.

    Behind a NAT of the firewall's it is the firewall's address in the asking node's VLAN that shows.
    """
    bed = mesh.testbed
    behind = {
        Path.DIRECT: (bed.node(peer.name),),
        Path.RELAY: (bed.relay,),
        None: (bed.node(peer.name), bed.relay),
    }[peer.path]
    hidden = {one.vid for one in resolve(policy_named(mesh.scenario.policy), bed).translations}
    vid = bed.node(name).leg.vid
    outside: list[Address] = [leg.address.ip for leg in bed.firewall.legs if leg.vid == vid]
    found = [address for node in behind for address in mesh.addresses(node)]
    found += outside if any(node.leg.vid in hidden for node in behind) else []
    found += [mesh.shown[node.name] for node in behind if node.name in mesh.shown]
    return tuple(dict.fromkeys(found))


def _place(bed: Testbed, address: Address) -> str:
    """What an address is that no peer should be reached at, as far as the inventory knows."""
    networks = {"in the pod network": bed.pods, "in the overlay": bed.overlay}
    places = [words for words, prefix in networks.items() if address in prefix]
    places += [f"{node.name}'s underlay address" for node in bed.nodes if address == node.underlay]
    places += [f"{node.name}'s management address" for node in bed.nodes if str(address) == node.management]
    return (*places, "no underlay address of this testbed")[0]


def check_share(scenario: Scenario, relay: str, share: float, ends: Collection[str] = ()) -> None:
    """The relay node's own counters agree with the scenario's path.

    Where the relay is one of the `ends` it sends its half of everything, so its counters tell nothing of a direct path.
    """
    if scenario.path is Path.RELAY and share < RELAYED_SHARE:
        raise CheckError(
            "path", f"{relay} sent {share:.1%} of the bytes, wanted at least {RELAYED_SHARE:.0%}"
        )
    if scenario.path is Path.DIRECT and relay not in ends and share > DIRECT_SHARE:
        raise CheckError("path", f"{relay} sent {share:.1%} of the bytes, wanted at most {DIRECT_SHARE:.0%}")


def check_pod_mtu(scenario: Scenario, name: str, found: int | None) -> None:
    """The pod's interface has the scenario's MTU."""
    if found != scenario.pod_mtu:
        raise CheckError("mtu", f"{name}: pod MTU is {found or 'unknown'}, wanted {scenario.pod_mtu}")


def check_foreign(name: str, foreign: Sequence[str]) -> None:
    """No other overlay's interface is there beside the scenario's."""
    if foreign:
        raise CheckError("foreign", f"{name}: {', '.join(foreign)} of another overlay is there")


def check_on_path(scenario: Scenario, placement: Placement) -> None:
    """Packets on the scenario's path pass the place of the impairment; its burst, sent below the VPN, cannot tell.

    Between two VLANs only packets from node to node pass; relayed ones go to the relay's VLAN and come from there.
    """
    if placement.place is Place.VLAN_PAIR and scenario.path is Path.RELAY:
        raise CheckError(
            "impairment",
            f"{scenario.name}: relayed packets never pass between the two workers' VLANs, so {placement.place} would"
            " impair none of them; place it at underlay, vxlan or pod",
        )
