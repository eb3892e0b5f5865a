"""What all pairs of a mesh cost, and what a sample of them can say: minutes, and bounds with 95 % certainty.

The bounds hold for pairs drawn independently of each other. `pairs.sample` draws whole rounds, in which every member
comes equally often: slow pairs of one slow member are then found sooner, never later (tests/study/test_sampling.py).
"""

import math
from dataclasses import dataclass

from scipy import special

from vpnmesh.errors import InputError
from vpnmesh.model import Pair, Testbed
from vpnmesh.stats.intervals import CONFIDENCE
from vpnmesh.study.pairs import PairChoice, PairsKind, turns


@dataclass(frozen=True, slots=True)
class MeshCost:
    """What measuring pairs once costs: how many pairs, in how many turns of disjoint ones, in how many seconds."""

    pairs: int
    turns: int
    seconds: float


def mesh_cost(members: int, seconds: float, at_once: int = 1, sampled: int | None = None) -> MeshCost:
    """The cost of all ordered pairs, or of so many of them, of `seconds` each, `at_once` at the same time."""
    if members < 2 or at_once < 1:  # noqa: PLR2004 - a pair
        raise InputError("mesh", f"{members} members, {at_once} pairs at once")
    a_turn = members // 2
    pairs = members * (members - 1) if sampled is None else min(sampled, members * (members - 1))
    whole, rest = divmod(pairs, a_turn)
    batches = whole * math.ceil(a_turn / at_once) + math.ceil(rest / at_once)
    return MeshCost(pairs, whole + bool(rest), batches * seconds)


def members_for(pairs: int) -> int:
    """The fewest members that make so many ordered pairs."""
    return math.ceil((1 + math.sqrt(1 + 4 * pairs)) / 2)


def pairs_to_see(share: float, certainty: float = CONFIDENCE) -> int:
    """How many pairs must be drawn so that one of the slowest `share` is among them with that certainty.

    Whatever the figures' distribution: each pair drawn misses the slowest with probability 1 - share.
    """
    if not (0 < share < 1 and 0 < certainty < 1):
        raise InputError("share", f"{share:g} and a certainty of {certainty:g} are not between 0 and 1")
    return math.ceil(math.log(1 - certainty) / math.log(1 - share))


def share_seen(pairs: int, certainty: float = CONFIDENCE) -> float:
    """The smallest share of slowest pairs of which one is among so many with that certainty."""
    return float(1 - (1 - certainty) ** (1 / pairs))


def quantile_within(pairs: int, quantile: float, certainty: float = CONFIDENCE) -> tuple[float, float]:
    """Between which quantiles of all pairs a sample's quantile lies with that certainty.

    The k-th of n figures is at a quantile that is Beta(k, n - k + 1) distributed, whatever the figures' distribution.
    """
    place = max(1, math.ceil(quantile * pairs))
    tail = (1 - certainty) / 2
    low, high = (float(special.betaincinv(place, pairs - place + 1, one)) for one in (tail, 1 - tail))
    return low, high


def mean_within(pairs: int, total: int, cv: float, normal: float = 1.96) -> float:
    """How far the mean of so many pairs lies from that of all, as a share of it, in 95 of 100 samples.

    `cv` is the spread between pairs over their mean. A sample of all is exact.
    """
    return normal * cv / math.sqrt(pairs) * math.sqrt(max(0.0, (total - pairs) / (total - 1)))


def told(testbed: Testbed, choice: PairChoice, pairs: tuple[Pair, ...]) -> list[str]:
    """What a choice of pairs means for a run, as sentences; none for the one pair of the paper."""
    members = len(testbed.k8s)
    total = members * (members - 1)
    if choice.kind is PairsKind.FIXED:
        return []
    count = len(turns(pairs))
    said = f"pairs: {len(pairs)} of the {total} ordered pairs of {members} members, in {count} turns of disjoint ones"
    if choice.kind is PairsKind.SAMPLE and len(pairs) < total:
        said += f"; with 95 % certainty one of the slowest {100 * share_seen(len(pairs)):.0f} % is among them"
    return [said]
