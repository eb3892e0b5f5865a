"""What was seen of a path and its nodes, as values; `vpnmesh.why.judge` makes findings of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from vpnmesh.model import Node, Pair, Testbed
from vpnmesh.solutions.protocol import Mesh, Solution, Status
from vpnmesh.solutions.ways import Listener, Ways
from vpnmesh.tools.ping import PingSummary


@dataclass(frozen=True, slots=True)
class DropRule:
    """A rule of a packet filter that drops or rejects: where it stands, how it reads, and what it has dropped."""

    family: str
    table: str
    chain: str
    handle: int
    text: str
    packets: int

    @property
    def place(self) -> str:
        """What makes it the same rule the next time, and how nft finds it."""
        return f"{self.family} {self.table} {self.chain} handle {self.handle}"


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: its MTU in bytes, its kind ("" for a plain one) and its addresses."""

    name: str
    mtu: int
    kind: str = ""
    addresses: tuple[IPv4Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process of the solution; `state` is a letter of proc(5), `allowed` the list of cores that it may use.

    `replaced` says that its program was removed or exchanged since it started. `quota_pct` is what its control group
    allows of one core, None for all; `group` is the folder in which that can be changed, "" where there is none.
    """

    name: str
    pid: int
    state: str
    nice: int
    allowed: str
    replaced: bool
    quota_pct: float | None = None
    group: str = ""

    @property
    def cores(self) -> int:
        """How many processors a list such as `0-3,8` names."""
        ranges = [part.partition("-") for part in self.allowed.split(",") if part]
        return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """A UDP socket of the solution: its receive buffer in bytes, and the packets that did not fit into it."""

    owner: str
    port: int
    buffer_bytes: int
    drops: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node holds at one moment.

    `offloads` are those of its interfaces, each on or off, without those that cannot be changed; `routes` say which
    interface leads to an address, `own_routes` are those of the main table to one address alone; `lost_services` are
    ours whose process is gone; `listening` are `udp 3478` and alike.
    """

    links: Mapping[str, Link] = field(default_factory=dict)
    offloads: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    rules: tuple[DropRule, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    lost_services: tuple[str, ...] = ()
    sockets: tuple[UdpSocket, ...] = ()
    listening: frozenset[str] = frozenset()
    routes: Mapping[str, str] = field(default_factory=dict)
    own_routes: tuple[str, ...] = ()
    receive_errors: int = 0
    cores: int = 1
    load: float = 0.0
    pod_mtu: int | None = None


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Seconds that a process ran, and waited for a processor, in the seconds that it was watched."""

    run_s: float
    wait_s: float
    of_s: float

    @property
    def waited(self) -> float:
        """The share of its time in which it had something to do and no processor."""
        return self.wait_s / self.of_s if self.of_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Probed:
    """What a node's probes told it.

    `mapped` is the address and port as which each other node saw it; `arrived` are the UDP ports at which the others'
    probes came by; `sizes` are the packets in bytes that got to each of them, `overlay_sizes` those that got to the
    peer through the tunnel, `told` that an ICMP message said where one was too large. `tcp` is `open` or why not,
    `stun` the answers of STUN servers, both by `address:port`. `burst` is how many packets were sent through the
    overlay, and how many came back.
    """

    mapped: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    arrived: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    overlay_sizes: tuple[int, ...] = ()
    told: bool = False
    tcp: Mapping[str, str] = field(default_factory=dict)
    stun: Mapping[str, str] = field(default_factory=dict)
    burst: tuple[int, int] | None = None
    cpu: Mapping[str, CpuUse] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PodPings:
    """What the client's pod heard of the server's: small packets, and some of its full MTU that may not be cut."""

    small: PingSummary
    full: PingSummary


@dataclass(frozen=True, slots=True)
class Observed:
    """All that was seen of one pair: states before and after the probes, what the solution says, what packets did.

    `skews_s` are the clocks ahead of this machine's, where the round trip leaves no doubt; `silent` are nodes that
    could not be asked, with the reason.
    """

    mesh: Mesh
    solution: Solution
    pair: Pair
    before: Mapping[str, NodeState]
    after: Mapping[str, NodeState]
    probed: Mapping[str, Probed]
    statuses: Mapping[str, Status]
    ways: Mapping[str, Ways] = field(default_factory=dict)
    pods: PodPings | None = None
    skews_s: Mapping[str, float] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def bed(self) -> Testbed:
        """The testbed."""
        return self.mesh.testbed

    @property
    def ends(self) -> tuple[tuple[Node, Node], tuple[Node, Node]]:
        """Client and server, and the other way round."""
        client, server = self.bed.node(self.pair.client), self.bed.node(self.pair.server)
        return (client, server), (server, client)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What both ends must reach."""
        return self.solution.listeners(self.mesh)

    def state(self, name: str) -> NodeState:
        """The later state of that node; an empty one where it could not be asked."""
        return self.after.get(name) or self.before.get(name) or NodeState()

    def answers(self, name: str) -> Probed:
        """What that node's probes told; nothing where it could not be asked."""
        return self.probed.get(name) or Probed()
