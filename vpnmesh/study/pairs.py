"""Which pairs of members a run measures, and in which order: rounds of pairs that share no member.

N members make N(N-1) ordered pairs. The circle method (a round-robin tournament) puts them into N-1 rounds of N/2
disjoint pairs; with an odd N one member rests in each of N rounds. A round has two turns, one per direction, so that
no member is client and server at once, and each ordered pair comes exactly once.
"""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.errors import InputError
from vpnmesh.model import Pair, Testbed

MAX_SAMPLE = 1_000_000
"""More pairs than any testbed has; what is larger is a slip of the finger."""
_SAMPLE = re.compile(r"sample:([0-9]{1,7})")


class PairsKind(StrEnum):
    """Which pairs are measured: the one of the paper, every one, or some that are drawn."""

    FIXED = "fixed"
    FULL_MESH = "full-mesh"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class PairChoice:
    """What `--pairs` asks for; `count` is how many pairs are drawn, 0 but for a sample."""

    kind: PairsKind = PairsKind.FIXED
    count: int = 0

    def __post_init__(self) -> None:
        """Refuse a sample of nothing, and a number where none belongs."""
        drawn = self.kind is PairsKind.SAMPLE
        if drawn and not 1 <= self.count <= MAX_SAMPLE:
            raise InputError("--pairs", f"a sample of {self.count} pairs is not in 1 to {MAX_SAMPLE}")
        if not drawn and self.count:
            raise InputError("--pairs", f"{self.kind} takes no number")

    def __str__(self) -> str:
        """As `--pairs` takes it."""
        return f"{self.kind}:{self.count}" if self.kind is PairsKind.SAMPLE else str(self.kind)

    @classmethod
    def parse(cls, text: str, place: str = "--pairs") -> "PairChoice":
        """Read `fixed`, `full-mesh` or `sample:K`; InputError says how they look."""
        if found := _SAMPLE.fullmatch(text):
            return cls(PairsKind.SAMPLE, int(found[1]))
        if text in (PairsKind.FIXED, PairsKind.FULL_MESH):
            return cls(PairsKind(text))
        raise InputError(
            place,
            f"'{text[:80]}' is none of fixed, full-mesh, sample:K",
            "write for example full-mesh, or sample:12 for twelve pairs",
        )


FIXED = PairChoice()


def pairs_of(testbed: Testbed, choice: PairChoice, seed: int = 1) -> tuple[Pair, ...]:
    """The pairs of the testbed's members that are measured, in the order of their turns.

    The same seed draws the same sample. InputError where a sample is larger than what there is.
    """
    names = [node.name for node in testbed.k8s]
    match choice.kind:
        case PairsKind.FIXED:
            return testbed.pairs
        case PairsKind.FULL_MESH:
            return full_mesh(names)
        case PairsKind.SAMPLE:
            return sample(names, choice.count, seed)


def rounds(names: Sequence[str]) -> tuple[tuple[Pair, ...], ...]:
    """Every two members once, in N-1 rounds of disjoint pairs for an even N, in N rounds for an odd one."""
    ring: list[str | None] = [*names, *([None] if len(names) % 2 else [])]
    found = []
    for turned in range(len(ring) - 1):
        # the first one stays, all others go round
        circle = [ring[0], *ring[1 + turned :], *ring[1 : 1 + turned]]
        facing = zip(circle[: len(ring) // 2], reversed(circle), strict=False)
        found.append(tuple(Pair(a, b) for a, b in facing if a is not None and b is not None))
    return tuple(found)


def full_mesh(names: Sequence[str]) -> tuple[Pair, ...]:
    """Every ordered pair once, turn after turn: each round in one direction, then in the other."""
    return tuple(
        pair for one in rounds(names) for turn in (one, tuple(map(reverse_of, one))) for pair in turn
    )


def reverse_of(pair: Pair) -> Pair:
    """The same two, the other way round."""
    return Pair(pair.server, pair.client)


def sample(names: Sequence[str], count: int, seed: int) -> tuple[Pair, ...]:
    """`count` different ordered pairs by chance, every member in nearly equally many (two more at most).

    Whole rounds of a shuffled tournament are taken, and a part of the last one: each ordered pair is drawn with the
    same probability. Both directions of a pair are drawn only where more than half of all pairs are asked for.
    """
    most = len(names) * (len(names) - 1)
    if count > most:
        raise InputError(
            "--pairs",
            f"a sample of {count} pairs, and {len(names)} members make {most}",
            f"ask for full-mesh, or for at most sample:{most}",
        )
    chance = random.Random(seed)  # noqa: S311 - a draw that can be repeated, no secret
    shuffled = [chance.sample(one, len(one)) for one in rounds(chance.sample(list(names), len(names)))]
    chance.shuffle(shuffled)
    there = [reverse_of(pair) if chance.random() < 1 / 2 else pair for one in shuffled for pair in one]
    return tuple([*there, *map(reverse_of, there)][:count])


def turns(pairs: Iterable[Pair]) -> tuple[tuple[Pair, ...], ...]:
    """The pairs in their order, cut wherever a member would come twice: those of one turn share no member."""
    found: list[list[Pair]] = []
    busy: set[str] = set()
    for pair in pairs:
        ends = {pair.client, pair.server}
        if not found or busy & ends:
            found.append([])
            busy = set()
        found[-1].append(pair)
        busy |= ends
    return tuple(map(tuple, found))
