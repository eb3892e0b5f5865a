"""What every VPN solution must say about itself; one module each says it.

A solution never touches a host. It joins a mesh in stages: each stage asks a node what it holds and answers
with the plan that is missing (`Fact[Plan]`), then publishes what later stages need (public keys, tokens made at
run time, relay fingerprints). That one shape carries a static WireGuard mesh as well as a control plane on the
hypervisor node, a relay on the relay node and members that a controller must authorise after they joined.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, ip_address
from types import MappingProxyType
from typing import Any, Protocol

from vpnmesh.errors import CheckError, ToolError
from vpnmesh.host.pods import CALICO_INTERFACES
from vpnmesh.model import DataPlane, Node, Path, Scenario, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Text

STATE_DIRECTORY = "/var/lib/vpnmesh"
"""Where solutions keep keys and configuration on a node; gone after leaving."""
NO_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({})
"""Of a solution where there is nothing to choose."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A scenario put on a testbed, and what its nodes have published so far."""

    testbed: Testbed
    scenario: Scenario
    published: Mapping[tuple[str, str], Text] = field(default_factory=dict)
    blacklist: tuple[str, ...] = CALICO_INTERFACES
    dry_run: bool = False

    @property
    def tunnel_mtu(self) -> int:
        """The MTU of the VPN's interface in bytes; CheckError for a scenario without a tunnel."""
        if self.scenario.tunnel_mtu is None:
            raise CheckError("mtu", f"{self.scenario.name} has no tunnel")
        return self.scenario.tunnel_mtu

    @property
    def members(self) -> tuple[Node, ...]:
        """The nodes that carry VPN clients: master and workers."""
        return self.testbed.k8s

    def peers(self, node: Node) -> tuple[Node, ...]:
        """The other members."""
        return tuple(member for member in self.members if member.name != node.name)

    def overlay(self, node: Node) -> IPv4Interface:
        """The node's address in the VPN, for solutions that take the one we choose."""
        number = [one.name for one in self.testbed.nodes].index(node.name) + 1
        return IPv4Interface((self.testbed.overlay[number], self.testbed.overlay.prefixlen))

    def blacklisted(self, node: Node) -> tuple[str, ...]:
        """Prefixes of interface names that the solution must not use on that node: Calico's and management's.

        Where the underlay's own name begins with management's (`eno1.20` on `eno1`) a prefix would keep the solution
        off both: then only what it says of its endpoints tells.
        """
        apart = node.management_interface and not node.leg.interface.startswith(node.management_interface)
        return (*self.blacklist, node.management_interface) if self.blacklist and apart else self.blacklist

    def got(self, node: str, key: str) -> Text:
        """What that node published; CheckError names both when it did not."""
        try:
            return self.published[node, key]
        except KeyError:
            if self.dry_run:
                return f"<{node}'s {key}, made when applied>"
            raise CheckError("provision", f"{node} has not published its {key}") from None

    def with_published(self, found: Mapping[tuple[str, str], Text]) -> "Mesh":
        """The same mesh, knowing more."""
        return replace(self, published={**self.published, **found})

    def seats(self, seat: "Seat") -> tuple[Node, ...]:
        """The nodes that have that part in the mesh."""
        bed = self.testbed
        places = {Seat.MEMBER: self.members, Seat.CONTROL: (bed.control_plane,), Seat.RELAY: (bed.relay,)}
        return places[seat]


def _publish_nothing(mesh: Mesh, node: Node) -> Fact[dict[str, Text]]:
    del mesh, node
    return Fact((), lambda _: {})


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of joining, run on its nodes in parallel: what they must hold, then what they tell the others."""

    name: str
    nodes: tuple[str, ...]
    hold: Callable[[Mesh, Node], Fact[Plan]]
    publish: Callable[[Mesh, Node], Fact[dict[str, Text]]] = _publish_nothing


@dataclass(frozen=True, slots=True)
class Peer:
    """How a node reaches another member: `endpoint` is the address it really sends to, None if it does not say.

    On the direct path that is the member's own address, on the relayed one the relay's; `vpnmesh.study.checks` refuses
    a path without one.
    """

    name: str
    path: Path | None
    endpoint: IPv4Address | None
    via: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What the solution itself says on one node, now."""

    data_plane: DataPlane
    interface: str
    address: IPv4Address | None
    mtu: int | None
    peers: tuple[Peer, ...] = ()

    def peer(self, name: str) -> Peer | None:
        """What is said of that member, None if nothing is."""
        return next((peer for peer in self.peers if peer.name == name), None)


