"""What the verdicts answer under each condition: who is faster, by how much, what is equal, and what is open.

An order of scenarios is told in groups. Two groups stand one after the other only where *every* scenario of the first
is decided to be faster than *every* one of the second: that A beats B and B beats C says nothing here of A and C.
What is open or equal stays together in one group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise

import polars as pl

from vpnmesh.report.tables import Study
from vpnmesh.stats.sequential import PairVerdict


class Within(StrEnum):
    """How the scenarios of one group are to each other."""

    ALONE = "alone"
    EQUAL = "equal"
    OPEN = "open"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """One pair and what is decided of it; `ratio` and its limits are faster / slower, None where nobody can say.

    The first has the higher mean. `fewest` = the figures of the side that has fewer.
    """

    faster: str
    slower: str
    verdict: PairVerdict
    ratio: float | None
    low: float | None
    high: float | None
    fewest: int
    minutes_more: float | None
    because: str

    @property
    def leads(self) -> bool:
        """Whether the first is decided to be faster: they differ, and where there is an interval, it says so, too."""
        return self.verdict is PairVerdict.DIFFER and (self.low is None or self.low > 1)

    @property
    def why(self) -> str:
        """The kind of reason for which the pair is open, without its figures."""
        return self.because.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Scenarios between which no order is told: they stand in the order of all tables, not in that of their means."""

    scenarios: tuple[str, ...]
    within: Within


@dataclass(frozen=True, slots=True)
class ConditionAnswer:
    """What is known under one condition by one test.

    `groups` come fastest first; `leads` has between each two of them the last name of one over the first of the next.
    `nothing` are the scenarios without a figure, whose pairs are not counted.
    """

    test: str
    condition: str
    margin_pct: float
    pairs: tuple[PairAnswer, ...]
    groups: tuple[Group, ...]
    leads: tuple[PairAnswer, ...]
    nothing: tuple[str, ...]

    def count(self, verdict: PairVerdict) -> int:
        """How many pairs have that verdict."""
        return sum(pair.verdict is verdict for pair in self.pairs)

    @property
    def decided(self) -> int:
        """How many pairs are decided, one way or the other."""
        return len(self.pairs) - self.count(PairVerdict.UNDECIDED)

    @property
    def equal(self) -> tuple[tuple[str, ...], ...]:
        """Groups of scenarios of which every two are equal within the margin."""
        return together(self._of(PairVerdict.EQUIVALENT))

    @property
    def open_groups(self) -> tuple[tuple[str, ...], ...]:
        """Groups of scenarios of which every two are undecided."""
        return together(self._of(PairVerdict.UNDECIDED))

    @property
    def open_pairs(self) -> tuple[PairAnswer, ...]:
        """The undecided pairs."""
        return tuple(pair for pair in self.pairs if pair.verdict is PairVerdict.UNDECIDED)

    def _of(self, verdict: PairVerdict) -> list[tuple[str, str]]:
        return [(pair.faster, pair.slower) for pair in self.pairs if pair.verdict is verdict]


def answers(study: Study) -> tuple[ConditionAnswer, ...]:
    """An answer per test and condition, in the order of the tables."""
    means = {
        (row["test"], row["condition"], row["scenario"]): row["mean_mbit_s"]
        for row in study.tables["throughput"].to_dicts()
    }
    families = study.tables["verdicts"].partition_by("test", "condition", maintain_order=True)
    return tuple(_answer(family, means) for family in families)


def _answer(family: pl.DataFrame, means: Mapping[tuple[str, str, str], float | None]) -> ConditionAnswer:
    rows = family.to_dicts()
    test, condition = rows[0]["test"], rows[0]["condition"]
    names = list(dict.fromkeys([*family["a"], *family["b"]]))
    found = {name: mean for name in names if (mean := means.get((test, condition, name))) is not None}
    ordered = sorted(found, key=lambda name: -found[name])
    place = {name: at for at, name in enumerate(ordered)}
    pairs = [_pair(row, place) for row in rows if row["a"] in place and row["b"] in place]
    by_names = {(pair.faster, pair.slower): pair for pair in pairs}
    groups = _groups(ordered, by_names, names)
    leads = [by_names[upper.scenarios[-1], lower.scenarios[0]] for upper, lower in pairwise(groups)]
    nothing = tuple(name for name in names if name not in place)
    return ConditionAnswer(
        test, condition, rows[0]["margin_pct"], tuple(pairs), tuple(groups), tuple(leads), nothing
    )


def _pair(row: Mapping[str, object], place: Mapping[str, int]) -> PairAnswer:
    """The row with the scenario of the higher mean first."""
    a, b = str(row["a"]), str(row["b"])
    ratio, low, high = (_number(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    if place[a] > place[b]:
        a, b = b, a
        ratio, low, high = _inverse(ratio), _inverse(high), _inverse(low)
    verdict, minutes = PairVerdict(str(row["verdict"])), _number(row["minutes_more"])
    fewest = min(int(str(row[side] or 0)) for side in ("n_a", "n_b"))
    return PairAnswer(a, b, verdict, ratio, low, high, fewest, minutes, str(row["because"] or ""))


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _inverse(ratio: float | None) -> float | None:
    """The ratio of the other two; a limit that is not above zero says nothing of it."""
    return 1 / ratio if ratio is not None and ratio > 0 else None


def _groups(
    ordered: Sequence[str], pairs: Mapping[tuple[str, str], PairAnswer], names: Sequence[str]
) -> list[Group]:
    """The scenarios cut wherever all before the cut are decided to be faster than all after it."""
    groups: list[list[str]] = []
    for at, name in enumerate(ordered):
        before, after = ordered[:at], ordered[at:]
        if all((one, other) in pairs and pairs[one, other].leads for one in before for other in after):
            groups.append([])
        groups[-1].append(name)
    return [Group(tuple(sorted(group, key=names.index)), _within(group, pairs)) for group in groups]


def _within(group: Sequence[str], pairs: Mapping[tuple[str, str], PairAnswer]) -> Within:
    verdicts = {
        pairs[pair].verdict if pair in pairs else PairVerdict.UNDECIDED for pair in combinations(group, 2)
    }
    if not verdicts:
        return Within.ALONE
    kinds = {PairVerdict.EQUIVALENT: Within.EQUAL, PairVerdict.UNDECIDED: Within.OPEN}
    return kinds.get(verdicts.pop(), Within.MIXED) if len(verdicts) == 1 else Within.MIXED


def together(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Pairs as few groups of names of which every two are a pair; each pair is in one group at least."""
    left = list(dict.fromkeys(pairs))
    wanted = {frozenset(pair) for pair in left}
    names = list(dict.fromkeys(name for pair in left for name in pair))
    found, covered = [], set[frozenset[str]]()
    for pair in left:
        if frozenset(pair) in covered:
            continue
        group = list(pair)
        for name in names:
            if name not in group and all(frozenset((name, member)) in wanted for member in group):
                group.append(name)
        covered |= {frozenset(each) for each in combinations(group, 2)}
        found.append(tuple(sorted(group, key=names.index)))
    return tuple(found)
