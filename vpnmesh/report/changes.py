"""Two studies compared: which cells changed, by how much, how surely; and the gate that a release must pass.

What a figure means must be the same in both (`vpnmesh.report.setting.refuse_unlike`). Rates are compared as they are
when both come from the same kernel, machine and pair of nodes; otherwise each is first divided by its own baseline's
mean, since machines differ. Versions of what is under test may differ: that is what a comparison is for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl
from pydantic import ConfigDict, StrictBool, StrictFloat, StrictInt
from scipy import special

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import CellKey, CellSample, cell_samples, pairs_of
from vpnmesh.report.identity import MACHINE_KEYS
from vpnmesh.report.judged_cells import JudgedCell
from vpnmesh.report.setting import refuse_unlike
from vpnmesh.report.tables import Study
from vpnmesh.stats.compare import ALPHA, can_reject, holm, mann_whitney
from vpnmesh.stats.describe import Summary
from vpnmesh.stats.intervals import fewest_for_interval

CHANGES: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "basis": pl.String(),
    "n_a": pl.Int64(),
    "n_b": pl.Int64(),
    "mean_a": pl.Float64(),
    "mean_b": pl.Float64(),
    "b_over_a": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_holm": pl.Float64(),
    "change": pl.String(),
}
_CONFIDENCE = 0.95
CellSamples = Mapping[CellKey, CellSample]


@dataclass(frozen=True, slots=True)
class Gate:
    """A cell fails when it got slower by more than `margin_pct` with this certainty (one-sided).

    `relative` = every figure is divided by its own run's baseline also where the machine is the same: what else a
    shared machine did meanwhile then weighs on both, and cancels as far as the run took turns.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    margin_pct: StrictFloat | StrictInt = 5.0
    certainty: StrictFloat = 0.95
    relative: StrictBool = False

    def __post_init__(self) -> None:
        """InputError where the two are no percentages and shares."""
        if not 0 <= self.margin_pct < 100:  # noqa: PLR2004 - percent
            raise InputError("--gate", f"margin_pct {self.margin_pct} is not in [0, 100)")
        if not 0.5 < self.certainty < 1:  # noqa: PLR2004 - a coin's certainty is none
            raise InputError("--gate", f"certainty {self.certainty} is not between 0.5 and 1")


@dataclass(frozen=True, slots=True)
class LogRatio:
    """The logarithm of a ratio of means with its standard error (delta method) and degrees of freedom."""

    value: float
    error: float
    freedom: float

    def bound(self, tail: float) -> float:
        """The ratio below which it lies with probability 1 - tail."""
        return math.exp(self.value + float(special.stdtrit(self.freedom, 1 - tail)) * self.error)

    def certainty_below(self, ratio: float) -> float:
        """How sure one may be that the true ratio is below this one."""
        if self.error == 0:
            return float(self.value < math.log(ratio))
        return float(special.stdtr(self.freedom, (math.log(ratio) - self.value) / self.error))


def differences(a: Study, b: Study, keys: Sequence[str]) -> list[str]:
    """In which of these keys the two studies' provenance differs, in words."""
    return [
        f"{key}: {_shown(a.provenance.get(key))} against {_shown(b.provenance.get(key))}"
        for key in keys
        if a.provenance.get(key) != b.provenance.get(key)
    ]


def _shown(value: object) -> str:
    return "not recorded" if value is None else str(value)[:120]


def another_machine(a: Study, b: Study) -> bool:
    """Whether rates can only be compared by each run's own baseline: other machines, kernel or nodes."""
    pairs = [pairs_of(study.samples) for study in (a, b)]
    return pairs[0] != pairs[1] or bool(differences(a, b, MACHINE_KEYS))


def _divided_by(a: Study, b: Study) -> tuple[str, ...]:
    """The baselines that each study's rates are divided by before they are compared; none on the same machine."""
    return a.scenarios.baselines if another_machine(a, b) else ()


def changes(a: Study, b: Study) -> pl.DataFrame:
    """A row per cell that both studies measured; `change` is faster, slower, `none seen`, or `too few` figures.

    Changed = Mann-Whitney rejects after Holm over all cells (same machine), or the 95 % interval of the ratio
    excludes 1 (relative to the baseline, where single figures cannot be compared). InputError without a
    common cell, or where the two measured different things.
    """
    refuse_unlike(a, b)
    cells_a, cells_b = _cells(a), _cells(b)
    common = [cell for cell in cells_a if cell in cells_b]
    if not common:
        raise InputError("--compare", "the two have no cell in common")
    baselines = _divided_by(a, b)
    # a p that figures of this number can never bring below 0.05 would only look like equality
    judged = [cell for cell in common if cell[0] not in baselines]
    rows = [_row(cell, cells_a, cells_b, baselines, len(common)) for cell in judged]
    adjusted = holm([row["p"] for row in rows])  # type: ignore[misc]  # p is float or None by construction
    for row, p_holm in zip(rows, adjusted, strict=True):
        row["p_holm"] = p_holm
        row["change"] = _change(row)
    return pl.DataFrame(rows, schema=CHANGES, orient="row")


def _cells(study: Study) -> dict[CellKey, CellSample]:
    return cell_samples(study.samples, study.scenarios)


