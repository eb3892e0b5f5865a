"""The testbed and the study as typed, frozen records.

A `Testbed` is the machines and networks (nodes, roles, VLANs). A `Scenario` is what is deployed on them: a VPN
solution, the path that its packets must take, the pod MTU and the firewall policy. A `Condition` is the loss and delay
that are added, a `Placement` where. A `Cell` is what is measured: one test between one pair of nodes, of one scenario
under one condition. docs/words.md explains these and all other terms.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vpnmesh import condition
from vpnmesh.errors import InputError


class NodeKind(StrEnum):
    """What a node runs on. Forwarding on a VM is no bare-metal result (paper, section 3.3)."""

    METAL = "metal"
    VM = "vm"
    NETNS = "netns"


class Role(StrEnum):
    """What a node is for; the values are the slugs that NetBox users see."""

    K8S_MASTER = "k8s-master"
    K8S_WORKER = "k8s-worker"
    RELAY = "relay"
    FIREWALL = "firewall"
    HYPERVISOR = "hypervisor"
    CONTROL_PLANE = "control_plane"


K8S_ROLES = frozenset({Role.K8S_MASTER, Role.K8S_WORKER})
FORWARDING_ROLES = frozenset({Role.K8S_WORKER, Role.RELAY, Role.FIREWALL})


LAST_VID = 4094
"""The last id that a VLAN may have; the first is 1 (IEEE 802.1Q)."""


@dataclass(frozen=True, slots=True)
class Vlan:
    """One broadcast domain of the underlay; `gateway` is the firewall's address in it."""

    vid: int
    name: str
    prefix: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Leg:
    """A node's port in a VLAN: the interface as the node names it, and its underlay address."""

    vid: int
    interface: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the testbed; only the firewall has more than one leg.

    `cores` and `link_mbit_s` are what it has for itself (the firewall's: for all members together), None where the
    inventory does not say: they decide how many pairs are measured at once.
    """

    name: str
    kind: NodeKind
    roles: frozenset[Role]
    management: str
    legs: tuple[Leg, ...]
    site: str = ""
    management_interface: str = ""
    cores: int | None = None
    link_mbit_s: float | None = None

    @property
    def leg(self) -> Leg:
        """The one leg of a node that is not the firewall."""
        return self.legs[0]

    @property
    def underlay(self) -> IPv4Address:
        """The address that VPN peers and native Kubernetes use to reach this node."""
        return self.legs[0].address.ip


@dataclass(frozen=True, slots=True)
class Testbed:
    """The machines and networks of a study, validated once; built by `inventory.load` from YAML or NetBox.

    `dns_servers` and `ntp_servers` stay reachable under every firewall policy.
    """

    # the name is the study's word; keeps pytest from collecting it as a test class
    __test__ = False

    name: str
    nodes: tuple[Node, ...]
    vlans: tuple[Vlan, ...]
    overlay: IPv4Network
    pods: IPv4Network
    allow_virtual_forwarding: bool = False
    dns_servers: tuple[IPv4Address, ...] = ()
    ntp_servers: tuple[IPv4Address, ...] = ()

    def node(self, name: str) -> Node:
        """The node called `name`; KeyError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def vlan(self, vid: int) -> Vlan:
        """The VLAN with that id; KeyError if there is none."""
        for vlan in self.vlans:
            if vlan.vid == vid:
                return vlan
        raise KeyError(vid)

    def with_role(self, *roles: Role) -> tuple[Node, ...]:
        """The nodes that have any of the roles, in inventory order."""
        return tuple(node for node in self.nodes if node.roles & set(roles))

    @property
    def master(self) -> Node:
        """The one Kubernetes master."""
        return self.with_role(Role.K8S_MASTER)[0]

    @property
    def workers(self) -> tuple[Node, ...]:
        """The workers; the first is the client of every measurement, the second its server."""
        return self.with_role(Role.K8S_WORKER)

    @property
    def k8s(self) -> tuple[Node, ...]:
        """Master and workers: the nodes that carry pods and VPN clients."""
        return self.with_role(*K8S_ROLES)

    @property
    def relay(self) -> Node:
        """The one node that relays run on."""
        return self.with_role(Role.RELAY)[0]

    @property
    def firewall(self) -> Node:
        """The one node that routes between the VLANs."""
        return self.with_role(Role.FIREWALL)[0]

    @property
    def control_plane(self) -> Node:
        """Where control planes run: the node with that role, else the hypervisor."""
        return (self.with_role(Role.CONTROL_PLANE) or self.with_role(Role.HYPERVISOR))[0]

    @property
    def client(self) -> Node:
        """The worker that every throughput test starts from."""
        return self.workers[0]

    @property
    def server(self) -> Node:
        """The worker that answers every throughput test."""
        return self.workers[1]

    @property
    def pairs(self) -> tuple["Pair", ...]:
        """The pairs that are measured: client and server always sit on the same two workers (section 3.3)."""
        return (Pair(self.client.name, self.server.name),)


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Who asks and who answers, by node name; written `CLIENT>SERVER`."""

    client: str
    server: str

    def __str__(self) -> str:
        return f"{self.client}>{self.server}"

    @classmethod
    def parse(cls, text: str) -> "Pair":
        """Read `CLIENT>SERVER`; InputError if it is not that."""
        client, _, server = text.partition(">")
        if not client or not server:
            raise InputError("pair", f"'{text}' is not CLIENT>SERVER", "write for example 'worker1>worker2'")
        return cls(client, server)


class Path(StrEnum):
    """How packets get from node to node: by themselves, or through the relay node."""

    DIRECT = "direct"
    RELAY = "relay"


class DataPlane(StrEnum):
    """Who encrypts: the kernel, a process, or nobody (native)."""

    NONE = "none"
    KERNEL = "kernel"
    USERSPACE = "userspace"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Solution + path + pod MTU + firewall policy, e.g. `headscale-relay` (paper, section 3.3). MTUs in bytes.

    `options` are the solution's own; `environment` is that of its daemons; `version`, if any, is what its program
    must say of itself, and `program_folder` where nodes look for its programs first. `variant_of` names the scenario
    that a report sets it beside; `paper` says that the paper measured it.
    """

    name: str
    solution: str
    path: Path
    pod_mtu: int
    tunnel_mtu: int | None
    policy: str
    data_path: str = ""
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    version: str = ""
    program_folder: str = ""
    variant_of: str = ""
    paper: bool = False


Condition = condition.Condition
PAPER_CONDITIONS = condition.PAPER_CONDITIONS


class Place(StrEnum):
    """Where packets are impaired: below the VPN, inside it, at the pod, or at the firewall between two VLANs."""

    UNDERLAY = "underlay"
    VXLAN = "vxlan"
    POD = "pod"
    VLAN_PAIR = "vlan-pair"


class End(StrEnum):
    """Whose egress is impaired."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Placement:
    """Place and end of an impairment, and the queue that delays it (`limit` in packets, None = auto)."""

    place: Place = Place.UNDERLAY
    end: End = End.CLIENT
    limit: int | None = None

    def __str__(self) -> str:
        """As `--placement` takes it, e.g. `underlay:client:auto`."""
        return f"{self.place}:{self.end}:{'auto' if self.limit is None else self.limit}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One question: scenario x condition x test x pair; `test` is the name of a measurement."""

    scenario: str
    condition: str
    test: str
    pair: Pair

    @property
    def key(self) -> str:
        """The cell as one string, for file names and progress."""
        return f"{self.scenario}/{self.condition}/{self.test}/{self.pair}"


def first_duplicate(values: Iterable[object]) -> object | None:
    """The first value that was already there, or None."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
