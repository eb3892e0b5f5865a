"""Variants beside the scenario that they vary: what differs between the two, and what that did to every figure.

Both come from one run, so place, engine, machine and day are the same. Whether they differ is Mann-Whitney's test, as
for every pair, with Holm's correction over the variants that share a figure and a condition.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import polars as pl

from vpnmesh.frames.aggregate import CellKey, CellSample, unavailable
from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.model import Scenario
from vpnmesh.report.figure_tables import RATE, title_and_unit
from vpnmesh.report.published import own_planes
from vpnmesh.report.style import capped_by
from vpnmesh.stats.compare import can_reject, fewest_for_test, holm, mann_whitney
from vpnmesh.stats.describe import Summary, Tally
from vpnmesh.stats.intervals import fewest_for_interval, ratio_interval
from vpnmesh.study.scenarios import Catalogue

VARIANTS: dict[str, pl.DataType] = {
    "base": pl.String(),
    "variant": pl.String(),
    "differs": pl.String(),
    "test": pl.String(),
    "condition": pl.String(),
    "figure": pl.String(),
    "title": pl.String(),
    "unit": pl.String(),
    "n_base": pl.Int64(),
    "mean_base": pl.Float64(),
    "sd_base": pl.Float64(),
    "n_variant": pl.Int64(),
    "mean_variant": pl.Float64(),
    "sd_variant": pl.Float64(),
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
    "p": pl.Float64(),
    "p_holm": pl.Float64(),
    "note": pl.String(),
}
"""A row per variant, test, condition and figure that base or variant was asked for; `ratio` = variant / base."""

_NOT_COMPARED = frozenset({"name", "variant_of", "paper", "data_path"})
_ANY = "any"


@dataclass(frozen=True, slots=True)
class VariantSample:
    """The figures of one scenario in one cell, and what a reader must know of them."""

    values: Tally
    remarks: tuple[str, ...] = ()
    slow_start: bool = False


@dataclass(frozen=True, slots=True)
class FigureKey:
    """One figure of one scenario's cell."""

    scenario: str
    condition: str
    test: str
    figure: str
    title: str
    unit: str

    def of(self, scenario: str) -> "FigureKey":
        """The same figure of another scenario."""
        return FigureKey(scenario, self.condition, self.test, self.figure, self.title, self.unit)


Samples = Mapping[FigureKey, VariantSample]