def _row(
    cell: CellKey, a: CellSamples, b: CellSamples, baselines: Sequence[str], pairs: int
) -> dict[str, object]:
    ratio = log_ratio(cell, a, b, baselines)
    test = mann_whitney(a[cell].tally, b[cell].tally)
    tail = (1 - _CONFIDENCE) / 2
    return {
        "scenario": cell[0],
        "condition": cell[1],
        "test": cell[2],
        "basis": "own baseline" if baselines else "rate",
        "n_a": test.n_a,
        "n_b": test.n_b,
        "mean_a": a[cell].tally.summary().mean,
        "mean_b": b[cell].tally.summary().mean,
        "b_over_a": math.exp(ratio.value) if ratio else None,
        "low": ratio.bound(1 - tail) if ratio else None,
        "high": ratio.bound(tail) if ratio else None,
        "p": None if baselines or not can_reject(test.n_a, test.n_b, pairs) else test.p,
    }


def log_ratio(
    cell: CellKey, a: CellSamples, b: CellSamples, baselines: Sequence[str] = ()
) -> LogRatio | None:
    """The change from a to b, each divided by its own first baseline of these, where there are any.

    None below the figures that an interval needs (`fewest_for_interval`), or where no baseline is in both.
    """
    parts = [b[cell], a[cell]]
    if baselines:
        baseline = next((key for name in baselines if (key := (name, *cell[1:])) in a and key in b), None)
        if baseline is None:
            return None
        parts += [a[baseline], b[baseline]]
    return ratio_of([part.tally.summary() for part in parts])


def ratio_of(summaries: Sequence[Summary]) -> LogRatio | None:
    """The change between these samples: after, before, and where each has one the baseline before and after.

    None where one has fewer figures than an interval needs.
    """
    if any(summary.n < fewest_for_interval() or not summary.mean for summary in summaries):
        return None
    signs = (1, -1, 1, -1)
    value = sum(sign * math.log(s.mean or 1.0) for sign, s in zip(signs, summaries, strict=False))
    variances = [_relative_variance(summary) for summary in summaries]
    total = sum(variances)
    if total == 0:
        return LogRatio(value, 0.0, 1.0)
    freedom = total**2 / sum(v**2 / (s.n - 1) for v, s in zip(variances, summaries, strict=True))
    return LogRatio(value, math.sqrt(total), freedom)


def _relative_variance(summary: Summary) -> float:
    return summary.variance / summary.n / (summary.mean or 1.0) ** 2


def _change(row: Mapping[str, object]) -> str:
    low, high, ratio, p_holm = row["low"], row["high"], row["b_over_a"], row["p_holm"]
    if not isinstance(low, float) or not isinstance(high, float) or not isinstance(ratio, float):
        return "too few"
    if row["basis"] == "rate" and p_holm is None:
        return "too few"
    changed = p_holm < ALPHA if isinstance(p_holm, float) else not low <= 1 <= high
    return ("faster" if ratio > 1 else "slower") if changed else "none seen"


def lost_cells(a: Study, b: Study) -> list[str]:
    """A sentence per study with cells that the other one lacks: they are compared with nothing."""
    cells_a, cells_b = _cells(a), _cells(b)
    sides = (("first", cells_a, cells_b), ("second", cells_b, cells_a))
    alone = [(side, [" ".join(cell) for cell in own if cell not in other]) for side, own, other in sides]
    return [
        f"{len(names)} cells only in the {side} run: {', '.join(names)}" for side, names in alone if names
    ]


def unjudged_cells(a: Study, b: Study) -> list[str]:
    """The cells that both measured, but with too few figures, or without a baseline, for a gate to judge.

    InputError where that is so of every cell: a gate that judges nothing must not look like a pass.
    """
    return [cell.name for cell in gate_cells(a, b, Gate()) if cell.skipped]


def gate_failures(a: Study, b: Study, gate: Gate) -> list[str]:
    """A sentence per cell that fails the gate."""
    return [f"{cell.name}: {cell.failed}" for cell in gate_cells(a, b, gate) if cell.failed]


def gate_cells(a: Study, b: Study, gate: Gate) -> list[JudgedCell]:
    """What the gate says of each cell that a measured and b attempted: failed = it got slower than the margin.

    A cell that b attempted in vain fails, too: a release that breaks a path must not pass. A baseline that everything
    is divided by is no cell of its own. InputError where no cell that both measured can be judged.
    """
    refuse_unlike(a, b)
    cells_a, cells_b = _cells(a), _cells(b)
    baselines = a.scenarios.baselines if gate.relative else _divided_by(a, b)
    both = [cell for cell, one in cells_a.items() if cell in cells_b and one.measured]
    found = [
        _gated(cell, cells_a, cells_b, baselines, gate)
        for cell in both
        if cell[0] not in baselines or not cells_b[cell].measured
    ]
    if all(cell.skipped for cell in found):
        wanted = f"{fewest_for_interval()} figures or more of each cell" + (
            " and of a baseline" if baselines else ""
        )
        raise InputError("--gate", "no cell can be judged", f"it needs {wanted}, in both runs")
    return found


def _gated(cell: CellKey, a: CellSamples, b: CellSamples, baselines: Sequence[str], gate: Gate) -> JudgedCell:
    name, group = " ".join(cell), f"{cell[2]}.{cell[1]}"
    if not b[cell].measured:
        failed = b[cell].unavailable or f"none of {b[cell].attempted} repetitions was measured"
        return JudgedCell(name, group, failed=failed)
    ratio = log_ratio(cell, a, b, baselines)
    if ratio is None:
        return JudgedCell(name, group, skipped="too few figures, or no baseline")
    sure = ratio.certainty_below(1 - gate.margin_pct / 100)
    told = f"{math.exp(ratio.value):.3f} of before"
    if sure < gate.certainty:
        return JudgedCell(name, group, told=f"{told} (certainty {sure:.4f})")
    failed = f"{told}, slower by more than {gate.margin_pct:g} % (certainty {sure:.4f})"
    return JudgedCell(name, group, failed=failed)
