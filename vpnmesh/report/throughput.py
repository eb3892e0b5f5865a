"""Throughput by cell: Tables A1 and A2, and beside them what those leave out."""

from collections.abc import Mapping

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import Cell, CellSample, in_order
from vpnmesh.frames.order import BASELINES
from vpnmesh.model import Condition
from vpnmesh.stats.caps import NEAR_CAP, cap_mbit_s
from vpnmesh.stats.describe import Summary
from vpnmesh.stats.drift import drift
from vpnmesh.stats.intervals import mean_interval

BEYOND: dict[str, pl.DataType] = {
    "median_mbit_s": pl.Float64(),
    "mean_low": pl.Float64(),
    "mean_high": pl.Float64(),
    "cap_mbit_s": pl.Float64(),
    "cap_share": pl.Float64(),
    "near_cap": pl.Boolean(),
    "lag1": pl.Float64(),
    "trend_tau": pl.Float64(),
    "trend_p": pl.Float64(),
    "effective_n": pl.Float64(),
    "warning": pl.String(),
}
"""Columns after the paper's; `warning` says in words what a reader must know before using the row."""


def throughput(
    cells: Mapping[Cell, CellSample],
    schema: Mapping[str, pl.DataType],
    pod_mtu: Mapping[str, int],
    netem_limit: int | None,
) -> pl.DataFrame:
    """A row per cell, also where nothing was measured; ratios are baseline mean / scenario mean."""
    summaries = {key: cell.tally.summary() for key, cell in cells.items()}
    rows = []
    for key in in_order(list(cells)):
        row = _described(cells[key], summaries[key])
        row |= {f"ratio_{name.replace('-', '_')}": _ratio(summaries, key, name) for name in BASELINES}
        row |= _capped(key, summaries[key].mean, pod_mtu.get(key[0]), netem_limit)
        # a run that read the queue's limit from the kernel knows better than one figure for all cells
        row["near_cap"] = row.get("near_cap") or cells[key].near_cap
        row |= _in_time(cells[key])
        row["warning"] = _warning(row, cells[key].unavailable) or None
        rows.append(row)
    return pl.DataFrame(rows, schema={**schema, **BEYOND}, orient="row")


def _described(cell: CellSample, summary: Summary) -> dict[str, object]:
    interval = mean_interval(summary)
    return {
        "scenario": cell.scenario,
        "condition": cell.condition,
        "protocol": cell.test,
        "attempted": cell.attempted,
        "measured": cell.measured,
        "mean_mbit_s": summary.mean,
        "sd_mbit_s": summary.sd,
        "cv": summary.cv,
        "median_mbit_s": cell.tally.quantile(0.5),
        "mean_low": interval.low if interval else None,
        "mean_high": interval.high if interval else None,
    }


def _ratio(summaries: Mapping[Cell, Summary], key: Cell, baseline: str) -> float | None:
    base = summaries.get((baseline, *key[1:]))
    own = summaries[key].mean
    return base.mean / own if base is not None and base.mean is not None and own else None


def _capped(key: Cell, mean: float | None, pod_mtu: int | None, limit: int | None) -> dict[str, object]:
    """How near the mean is to netem's ceiling (`stats.caps`); nothing where there is none."""
    try:
        delay_ms = Condition.parse(key[1]).delay_ms
    except InputError:
        return {}
    cap = cap_mbit_s(delay_ms, pod_mtu, limit) if pod_mtu else None
    share = mean / cap if cap and mean is not None else None
    return {"cap_mbit_s": cap, "cap_share": share, "near_cap": None if share is None else share >= NEAR_CAP}


def _in_time(cell: CellSample) -> dict[str, object]:
    found = drift(cell.rates)
    warnings = []
    if found.dependent:
        warnings.append(
            f"lag-1 autocorrelation {found.lag1:.2f}: worth {found.effective_n:.0f} independent figures"
        )
    if found.drifting:
        warnings.append(f"drifts over time (Mann-Kendall tau {found.tau:+.2f}, p {found.p:.2g})")
    return {
        "lag1": found.lag1,
        "trend_tau": found.tau,
        "trend_p": found.p,
        "effective_n": found.effective_n,
        "warning": "; ".join(warnings),
    }


def _warning(row: Mapping[str, object], unavailable: str | None) -> str:
    attempted, measured = row["attempted"], row["measured"]
    parts = []
    if unavailable:
        parts.append(unavailable)
    elif not measured:
        parts.append("nothing measured")
    elif attempted != measured:
        parts.append(f"{attempted} attempted, {measured} measured")
    if row.get("near_cap"):
        share = row.get("cap_share")
        place = "near" if share is None else f"at {share:.0%} of"
        parts.append(
            f"{place} what netem's queue lets through: that says more about the queue than about the VPN"
        )
    return "; ".join(part for part in (*parts, str(row["warning"])) if part)
