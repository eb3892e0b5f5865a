"""What the firewall does to packets between VLANs, as data that any driver can render (paper, section 3.3).

A `Policy` speaks of roles; `resolve` fills in a testbed's VLANs and hosts and gives a `Ruleset`: rules of which
the first that matches decides, and what matches none passes. Every driver renders the same ruleset, and `passes`
answers from it what a packet must meet; so there is one meaning for nftables, pfSense, and a person's clicks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address

from vpnmesh.errors import UnknownNameError
from vpnmesh.model import K8S_ROLES, Role, Testbed


class Protocol(StrEnum):
    """What a rule matches; both IPv4 and IPv6, or a block would have a second way around it."""

    UDP = "udp"
    TCP = "tcp"


class Action(StrEnum):
    """What happens to the packet that a rule matches."""

    PASS = "pass"  # noqa: S105 - pf's word, no password
    BLOCK = "block"


class Nat(StrEnum):
    """How a VLAN's addresses are translated on the way out; the two kinds that decide whether hole punching works."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    SYMMETRIC = "symmetric"


@dataclass(frozen=True, slots=True)
class Block:
    """Stop a protocol in both directions between the VLANs of any two different nodes with these roles."""

    protocol: Protocol
    between: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Policy:
    """A named set of blocks and translations; everything else passes.

    `allow_to` names the nodes to which the blocked protocols stay open, `tcp_443_only` those that may open nothing
    but TCP connections to port 443. `nat` says how VLANs hide behind the firewall's address, by the role of their
    nodes or by VLAN id; None is no translation, and a VLAN's own entry wins over its nodes' role.
    """

    name: str
    blocks: tuple[Block, ...] = ()
    words: str = ""
    allow_to: frozenset[Role] = frozenset()
    nat: tuple[tuple[Role | int, Nat | None], ...] = ()
    tcp_443_only: frozenset[Role] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """Packets that enter from `sources` and leave to `destinations` (VLAN ids; none = anywhere).

    `hosts` narrows the destination to these addresses, `port` to this port, `protocol` None means any. A packet
    inside one VLAN never meets the firewall, so a rule says nothing about it.
    """

    action: Action
    protocol: Protocol | None
    sources: tuple[int, ...]
    destinations: tuple[int, ...] = ()
    hosts: tuple[IPv4Address, ...] = ()
    port: int | None = None

    def matches(self, packet: "Packet") -> bool:
        """Whether this rule decides the packet."""
        return (
            packet.source in self.sources
            and packet.source != packet.destination
            and (not self.destinations or packet.destination in self.destinations)
            and self.protocol in (None, packet.protocol)
            and (not self.hosts or packet.host in self.hosts)
            and self.port in (None, packet.port)
        )


