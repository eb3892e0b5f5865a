"""What the firewall stops between VLANs, as data that any driver can render (paper, section 3.3)."""

from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.errors import UnknownNameError
from vpnmesh.model import K8S_ROLES, Role, Testbed


class Protocol(StrEnum):
    """What a rule matches; both IPv4 and IPv6, or a block would have a second way around it."""

    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Block:
    """Stop a protocol in both directions between the VLANs of any two different nodes with these roles."""

    protocol: Protocol
    between: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Policy:
    """A named set of blocks; everything else passes."""

    name: str
    blocks: tuple[Block, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True)
class VlanBlock:
    """A block with the VLANs filled in: no packet of `protocol` passes from one to another of `vids`."""

    protocol: Protocol
    vids: tuple[int, ...]


NODE_ROLES = K8S_ROLES | {Role.RELAY, Role.HYPERVISOR, Role.CONTROL_PLANE}

POLICIES = (
    Policy("allow-all", (), "everything passes"),
    Policy("block-udp", (Block(Protocol.UDP, NODE_ROLES),), "UDP is blocked between all node VLANs"),
    Policy(
        "block-udp-k8s",
        (Block(Protocol.UDP, K8S_ROLES),),
        "UDP is blocked between the Kubernetes VLANs and passes to the relay and the control plane",
    ),
)


def policy_named(name: str) -> Policy:
    """The policy of that name; UnknownNameError lists the known ones."""
    for policy in POLICIES:
        if policy.name == name:
            return policy
    raise UnknownNameError("policy", "policy", name, [policy.name for policy in POLICIES])


def resolve(policy: Policy, testbed: Testbed) -> tuple[VlanBlock, ...]:
    """The policy's blocks in VLAN ids of this testbed."""
    return tuple(
        VlanBlock(
            block.protocol,
            tuple(
                sorted(
                    {node.leg.vid for node in testbed.with_role(*block.between) if node != testbed.firewall}
                )
            ),
        )
        for block in policy.blocks
    )


def blocked(
    policy: Policy, testbed: Testbed, protocol: Protocol, source_vid: int, destination_vid: int
) -> bool:
    """Whether the policy stops that protocol from one VLAN to another."""
    return source_vid != destination_vid and any(
        block.protocol is protocol and {source_vid, destination_vid} <= set(block.vids)
        for block in resolve(policy, testbed)
    )