def differences(base: Scenario, variant: Scenario, keys: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """What differs between two scenarios, in words: `tunnel_mtu 1280 -> 1420`, `TS_TUN_DISABLE_UDP_GRO=1`.

    `keys` = look at these alone; else at everything but names and the description.
    """
    found: list[str] = []
    for one in fields(Scenario):
        before, after = getattr(base, one.name), getattr(variant, one.name)
        if one.name in _NOT_COMPARED or before == after or (keys and one.name not in keys):
            continue
        if isinstance(before, Mapping):
            found += _changed_keys(before, after)
        else:
            found.append(f"{one.name} {_shown(before)} -> {_shown(after)}")
    return tuple(found)


def _changed_keys(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    for key in dict.fromkeys((*before, *after)):
        if key not in before:
            yield f"{key}={after[key]}"
        elif key not in after:
            yield f"without {key}={before[key]}"
        elif before[key] != after[key]:
            yield f"{key}={before[key]} -> {after[key]}"


def _shown(value: object) -> str:
    return _ANY if value in (None, "") else str(value)


def families(found: Iterable[str], catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """Each scenario that was found together with one of its variants: base -> variants, in the catalogue's order."""
    names = set(found)
    kept = {
        base: tuple(name for name in variants if name in names)
        for base, variants in catalogue.variants().items()
        if base in names
    }
    return {base: kept[base] for base in catalogue.in_order(kept) if kept[base]}


@dataclass(frozen=True, slots=True)
class _Compared:
    """What rows are made from: figures, attempts of each cell, data planes, and the scenarios' definitions."""

    figures: Samples
    attempted: Mapping[CellKey, int]
    planes: Mapping[str, str]
    catalogue: Catalogue


def alone(found: Iterable[str], catalogue: Catalogue) -> dict[str, str]:
    """The variants that were found without their base: variant -> base."""
    names = set(found)
    return {
        name: base
        for base, variants in catalogue.variants().items()
        for name in variants
        if name in names and base not in names
    }


def variants(
    samples: pl.DataFrame,
    cells: Mapping[CellKey, CellSample],
    slow: frozenset[CellKey],
    figures: pl.DataFrame,
    catalogue: Catalogue,
) -> pl.DataFrame:
    """A row per variant and figure. `cells` = the throughput cells of `samples`, `slow` = those in TCP's slow start."""
    counts = samples.filter(~unavailable()).group_by("scenario", "condition", "test").len().rows()
    compared = _Compared(
        {**_rates(cells, slow), **_others(figures)},
        {(scenario, condition, test): count for scenario, condition, test, count in counts},
        dict(own_planes(samples).rows()),
        catalogue,
    )
    rows = [
        _row(key, name, compared)
        for base, names in families((key.scenario for key in compared.figures), catalogue).items()
        for key in _keys(base, names, compared.figures)
        for name in names
    ]
    return pl.DataFrame(_corrected(rows), schema=VARIANTS, orient="row")


def _rates(cells: Mapping[CellKey, CellSample], slow: frozenset[CellKey]) -> Samples:
    title, unit = "throughput", title_and_unit(RATE)[1]
    return {
        FigureKey(*cell, RATE, title, unit): VariantSample(one.tally, _remarks(one), cell in slow)
        for cell, one in cells.items()
    }


def _remarks(cell: CellSample) -> tuple[str, ...]:
    """What makes a throughput cell's figures other than the VPN's, or why there are none."""
    near = f"near what {capped_by(cell.condition)} lets through" if cell.near_cap else None
    found = (cell.unavailable, near)
    return tuple(remark for remark in found if remark)


def _others(figures: pl.DataFrame) -> Samples:
    """The figures of all other tests."""
    rows = figures.filter(~pl.col("test").is_in(THROUGHPUT_TESTS))
    names = ["scenario", "condition", "test", "figure", "title", "unit"]
    groups = rows.partition_by(*names, as_dict=True, maintain_order=True)
    return {
        FigureKey(*(str(part) for part in key)): VariantSample(Tally.of(group["value"].to_numpy()))
        for key, group in groups.items()
    }


def _keys(base: str, names: Sequence[str], samples: Samples) -> list[FigureKey]:
    """The base's keys of all figures that it or a variant of it has, by test and condition."""
    mine = dict.fromkeys(key.of(base) for key in samples if key.scenario in (base, *names))
    order = {name: place for place, name in enumerate(conditions_in_order(key.condition for key in mine))}
    tests = {name: place for place, name in enumerate(dict.fromkeys(key.test for key in mine))}
    return sorted(mine, key=lambda key: (tests[key.test], order[key.condition]))


def _row(key: FigureKey, variant: str, compared: _Compared) -> dict[str, object]:
    nothing, catalogue, base = VariantSample(Tally.of(())), compared.catalogue, key.scenario
    a, b = (compared.figures.get(one, nothing) for one in (key, key.of(variant)))
    one, other = a.values.summary(), b.values.summary()
    slow = a.slow_start or b.slow_start
    enough = not slow and min(one.n, other.n) >= fewest_for_interval()
    interval = ratio_interval(other, one) if enough else None
    found = mann_whitney(b.values, a.values)
    return {
        "base": base,
        "variant": variant,
        "differs": "; ".join(differences(catalogue.named(base), catalogue.named(variant))),
        "test": key.test,
        "condition": key.condition,
        "figure": key.figure,
        "title": key.title,
        "unit": key.unit,
        "n_base": one.n,
        "mean_base": one.mean,
        "sd_base": one.sd,
        "n_variant": other.n,
        "mean_variant": other.mean,
        "sd_variant": other.sd,
        "ratio": _ratio(other, one),
        "ratio_low": interval.low if interval else None,
        "ratio_high": interval.high if interval else None,
        "p": None if slow else found.p,
        "note": _note(((key, a), (key.of(variant), b)), compared),
    }


def _ratio(variant: Summary, base: Summary) -> float | None:
    return variant.mean / base.mean if variant.mean is not None and base.mean else None


def _note(pair: tuple[tuple[FigureKey, VariantSample], ...], compared: _Compared) -> str:
    parts = [
        f"{key.scenario}: {remark}" for key, sample in pair for remark in _remarks_of(key, sample, compared)
    ]
    planes = [compared.planes.get(key.scenario) for key, _ in pair]
    if all(planes) and planes[0] != planes[1]:
        parts.append(f"another data plane: {planes[0]} -> {planes[1]}")
    return "; ".join(parts)


def _remarks_of(key: FigureKey, sample: VariantSample, compared: _Compared) -> Iterable[str]:
    attempted = compared.attempted.get((key.scenario, key.condition, key.test), 0)
    if sample.values.n < attempted:
        yield f"{sample.values.n} of {attempted} measured"
    if not attempted and not sample.remarks:
        yield "not run"
    yield from sample.remarks
    if sample.slow_start:
        yield "slow start, not the VPN"


def _corrected(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The rows with Holm's p over the variants that share test, condition and figure, and why there is no p."""
    together: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        together.setdefault((row["test"], row["condition"], row["figure"]), []).append(place)
    made: dict[int, dict[str, object]] = {}
    for places in together.values():
        pairs = sum(bool(rows[place]["n_base"] and rows[place]["n_variant"]) for place in places)
        kept = [_with_p(rows[place], pairs) for place in places]
        adjusted = holm([row["p"] for row in kept])  # type: ignore[misc]  # p is float or None by construction
        made |= {place: {**row, "p_holm": p} for place, row, p in zip(places, kept, adjusted, strict=True)}
    return [made[place] for place in range(len(rows))]


def _with_p(row: dict[str, object], pairs: int) -> dict[str, object]:
    """The row; without its p, and with the reason, where figures are too few for any p to reject."""
    sizes = (int(str(row["n_base"])), int(str(row["n_variant"])))
    if row["p"] is None or can_reject(*sizes, pairs):
        return row
    few = f"{min(sizes)} figures, a test of these pairs needs {fewest_for_test(pairs)}"
    return {**row, "p": None, "note": "; ".join(part for part in (str(row["note"]), few) if part)}