@dataclass(frozen=True, slots=True)
class Translation:
    """A VLAN whose addresses are translated when they leave it."""

    vid: int
    nat: Nat


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A policy with a testbed's VLANs and hosts filled in; falsy when it changes nothing."""

    name: str
    rules: tuple[Rule, ...] = ()
    translations: tuple[Translation, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is to be done to any packet."""
        return bool(self.rules or self.translations)

    @property
    def stateful(self) -> bool:
        """Whether replies must pass where a first packet must not: then connections have to be tracked."""
        blocks = [rule for rule in self.rules if rule.action is Action.BLOCK]
        passed = [rule for rule in self.rules if rule.action is Action.PASS]
        one_way = any(set(rule.sources) != set(rule.destinations) for rule in blocks)
        return bool(self.translations) or one_way or any(_stops_reply(b, p) for b in blocks for p in passed)


def _stops_reply(block: Rule, passed: Rule) -> bool:
    """Whether the block would stop an answer to what `passed` lets through, from hosts inside the VLANs."""
    same_protocol = None in (block.protocol, passed.protocol) or block.protocol is passed.protocol
    return same_protocol and bool(set(block.sources) & set(passed.destinations))


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a flow: VLAN ids, protocol, destination port and, where it matters, destination host."""

    protocol: Protocol
    source: int
    destination: int
    port: int | None = None
    host: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of the proof: from node to node, by this protocol and port, it must pass or must not."""

    source: str
    destination: str
    protocol: Protocol
    port: int
    passes: bool


@dataclass(frozen=True, slots=True)
class ManagementPath:
    """The two addresses between which the controller's SSH goes to a node."""

    source: IPv4Address
    destination: IPv4Address


NODE_ROLES = K8S_ROLES | {Role.RELAY, Role.HYPERVISOR, Role.CONTROL_PLANE}
DNS_PORT, NTP_PORT, HTTPS_PORT, SSH_PORT = 53, 123, 443, 22
CLOSED_PORT = 33999
"""Where nothing listens, so that a packet which gets through is answered by a refusal."""

POLICIES = (
    Policy("allow-all", (), "everything passes"),
    Policy("block-udp", (Block(Protocol.UDP, NODE_ROLES),), "UDP is blocked between all node VLANs"),
    Policy(
        "block-udp-k8s",
        (Block(Protocol.UDP, K8S_ROLES),),
        "UDP is blocked between the Kubernetes VLANs and passes to the relay and the control plane",
        allow_to=frozenset({Role.RELAY, Role.HYPERVISOR, Role.CONTROL_PLANE}),
    ),
    Policy(
        "nat-endpoint-independent",
        (),
        "each worker sits behind a NAT that keeps its source port towards every peer",
        nat=((Role.K8S_WORKER, Nat.ENDPOINT_INDEPENDENT),),
    ),
    Policy(
        "nat-symmetric",
        (),
        "each worker sits behind a NAT that takes a new source port for every peer",
        nat=((Role.K8S_WORKER, Nat.SYMMETRIC),),
    ),
    Policy(
        "tcp-443-only",
        (),
        "the Kubernetes nodes can open nothing but TCP connections to port 443",
        tcp_443_only=K8S_ROLES,
    ),
)


def policy_named(name: str) -> Policy:
    """The policy of that name; UnknownNameError lists the known ones."""
    for policy in POLICIES:
        if policy.name == name:
            return policy
    raise UnknownNameError("policy", "policy", name, [policy.name for policy in POLICIES])


def resolve(policy: Policy, testbed: Testbed) -> Ruleset:
    """The policy in VLAN ids and addresses of this testbed; passes come before blocks.

    Raises UnknownNameError where the policy names a VLAN that the testbed does not have.
    """
    translations = _translations(policy, testbed)
    blocks = (*_between(policy, testbed), *_behind_nat(translations, testbed), *_only_443(policy, testbed))
    passes = _passes(policy, testbed, blocks)
    return Ruleset(policy.name, (*passes, *blocks), translations)


def passes(ruleset: Ruleset, packet: Packet) -> bool:
    """Whether the first packet of a flow gets from one VLAN to another."""
    verdict = next((rule.action for rule in ruleset.rules if rule.matches(packet)), Action.PASS)
    return verdict is Action.PASS


def blocked(
    policy: Policy, testbed: Testbed, protocol: Protocol, source_vid: int, destination_vid: int
) -> bool:
    """Whether the policy stops that protocol from one VLAN to the node in another."""
    host = _host_in(testbed, destination_vid)
    return not passes(
        resolve(policy, testbed), Packet(protocol, source_vid, destination_vid, CLOSED_PORT, host)
    )


def expectations(policy: Policy, testbed: Testbed) -> tuple[Expectation, ...]:
    """What packets must show: UDP, TCP and SSH between all nodes, and TCP 443 where only that is left."""
    ruleset = resolve(policy, testbed)
    probes = [(Protocol.UDP, CLOSED_PORT), (Protocol.TCP, CLOSED_PORT), (Protocol.TCP, SSH_PORT)]
    probes += [(Protocol.TCP, HTTPS_PORT)] if policy.tcp_443_only else []
    nodes = [node for node in testbed.nodes if node != testbed.firewall]
    return tuple(
        Expectation(
            source.name,
            destination.name,
            protocol,
            port,
            passes(
                ruleset, Packet(protocol, source.leg.vid, destination.leg.vid, port, destination.underlay)
            ),
        )
        for source in nodes
        for destination in nodes
        for protocol, port in probes
        if source != destination
    )


def can_cut(ruleset: Ruleset) -> bool:
    """Whether the ruleset stops TCP anywhere: only then can it take the controller's way to a node."""
    blocks = (rule for rule in ruleset.rules if rule.action is Action.BLOCK)
    return any(rule.protocol in (None, Protocol.TCP) for rule in blocks)


def cut_paths(
    ruleset: Ruleset, testbed: Testbed, ways: Mapping[str, Iterable[ManagementPath]]
) -> tuple[str, ...]:
    """The nodes to which the controller would lose a way, by name; empty when none.

    `ways` has the addresses between which SSH to each node goes; KeyError for a node of which they are not known. An
    address outside the testbed's VLANs enters by an interface that no rule names. What is sent to the firewall
    itself is decided only by rules that name destinations.
    """
    named = replace(ruleset, rules=tuple(rule for rule in ruleset.rules if rule.destinations))
    return tuple(
        node.name
        for node in testbed.nodes
        if any(_cuts(named if node == testbed.firewall else ruleset, testbed, way) for way in ways[node.name])
    )


def _cuts(ruleset: Ruleset, testbed: Testbed, way: ManagementPath) -> bool:
    source, destination = _vid_of(testbed, way.source), _vid_of(testbed, way.destination)
    if source is None or destination is None:
        return False
    return not passes(ruleset, Packet(Protocol.TCP, source, destination, SSH_PORT, way.destination))


def _between(policy: Policy, testbed: Testbed) -> tuple[Rule, ...]:
    groups = [(block.protocol, _vids(testbed, block.between)) for block in policy.blocks]
    return tuple(Rule(Action.BLOCK, protocol, vids, vids) for protocol, vids in groups)


def _behind_nat(translations: Iterable[Translation], testbed: Testbed) -> tuple[Rule, ...]:
    """Nothing new gets in to a translated VLAN, as behind any NAT."""
    legs = sorted(leg.vid for leg in testbed.firewall.legs)
    hidden = [one.vid for one in translations]
    return tuple(Rule(Action.BLOCK, None, tuple(v for v in legs if v != vid), (vid,)) for vid in hidden)


def _translations(policy: Policy, testbed: Testbed) -> tuple[Translation, ...]:
    """Every translated VLAN once, in the order of ids."""
    by_role: dict[int, Nat | None] = {}
    by_vlan: dict[int, Nat | None] = {}
    for place, nat in policy.nat:
        if isinstance(place, Role):
            by_role |= dict.fromkeys(_vids(testbed, {place}), nat)
        elif any(leg.vid == place for leg in testbed.firewall.legs):
            by_vlan[place] = nat
        else:
            known = [str(leg.vid) for leg in testbed.firewall.legs]
            raise UnknownNameError(f"policy {policy.name}: nat", "VLAN", str(place), known)
    return tuple(Translation(vid, nat) for vid, nat in sorted((by_role | by_vlan).items()) if nat)


def _only_443(policy: Policy, testbed: Testbed) -> tuple[Rule, ...]:
    sources = _vids(testbed, policy.tcp_443_only)
    return (Rule(Action.BLOCK, None, sources),) if sources else ()


def _passes(policy: Policy, testbed: Testbed, blocks: Iterable[Rule]) -> tuple[Rule, ...]:
    """What stays open: TCP 443 where only that may, the blocked protocols to `allow_to`, DNS and NTP servers."""
    rules: list[Rule] = []
    if only := _vids(testbed, policy.tcp_443_only):
        rules.append(Rule(Action.PASS, Protocol.TCP, only, port=HTTPS_PORT))
    kept = tuple(node for node in testbed.with_role(*policy.allow_to) if node != testbed.firewall)
    for block in policy.blocks:
        hosts = tuple(node.underlay for node in kept)
        vids = tuple(sorted({node.leg.vid for node in kept}))
        if hosts:
            rules.append(Rule(Action.PASS, block.protocol, _vids(testbed, block.between), vids, hosts))
    blocked_vids = tuple(sorted({vid for block in blocks for vid in block.sources}))
    if blocked_vids:
        rules += _to_servers(testbed, Protocol.UDP, blocked_vids, testbed.dns_servers, DNS_PORT)
        rules += _to_servers(testbed, Protocol.TCP, blocked_vids, testbed.dns_servers, DNS_PORT)
        rules += _to_servers(testbed, Protocol.UDP, blocked_vids, testbed.ntp_servers, NTP_PORT)
    return tuple(rules)


def _to_servers(
    testbed: Testbed,
    protocol: Protocol,
    sources: tuple[int, ...],
    servers: tuple[IPv4Address, ...],
    port: int,
) -> Iterator[Rule]:
    """One rule per VLAN that the servers are in, and one for those outside the testbed."""
    for vid in dict.fromkeys(_vid_of(testbed, server) for server in servers):
        hosts = tuple(server for server in servers if _vid_of(testbed, server) == vid)
        yield Rule(Action.PASS, protocol, sources, (vid,) if vid else (), hosts, port)


def _vids(testbed: Testbed, roles: Iterable[Role]) -> tuple[int, ...]:
    nodes = (node for node in testbed.with_role(*roles) if node != testbed.firewall)
    return tuple(sorted({node.leg.vid for node in nodes}))


def _host_in(testbed: Testbed, vid: int) -> IPv4Address | None:
    nodes = (node for node in testbed.nodes if node != testbed.firewall and node.leg.vid == vid)
    return next((node.underlay for node in nodes), None)


def _vid_of(testbed: Testbed, address: IPv4Address) -> int | None:
    return next((vlan.vid for vlan in testbed.vlans if address in vlan.prefix), None)
