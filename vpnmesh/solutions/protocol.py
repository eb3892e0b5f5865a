"""What a VPN solution tells the rest of the project; one module per VPN defines it as `SOLUTION`.

A solution never touches a host. It joins a mesh in stages: each stage asks a node for its state and answers with
the plan that is missing (`Fact[Plan]`), then publishes what later stages need (public keys, tokens made at run
time, relay fingerprints). The same stages serve a static full mesh without any server, a control plane on the
hypervisor node, a relay on the relay node, and members that a controller must authorise after they joined.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from types import MappingProxyType

from vpnmesh import stages
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.host import dual_stack
from vpnmesh.host.dual_stack import IPV4_ALONE, Address, Families
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.links import Tunnel, any_endpoint_address, endpoint_address, interface_fact
from vpnmesh.host.pods import CALICO_INTERFACES, UNTUNED
from vpnmesh.host.tuning import Tuning
from vpnmesh.model import DataPlane, Node, Path, Scenario, Testbed
from vpnmesh.plan import Fact, Plan, Text, both
from vpnmesh.solutions.control import Access, Gateway, SecondMesh
from vpnmesh.solutions.stack import Stack
from vpnmesh.solutions.ways import Listener, Ways

STATE_DIRECTORY = "/var/lib/vpnmesh"
"""Where solutions keep keys and configuration on a node; removed when the node leaves."""
NOTHING_LACKS: Mapping[str, str] = MappingProxyType({})
"""Of a solution that has all that can be asked of one."""
NO_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({})
"""Of a solution where there is nothing to choose."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A scenario on a testbed, and what its nodes have published so far.

    `shown` is the address by which others see a node that is behind a NAT router of ours. `families` are those of
    nodes' underlay addresses where the testbed has IPv6 for a while; empty where it is IPv4 alone.
    """

    testbed: Testbed
    scenario: Scenario
    published: Mapping[tuple[str, str], Text] = field(default_factory=dict)
    blacklist: tuple[str, ...] = CALICO_INTERFACES
    dry_run: bool = False
    shown: Mapping[str, Address] = field(default_factory=dict)
    families: Mapping[str, Families] = field(default_factory=dict)

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

    def families_of(self, node: Node) -> Families:
        """The families of the node's underlay addresses."""
        return self.families.get(node.name, IPV4_ALONE)

    def addresses(self, node: Node) -> tuple[Address, ...]:
        """All underlay addresses of the node, by which others may reach it."""
        return dual_stack.addresses(self.testbed, node, self.families_of(node))

    def reached(self, node: Node, by: Node) -> Address | None:
        """The underlay address at which the other reaches the node; None where they have no family in common.

        IPv6 where both have it, as RFC 6724 prefers it.
        """
        common = self.families_of(node) & self.families_of(by)
        return next(iter(dual_stack.addresses(self.testbed, node, common)), None)

    def server(self, node: Node, *clients: Node) -> Address:
        """The one address of a server that these nodes reach, all members where none is named.

        UnavailableError where they have no family in common: a product that tells all clients the same address then
        cannot serve them.
        """
        clients = clients or self.members
        common = frozenset.intersection(*map(self.families_of, (node, *clients)))
        for address in dual_stack.addresses(self.testbed, node, common):
            return address
        odd = ", ".join(
            f"{one.name} has {' and '.join(map(str, sorted(self.families_of(one))))}" for one in clients
        )
        raise UnavailableError(f"no address of {node.name} is in reach of all who need it: {odd}")

    def known_as(self, node: Node) -> Address | str:
        """By what all members find a server: the address that all reach, or its name where there is none."""
        try:
            return self.server(node)
        except UnavailableError:
            return dual_stack.name_of(node)

    def endpoint(self, text: str) -> Address | None:
        """Which address an endpoint of a peer is; None where it is none, or of a family that this underlay lacks.

        Of one that is told by a node's name, the first address of that node.
        """
        for node in self.testbed.nodes if self.families else ():
            if text.partition(":")[0] == dual_stack.name_of(node):
                return self.addresses(node)[0]
        return any_endpoint_address(text) if self.families else endpoint_address(text)

    def blacklisted(self, node: Node) -> tuple[str, ...]:
        """Prefixes of interface names that the solution must not use on that node: Calico's and management's.

        Where the underlay's own name begins with management's (`eno1.20` on `eno1`) a prefix would exclude both, so
        management is left out and only the endpoints show whether it was used.
        """
        apart = node.management_interface and not node.leg.interface.startswith(node.management_interface)
        return (*self.blacklist, node.management_interface) if self.blacklist and apart else self.blacklist

    def published_by(self, node: str, key: str) -> Text:
        """What that node published; CheckError names both when it did not."""
        return stages.published_by(self.published, node, key, stage="provision", dry_run=self.dry_run)

    def with_published(self, found: Mapping[tuple[str, str], Text]) -> "Mesh":
        """The same mesh with these values published as well."""
        return replace(self, published={**self.published, **found})

    def nodes_in(self, role: "MeshRole") -> tuple[Node, ...]:
        """The nodes of that role."""
        bed = self.testbed
        places = {
            MeshRole.MEMBER: self.members,
            MeshRole.CONTROL: (bed.control_plane,),
            MeshRole.RELAY: (bed.relay,),
        }
        return places[role]


