"""Then and now: what other versions of the same programs did to every figure, the older set before the newer one.

A pair is a scenario and a variant of it that ran other versions, as the nodes told them, whichever of the two is older.
Figures, interval and test are those of the variants' table; only the direction may be another one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from vpnmesh.report.variants import differences, families
from vpnmesh.report.versions import NOT_TOLD, Told, order_of, used_programs
from vpnmesh.stats.compare import ALPHA, fewest_for_test
from vpnmesh.stats.intervals import fewest_for_interval
from vpnmesh.study.scenarios import Catalogue

THEN_AND_NOW: dict[str, pl.DataType] = {
    "old": pl.String(),
    "new": pl.String(),
    "versions": pl.String(),
    "test": pl.String(),
    "condition": pl.String(),
    "figure": pl.String(),
    "title": pl.String(),
    "unit": pl.String(),
    "n_old": pl.Int64(),
    "mean_old": pl.Float64(),
    "sd_old": pl.Float64(),
    "n_new": pl.Int64(),
    "mean_new": pl.Float64(),
    "sd_new": pl.Float64(),
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
    "p_holm": pl.Float64(),
    "verdict": pl.String(),
    "note": pl.String(),
}
"""A row per pair of version sets, test, condition and figure; `ratio` = new / old."""

HIGHER, LOWER, SAME, UNDECIDED = "higher", "lower", "no difference shown", "undecided"
BLOCKS = 3
_VERSION_KEYS = ("version ", "program_folder ")


@dataclass(frozen=True, slots=True)
class VersionPair:
    """Two scenarios of one family that ran other versions: `base` and `variant`, and which of them is the older."""

    base: str
    variant: str
    variant_is_old: bool
    changed: tuple[tuple[str, str, str], ...]
    """Program, old version, new version."""
    besides: tuple[str, ...] = ()
    """What else differs between the two scenarios, in words."""

    @property
    def old(self) -> str:
        """The scenario with the older versions."""
        return self.variant if self.variant_is_old else self.base

    @property
    def new(self) -> str:
        """The scenario with the newer versions."""
        return self.base if self.variant_is_old else self.variant

    @property
    def versions(self) -> str:
        """`headscale 0.21.0 -> 0.29.2, tailscaled 1.58.2 -> 1.98.10`."""
        return ", ".join(f"{name} {old} -> {new}" for name, old, new in self.changed)


def version_pairs(found: Iterable[str], catalogue: Catalogue, told: Told) -> tuple[VersionPair, ...]:
    """The pairs among the scenarios that were found; none where nobody told versions, or where all are alike."""
    pairs = (
        _pair(base, variant, catalogue, told)
        for base, variants in families(found, catalogue).items()
        for variant in variants
    )
    return tuple(pair for pair in pairs if pair)


def _pair(base: str, variant: str, catalogue: Catalogue, told: Told) -> VersionPair | None:
    one, other = catalogue.named(base), catalogue.named(variant)
    mine, theirs = ({p.name: p.version for p in used_programs(each, told)} for each in (one, other))
    changed = [
        (name, mine[name], theirs[name])
        for name in mine
        if mine[name] != theirs.get(name, mine[name]) and NOT_TOLD not in (mine[name], theirs[name])
    ]
    if not changed:
        return None
    # the first is the program of the data plane, if that one changed
    _, here, there = changed[0]
    old = order_of(there) < order_of(here)
    besides = tuple(what for what in differences(one, other) if not what.startswith(_VERSION_KEYS))
    return VersionPair(
        base,
        variant,
        old,
        tuple((name, b, a) if old else (name, a, b) for name, a, b in changed),
        besides,
    )


def then_and_now(variants: pl.DataFrame, pairs: Sequence[VersionPair]) -> pl.DataFrame:
    """The variants' rows of these pairs, each from the older versions to the newer ones, with a verdict."""
    by_names = {(pair.base, pair.variant): pair for pair in pairs}
    rows = [
        _row(row, pair)
        for row in variants.to_dicts()
        if (pair := by_names.get((row["base"], row["variant"])))
    ]
    return pl.DataFrame(rows, schema=THEN_AND_NOW, orient="row")


def _row(row: Mapping[str, object], pair: VersionPair) -> dict[str, object]:
    old, new = ("variant", "base") if pair.variant_is_old else ("base", "variant")
    ratio, low, high = (row[name] for name in ("ratio", "ratio_low", "ratio_high"))
    if pair.variant_is_old:
        # Fieller's interval of a ratio turned over is the interval's ends turned over
        ratio, low, high = (_inverse(value) for value in (ratio, high, low))
    kept = {name: row[name] for name in ("test", "condition", "figure", "title", "unit", "p_holm", "note")}
    sides = {
        f"{name}_{side}": row[f"{name}_{place}"]
        for side, place in (("old", old), ("new", new))
        for name in ("n", "mean", "sd")
    }
    made: dict[str, object] = {
        "old": pair.old,
        "new": pair.new,
        "versions": pair.versions,
        **kept,
        **sides,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
    }
    return {**made, "verdict": _verdict(made)}


def _inverse(value: object) -> float | None:
    return 1 / value if isinstance(value, float) and value > 0 else None


def _verdict(row: Mapping[str, object]) -> str:
    """What the test says of new against old; why it says nothing stands in the note."""
    n_old, n_new, p, ratio = (row[name] for name in ("n_old", "n_new", "p_holm", "ratio"))
    if not n_old or not n_new:
        return "not measured" if not n_old and not n_new else f"{'old' if n_new else 'new'} not measured"
    if not isinstance(p, float):
        return f"{UNDECIDED}: {n_old} and {n_new} repetitions"
    if p >= ALPHA:
        return SAME
    return HIGHER if isinstance(ratio, float) and ratio > 1 else LOWER


def summary(rows: pl.DataFrame) -> str:
    """How many figures are higher, lower, alike or undecided with the newer versions."""
    counts: dict[str, int] = {}
    for verdict in rows["verdict"]:
        kind = "without a difference shown" if verdict == SAME else verdict.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def command(pairs: Sequence[VersionPair]) -> str:
    """What measures these pairs so that a test can answer, at several times each."""
    repetitions = max(fewest_for_interval(), fewest_for_test(len(pairs)))
    names = ",".join(dict.fromkeys(name for pair in pairs for name in (pair.old, pair.new)))
    return (
        f"python -m workflows.full_matrix --scenarios {names} --conditions none,loss-1pct,delay-50ms"
        f" --repetitions {repetitions} --blocks {BLOCKS}"
    )