class Seat(StrEnum):
    """Which part of a mesh a node has: it carries pods, steers the others, or relays for them."""

    MEMBER = "member"
    CONTROL = "control"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Binary:
    """A program that a solution needs at a seat, and the Debian package that brings it ("" if none does)."""

    name: str
    package: str = ""
    version: tuple[str, ...] = ()
    at: Seat = Seat.MEMBER


def checksum(name: str) -> tuple[str, ...]:
    """What tells one build from another where a program prints no version: its SHA-256."""
    return ("sh", "-c", 'sha256sum "$(command -v "$1")"', "sh", name)


class Solution(Protocol):
    """A VPN (or none) that can carry the pod network."""

    @property
    def name(self) -> str:
        """The slug in scenarios, files and columns."""
        ...

    @property
    def binaries(self) -> tuple[Binary, ...]:
        """What must be installed on the nodes before anything is touched."""
        ...

    @property
    def processes(self) -> tuple[str, ...]:
        """The names (comm) of the processes that carry or steer the data plane; none for the kernel's."""
        ...

    @property
    def traces(self) -> tuple[str, ...]:
        """Interface names that must be gone after leaving, and that may not stand beside another solution's."""
        ...

    @property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """What a scenario's `options` may say: for each option its values; empty where there is nothing to choose."""
        ...

    @property
    def fallback_s(self) -> float | None:
        """How long a direct mesh may take to its relay once UDP is blocked; None if it has none to go to."""
        ...

    def refuse(self, mesh: Mesh) -> str:
        """Why this mesh cannot be built whatever is installed, with the way out; "" when it can."""
        ...

    def stages(self, mesh: Mesh) -> tuple[Stage, ...]:
        """How nodes join, in order; empty when there is nothing to join."""
        ...

    def leave(self, mesh: Mesh, node: Node) -> Fact[Plan]:
        """Have nothing of this solution on the node: no process, interface, key, file or rule."""
        ...

    def blacklist(self, mesh: Mesh, node: Node) -> Fact[Plan] | None:
        """Have the mesh's blacklisted interfaces never taken for a way to a peer; None where peers are static."""
        ...

    def status(self, mesh: Mesh, node: Node) -> Fact[Status]:
        """What the solution says of itself and its peers on this node."""
        ...


def interface_fact(name: str) -> Fact[tuple[DataPlane, IPv4Address | None, int | None]]:
    """Data plane, address and MTU of a tunnel interface, read from the kernel (`ip -j -d address`)."""

    def parse(completed: Sequence[Completed]) -> tuple[DataPlane, IPv4Address | None, int | None]:
        text = completed[0].stdout
        if completed[0].exit_code or not text.strip():
            return DataPlane.NONE, None, None
        try:
            links = [link for link in json.loads(text) if link]
            return _link(links[0]) if links else (DataPlane.NONE, None, None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # an interface that cannot be read is not one that is not there
            raise ToolError("ip", f"{name}: {text.strip()[:80]!r} is no interface: {error}") from error

    return Fact((Command(("ip", "-j", "-d", "address", "show", "dev", name), ok=(0, 1)),), parse)


def _link(link: Mapping[str, Any]) -> tuple[DataPlane, IPv4Address | None, int]:
    kind = link.get("linkinfo", {}).get("info_kind")
    addresses = [one["local"] for one in link.get("addr_info", []) if one.get("family") == "inet"]
    plane = DataPlane.KERNEL if kind == "wireguard" else DataPlane.USERSPACE
    return plane, IPv4Address(addresses[0]) if addresses else None, int(link["mtu"])


def endpoint_address(endpoint: str) -> IPv4Address | None:
    """The IPv4 address of `address:port` or `address`, mapped into IPv6 or not; None for IPv6 and for what is none."""
    host = endpoint.removeprefix("[").partition("]")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return _ipv4(host.partition(":")[0])
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped


def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None
