"""Which path each solution finds between nodes behind two kinds of NAT: the cells that are asked, and what came of it.

A cell is one solution with its client behind one kind and its server behind another. Its record says what was seen;
what the product's own words promise lies beside it (`vpnmesh.reference.nat_promises`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations_with_replacement
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from vpnmesh.errors import InputError
from vpnmesh.firewall.nat_kinds import BEHAVIOURS, NatKind, kind_named
from vpnmesh.firewall.nat_proof import can_punch
from vpnmesh.host.dual_stack import IPV6_ALONE
from vpnmesh.model import Path
from vpnmesh.study.convergence import PathProbe, settled_s

FIRST_PACKET_S = 30.0
"""How long a pair may take from the start of its programs until a packet comes back; then the cell has failed."""
UPGRADE_S, LONG_UPGRADE_S = 12.0, 45.0
"""How long after that a relayed pair is watched for a direct path; the longer one where a hole can be punched."""
HOLD_S = 1.0
"""How long a direct path must hold until it counts."""
CELL_S, RELAYED_CELL_S, FAILED_CELL_S, SET_UP_S = 20.0, 30.0, 45.0, 25.0
"""What a cell takes that ends on the direct path, on the relay, or nowhere; and deploying a solution: for the plan."""
TRIES = 3
"""How often a cell is tried at most whose outcome may be chance."""
DID_NOT_START = "it did not start: "
"""What the reason of such a cell begins with."""
RELAYED_SHARE, DIRECT_SHARE = 0.5, 0.1
"""Of the bytes that were measured, what the relay node must have sent on a relayed path, and may on a direct one."""


class Found(StrEnum):
    """What became of a cell."""

    DIRECT = "direct"
    RELAY = "relay"
    NOTHING = "no path"
    UNPROVEN = "not proven"
    UNAVAILABLE = "unavailable"
    BROKEN = "not measured"


@dataclass(frozen=True, slots=True)
class NatPair:
    """The kinds that client and server are behind; written `CLIENT>SERVER`."""

    client: NatKind
    server: NatKind

    def __str__(self) -> str:
        return f"{self.client}>{self.server}"

    @property
    def can_punch(self) -> bool:
        """Whether UDP could get both ways at all."""
        return can_punch(self.client, self.server)

    @property
    def needs_ipv6(self) -> bool:
        """Whether an end has IPv6 alone, so that the underlay must have it."""
        return any(BEHAVIOURS[kind].families == IPV6_ALONE for kind in (self.client, self.server))

    @property
    def passes_udp(self) -> bool:
        """Whether UDP gets out of both networks."""
        return all(BEHAVIOURS[kind].udp for kind in (self.client, self.server))

    def first_packet_within_s(self, late_relay_s: float) -> float:
        """How long a first packet is waited for, of a solution that may find its relay so late where UDP is blocked."""
        return FIRST_PACKET_S if self.passes_udp else max(FIRST_PACKET_S, late_relay_s)

    @property
    def upgrade_s(self) -> float:
        """How long it is watched for a direct path once it is relayed."""
        return LONG_UPGRADE_S if self.can_punch else UPGRADE_S

    @classmethod
    def parse(cls, text: str) -> "NatPair":
        """Read `CLIENT>SERVER`; InputError if it is not that."""
        client, arrow, server = text.partition(">")
        if not arrow:
            raise InputError(
                "--pairs", f"'{text[:40]}' is not KIND>KIND", "for example 'full-cone>symmetric'"
            )
        return cls(kind_named(client.strip(), "--pairs"), kind_named(server.strip(), "--pairs"))


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# both become names of files
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
CaptureName = Annotated[str, Field(pattern=r"^(packets/[a-z0-9][a-z0-9.-]*)?$")]


@dataclass(frozen=True, slots=True)
class NatRecord:
    """One cell as it was measured. Seconds count from the start of both ends' programs; None where it never came.

    `relay_share` is how much of the measured bytes the relay node sent, `proof` what probes showed of each end,
    `punched` whether a bare UDP hole could be punched between them just before, `capture` the file of packets. `tries`
    is how every try ended, where there were several; all else is the last one's.
    """

    solution: Slug
    scenario: str
    client: NatKind
    server: NatKind
    found: Found
    at: str
    reason: str = ""
    first_packet_s: Amount | None = None
    direct_s: Amount | None = None
    rate_mbit_s: Amount | None = None
    relay_share: Amount | None = None
    punched: bool | None = None
    proof: dict[str, str] = field(default_factory=dict)
    capture: CaptureName = ""
    tries: tuple[Found, ...] = ()
    seconds: Amount = 0.0

    @property
    def pair(self) -> NatPair:
        """Its kinds."""
        return NatPair(self.client, self.server)

    @property
    def may_be_chance(self) -> bool:
        """Whether it is worth another try: not measured, or relayed or not started where a hole could be punched."""
        could_be_direct = self.punched is True
        relayed = self.found is Found.RELAY
        failed_to_start = self.found is Found.NOTHING and self.reason.startswith(DID_NOT_START)
        return (could_be_direct and (relayed or failed_to_start)) or self.found in (
            Found.BROKEN,
            Found.UNPROVEN,
        )

    @property
    def counts(self) -> bool:
        """Whether it says anything of the solution: what could not be proven or measured says nothing."""
        return self.found in (Found.DIRECT, Found.RELAY, Found.NOTHING)


_RECORD = TypeAdapter(NatRecord)


def pairs_of(kinds: Iterable[NatKind]) -> tuple[NatPair, ...]:
    """Every pair of these kinds once, in their order: who is client and who server makes no difference to a NAT."""
    return tuple(NatPair(*pair) for pair in combinations_with_replacement(dict.fromkeys(kinds), 2))


def estimate_s(pairs: Sequence[NatPair], *, relays: bool) -> float:
    """What one solution takes for these pairs; `relays` says whether it has a relay to fall back to."""
    return SET_UP_S + sum(_cell_s(pair, relays=relays) for pair in pairs)


def _cell_s(pair: NatPair, *, relays: bool) -> float:
    if pair.can_punch:
        return CELL_S
    return RELAYED_CELL_S if relays else FAILED_CELL_S


def line_of(record: NatRecord) -> str:
    """The record as a line of JSON."""
    return _RECORD.dump_json(record).decode()


def read_lines(text: str, place: str) -> tuple[NatRecord, ...]:
    """The records of a file, the last of each cell; a line that was cut off at the end is left out."""
    return tuple({(one.scenario, one.pair): one for one in _records(text, place)}.values())


def _records(text: str, place: str) -> Iterator[NatRecord]:
    # a reason may hold what Python takes for the end of a line, and only this ends one
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            yield _RECORD.validate_json(line)
        except ValidationError as error:
            raise InputError(
                f"{place}, line {number}", "is no cell of a NAT grid", "move the file away"
            ) from error


def first_packet_s(probes: Sequence[PathProbe]) -> float | None:
    """When the first ping through the tunnel was answered, whatever the path."""
    return next((one.at_s for one in probes if one.answered), None)


def direct_s(probes: Sequence[PathProbe]) -> float | None:
    """When the direct path was there and stayed."""
    return settled_s(probes, Path.DIRECT, HOLD_S)


def watched_enough(
    upgrade_s: float, probes: Sequence[PathProbe], first_packet_within_s: float = FIRST_PACKET_S
) -> bool:
    """Whether an end need not be watched longer: it is direct, or was relayed for that long."""
    first = first_packet_s(probes)
    if first is None:
        return probes[-1].at_s >= first_packet_within_s
    return direct_s(probes) is not None or probes[-1].at_s - first >= upgrade_s


def path_found(
    ends: Sequence[Sequence[PathProbe]],
    relay_share: float | None,
    first_packet_within_s: float = FIRST_PACKET_S,
) -> tuple[Found, str]:
    """The path on which both ends are, and the relay node's counters agree; else why that cannot be said."""
    if any(first_packet_s(probes) is None for probes in ends):
        return Found.NOTHING, f"no packet came back within {first_packet_within_s:.0f} s"
    said = {probes[-1].path for probes in ends}
    if relay_share is None:
        return Found.BROKEN, "no share of the relay is known"
    if said == {Path.DIRECT} and relay_share <= DIRECT_SHARE:
        return Found.DIRECT, ""
    if relay_share >= RELAYED_SHARE:
        told = " and ".join(sorted(str(path or "no path") for path in said))
        return Found.RELAY, "" if said == {
            Path.RELAY
        } else f"the ends say {told}, the relay carried {relay_share:.0%}"
    told = " and ".join(sorted(str(path or "no path") for path in said))
    return Found.BROKEN, f"the ends say {told}, but the relay carried {relay_share:.0%} of the bytes"