Stage = stages.Stage[Mesh]
"""One step of joining a mesh."""


@dataclass(frozen=True, slots=True)
class Peer:
    """How a node reaches another member: `endpoint` is the address it really sends to, None if it is not known.

    On the direct path that is the member's own address, on the relayed one the relay's; `vpnmesh.study.checks` refuses
    a path without one. As long as a member is not `known`, a packet to it has nowhere to go.
    """

    name: str
    path: Path | None
    endpoint: Address | None
    via: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Status:
    """What the solution itself reports on one node, now; `mtu` is the tunnel's, in bytes."""

    data_plane: DataPlane
    interface: str
    address: IPv4Address | None
    mtu: int | None
    peers: tuple[Peer, ...] = ()

    def peer(self, name: str) -> Peer | None:
        """What is reported of that member, None if nothing is."""
        return next((peer for peer in self.peers if peer.name == name), None)


class MeshRole(StrEnum):
    """What a node does in a mesh: it carries pods, runs the control plane, or relays for the others."""

    MEMBER = "member"
    CONTROL = "control"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Binary:
    """A program that the nodes of a role need.

    `package` is the Debian package that brings it ("" if none does), `version` the command that prints its version.
    A node whose kernel makes links of the kind `or_link` does without it ("" where nothing stands in).
    """

    name: str
    package: str = ""
    version: tuple[str, ...] = ()
    at: MeshRole = MeshRole.MEMBER
    or_link: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a key is taken back: stages that make one and take it back; they publish it as `key`, as the valid one is.

    A member that joins with that value in the place of the valid one must be refused. Where a member's key is what it
    publishes itself, as an identity is, the stages only take that back. `joins` is the stage of joining that uses the
    key; the last one where none is named.
    """

    key: str
    stages: tuple[Stage, ...]
    joins: str = ""


def checksum(name: str) -> tuple[str, ...]:
    """The `version` of a program that prints none: its SHA-256, which tells one build from another."""
    return ("sh", "-c", 'sha256sum "$(command -v "$1")"', "sh", name)


class Solution(ABC):
    """A VPN (or none) that can carry the pod network; a module states only what differs from the defaults here."""

    name: str
    """The slug in scenarios, files and columns."""
    binaries: tuple[Binary, ...] = ()
    """What must be installed on the nodes before anything is changed."""
    processes: tuple[str, ...] = ()
    """The names (comm, at most 15 characters) of the processes that carry or control the data plane; none for the
    kernel's."""
    interfaces: tuple[str, ...] = ()
    """Interface names that must be gone after leaving, and that may not be up beside another solution's."""
    kernel_links: tuple[str, ...] = ()
    """The kinds of links (`vpnmesh.host.links`) by which the kernel itself carries the data."""
    is_vpn: bool = True
    """Whether it is a VPN at all; a baseline without one is neither ranked nor advised."""
    options: Mapping[str, tuple[str, ...]] = NO_OPTIONS
    """What a scenario's `options` may say: for each option its values; empty where there is nothing to choose."""
    ready_s: float = 60.0
    """Seconds that members may take, once started, until each reaches every other on the scenario's path."""
    fallback_s: float | None = None
    """Seconds that a direct mesh may take to reach its relay once UDP is blocked; None if it has no relay to go to."""
    late_relay_s: float = 0.0
    """Seconds that a member behind which no UDP passes may take to use its relay, where that is no matter of a few."""
    host_folders: tuple[str, ...] = ()
    """Folders of the machine's own installation, apart from /etc/NAME; every node of a lab sees them empty."""
    secret_shapes: tuple[str, ...] = ()
    """Regular expressions of private keys and tokens that may be in a log though no stage publishes them.

    All that is kept of a run is searched for them: one that begins with letters, not with `\\b`, costs next to nothing.
    """
    foreign: Foreign | None = None
    """What an installation of the same product looks like that is not ours: none of it is ever touched."""
    colour: str = ""
    """Of its figures, as `#rrggbb` with a contrast of 3:1 on white and on the dark page; "" leaves the choice."""
    marker: str = ""
    """Of its figures, as matplotlib names markers; "" leaves the choice."""
    own_ranges: tuple[IPv4Network, ...] = ()
    """Addresses that only its meshes have, beside the testbed's overlay: a packet to one is for nobody outside."""
    lacks: Mapping[str, str] = NOTHING_LACKS
    """What it has nothing of that a live check needs, by the check, and why (docs/criteria.md)."""
    member_of_two: bool = False
    """Whether one member can be in two meshes of its control plane at once."""
    parted_by: str = "by rules between groups of one mesh; meshes of their own, if it has any, were not tried"
    """How the live check of isolated meshes parts members, as it is told beside what was seen."""
    statements: str = ""
    """What is known of it for the criteria of Table 1, as the text of a YAML file (docs/criteria.md); "" where the
    file ships with the project, or where nobody has judged it."""

    def unbuildable_reason(self, _mesh: Mesh, /) -> str:
        """Why this mesh cannot be built whatever is installed, with the way out; "" when it can."""
        return ""

    def needed(self, _scenario: Scenario, /) -> tuple[Binary, ...]:
        """The programs that this scenario needs: those of every scenario, and what only this one has on a node."""
        return self.binaries

    def tuning(self, _scenario: Scenario, /) -> Tuning:
        """What the pods' TCP is given beside the defaults; a VPN's pods are left as they are."""
        return UNTUNED

    def stack(self, _scenario: Scenario, /) -> Stack:
        """What of the nodes' network stack it uses below the pods' packets; each module says its own, with source."""
        return Stack()

    @abstractmethod
    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """How nodes join, in order; empty when there is nothing to join."""

    @abstractmethod
    def leave(self, mesh: Mesh, node: Node, /) -> Fact[Plan]:
        """Remove everything of this solution from the node: processes, interfaces, keys, files, rules."""

    def blacklist(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan] | None:
        """Keep the solution from using the mesh's blacklisted interfaces; None where it has no such setting."""
        return None

    def data_port(self, _mesh: Mesh, /) -> int | None:
        """The UDP port at which every member takes packets of the others; None where there is none, or no fixed one."""
        return None

    def listeners(self, _mesh: Mesh, /) -> tuple[Listener, ...]:
        """What members must reach beside each other: relays, STUN, the control plane."""
        return ()

    def ways(self, _mesh: Mesh, _node: Node, _peer: Node, /) -> Fact[Ways] | None:
        """Which addresses of that peer the node's daemon knows, and which it uses; None where nothing tells."""
        return None

    def identity(self, _mesh: Mesh, _node: Node, /) -> Fact[dict[str, Text]]:
        """What tells the member from others in a status, read again from a node of a mesh that stands."""
        return Fact((), lambda _: {})

    @abstractmethod
    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """What the solution reports of itself and its peers on this node."""

    def refusal(self, _mesh: Mesh, _member: str, /) -> Refusal | None:
        """How a key by which that member would join is taken back; None where there is none."""
        return None

    def access(self, _mesh: Mesh, _access: Access | None, /) -> tuple[Stage, ...]:
        """How a running mesh is told who may send what to whom; None puts the scenario's own rules back."""
        return ()

    def second_mesh(self, _mesh: Mesh, _second: SecondMesh | None, /) -> tuple[Stage, ...]:
        """How members are put into a second mesh of the same control plane; None has all in the first one again.

        Nothing where groups of members are told apart by rules alone.
        """
        return ()

    def in_second(self, mesh: Mesh, node: Node, /) -> tuple[str, IPv4Address]:
        """A member's interface and address in the second mesh; those that it has where both meshes share them."""
        return self.interfaces[0], mesh.overlay(node).ip

    def gateway(self, _mesh: Mesh, _gateway: Gateway, /) -> tuple[Stage, ...]:
        """How a member of a running mesh is made the way to a network behind it."""
        return ()

    def reported(self, peers: Fact[tuple[Peer, ...]]) -> Fact[Status]:
        """A status of these peers, with data plane, address and MTU read from the (first) interface."""
        interface = self.interfaces[0]

        def status(found: tuple[tuple[Peer, ...], Tunnel]) -> Status:
            there, tunnel = found
            plane, address, mtu = tunnel
            return Status(plane, interface, address, mtu, there)

        return both(peers, interface_fact(interface, self.kernel_links)).map(status)
