"""What can be asked of a solution while its mesh runs: refusing a key, rules, a second mesh, a way to a network.

Each answer is a tuple of stages, as joining is; an empty one says that the solution has nothing of the kind, and its
`lacks` says why. The live checks of the criteria (docs/criteria.md) use them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from itertools import permutations


class Transport(StrEnum):
    """What a rule is about; a rule without one is about everything."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What one member may send to another of its own accord; answers may always come back. `port` is the receiver's."""

    source: str
    destination: str
    transport: Transport | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """All that members may send each other: what no rule names is forbidden. `addresses` are theirs in the VPN."""

    rules: tuple[AccessRule, ...]
    addresses: Mapping[str, IPv4Address]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A network behind a member, which it is to be the way to for all others."""

    member: str
    network: IPv4Network
    interface: str


@dataclass(frozen=True, slots=True)
class SecondMesh:
    """Members of a second mesh on the same control plane; those of them in `both` stay in the first one, too."""

    members: tuple[str, ...]
    both: tuple[str, ...] = ()


def everything_but(members: Iterable[str], *forbidden: tuple[str, str]) -> tuple[AccessRule, ...]:
    """Every member may send everything to every other, but for these pairs of sender and receiver."""
    return tuple(AccessRule(*pair) for pair in permutations(members, 2) if pair not in forbidden)
