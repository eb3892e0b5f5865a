"""What probes through a NAT showed, in the words of RFC 4787, and whether that is the kind that was asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from vpnmesh.errors import ToolError
from vpnmesh.firewall.nat_kinds import BEHAVIOURS, Behaviour, Depends, NatKind
from vpnmesh.host.dual_stack import BOTH, Address, Family

FIRST_HOPS = 64
"""What Linux gives a packet (net.ipv4.ip_default_ttl)."""
Seen = tuple[str, int]


@dataclass(frozen=True, slots=True)
class NatSeen:
    """What one node's probes showed.

    `seen` is where its socket was seen from one address at two ports, and from another address; `others` who could
    answer (`same`: whom it asked, `port`: another port of that address, `address`: another address). `hops` is what was
    left of a packet's hops, `punched` whether UDP went both ways between the ends; None where that was not tried.
    `beside` is whether packets pass in the other family of addresses, IPv6 or for a node of IPv6 alone IPv4; None where
    the underlay has only one.
    """

    seen: tuple[Seen | None, Seen | None, Seen | None]
    hops: int
    others: frozenset[str]
    tcp: bool
    tcp_443: bool
    punched: bool | None = None
    beside: bool | None = None

    @property
    def udp(self) -> bool:
        """Whether any answer came by UDP."""
        return any(self.seen)

    @property
    def mapping(self) -> Depends | None:
        """On what the port outside depends; None where not all three were told."""
        first, second, third = self.seen
        if first is None or second is None or third is None:
            return None
        if first != second:
            return Depends.ADDRESS_AND_PORT
        return Depends.NOTHING if first == third else Depends.ADDRESS

    @property
    def filtering(self) -> Depends | None:
        """On what it depends who may answer; None where nobody did."""
        if not self.others:
            return None
        if "address" in self.others:
            return Depends.NOTHING
        return Depends.ADDRESS if "port" in self.others else Depends.ADDRESS_AND_PORT

    @property
    def words(self) -> str:
        """All of it in one line."""
        if not self.udp:
            return f"no UDP, TCP {'passes' if self.tcp else 'to port 443 alone passes' if self.tcp_443 else 'stopped'}"
        beside = {None: "", True: ", the other family passes", False: ", the other family does not pass"}[
            self.beside
        ]
        return f"mapping {self.mapping}, filtering {self.filtering}, {FIRST_HOPS - self.hops} hops{beside}"


_SEEN = TypeAdapter(NatSeen)


def parse(text: str) -> NatSeen:
    """What the probing program printed; ToolError where it is none of its lines."""
    line = (text.strip().splitlines() or [""])[-1]
    try:
        return _SEEN.validate_json(line)
    except ValidationError as error:
        raise ToolError("nat probe", f"said nothing that can be read: {line[:160]}") from error


def contradictions(kind: NatKind, seen: NatSeen, shown: Address) -> tuple[str, ...]:
    """What of the probes is not that kind's; empty when it is proven. `shown` is the address that others must see."""
    return tuple(_contradictions(kind, seen, shown))


def _contradictions(kind: NatKind, seen: NatSeen, shown: Address) -> Iterator[str]:
    wanted = BEHAVIOURS[kind]
    if seen.beside is not None and seen.beside != (wanted.families == BOTH):
        other = Family.IPV4 if Family.IPV6 in wanted.families else Family.IPV6
        yield f"{other} {_passes(seen.beside)}"
    if seen.udp != wanted.udp:
        yield f"UDP {_passes(seen.udp)}"
    if not seen.tcp_443:
        yield "TCP to port 443 does not pass"
    if seen.tcp == (wanted.tcp_port is not None):
        yield f"TCP to another port than 443 {_passes(seen.tcp)}"
    if seen.udp and wanted.udp:
        yield from _udp_contradictions(wanted, seen, shown)


def _udp_contradictions(wanted: Behaviour, seen: NatSeen, shown: Address) -> Iterator[str]:
    if seen.mapping is not wanted.mapping:
        yield f"mapping is {seen.mapping or 'unknown'}, wanted {wanted.mapping}"
    if seen.filtering is not wanted.filtering:
        yield f"filtering is {seen.filtering or 'unknown'}, wanted {wanted.filtering}"
    addresses = {one[0] for one in seen.seen if one}
    if addresses != {str(shown)}:
        yield f"others see {', '.join(sorted(addresses))}, wanted {shown}"
    hops = FIRST_HOPS - seen.hops
    # the firewall itself, and once more behind the routers
    if hops != (through := 1 + (wanted.routers + 1 if wanted.routers else 0)):
        yield f"packets came through {hops} routers, wanted {through}"


def _passes(value: bool) -> str:  # noqa: FBT001 - what is told is the value itself
    return "passes" if value else "does not pass"


def disproofs(
    kinds: Mapping[str, NatKind], seen: Mapping[str, NatSeen], shown: Mapping[str, Address]
) -> tuple[str, ...]:
    """What contradicts any node's kind, and the pair as a whole: whether a hole can be punched between them."""
    found = [
        f"{name} is not behind {kind}: {words}"
        for name, kind in kinds.items()
        for words in contradictions(kind, seen[name], shown[name])
    ]
    first, second = kinds.values()
    punched = [one.punched for one in seen.values() if one.punched is not None]
    # an end hears that it was heard only when packets go both ways, so one end's word is enough
    if not found and punched and any(punched) is not can_punch(first, second):
        said = "was" if any(punched) else "was not"
        found.append(f"between {first} and {second} a hole {said} punched, which is not as these kinds are")
    return tuple(found)


def can_punch(first: NatKind, second: NatKind) -> bool:
    """Whether UDP can get both ways between nodes behind these kinds, once each knows where a third sees the other."""
    one, other = BEHAVIOURS[first], BEHAVIOURS[second]
    if not (one.udp and other.udp) or not (one.hairpins or other.hairpins):
        return False
    if not one.families & other.families:
        return False
    return _lets_in(one, other) and _lets_in(other, one)


def _lets_in(one: Behaviour, other: Behaviour) -> bool:
    """Whether packets of the other end get in at this one, which has sent to where a third saw the other.

    From a mapping that depends on the peer they come from a port that nobody knew.
    """
    return other.mapping is Depends.NOTHING or one.filtering is not Depends.ADDRESS_AND_PORT
