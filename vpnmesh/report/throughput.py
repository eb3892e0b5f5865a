"""Throughput by cell: Tables A1 and A2, and beside them what those leave out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import CellKey, CellSample, in_order
from vpnmesh.impairment.engine import PORT_RATE_MBIT_S
from vpnmesh.model import Condition
from vpnmesh.report.style import capped_by
from vpnmesh.stats.caps import cap_mbit_s, near_cap
from vpnmesh.stats.describe import Summary
from vpnmesh.stats.drift import drift
from vpnmesh.stats.intervals import fewest_for_interval, mean_interval
from vpnmesh.stats.slow_start import MOSTLY, share_in_slow_start, slow_start_s
from vpnmesh.study.scenarios import Catalogue

PAPER_COLUMNS: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "attempted": pl.Int64(),
    "measured": pl.Int64(),
    "mean_mbit_s": pl.Float64(),
    "sd_mbit_s": pl.Float64(),
    "cv": pl.Float64(),
}
"""What Tables A1 and A2 print of a cell by itself; a ratio to each baseline follows (`ratio_column`)."""

BEYOND: dict[str, pl.DataType] = {
    "median_mbit_s": pl.Float64(),
    "lowest_mbit_s": pl.Float64(),
    "highest_mbit_s": pl.Float64(),
    "mean_low": pl.Float64(),
    "mean_high": pl.Float64(),
    "cap_mbit_s": pl.Float64(),
    "cap_share": pl.Float64(),
    "near_cap": pl.Boolean(),
    "slow_start_s": pl.Float64(),
    "slow_start_share": pl.Float64(),
    "slow_start": pl.Boolean(),
    "lag1": pl.Float64(),
    "trend_tau": pl.Float64(),
    "trend_p": pl.Float64(),
    "effective_n": pl.Float64(),
    "pairs": pl.Int64(),
    "warning": pl.String(),
}
"""Columns after the paper's; `pairs` is how many, where there are several; `warning` says in words what a reader must
know before using the row."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """How cells were measured: decides whether a figure tells of the VPN, of netem's queue or of slow start.

    `netem_limit` in packets, None = sized to the delay or not netem; `duration_s` None = not recorded. `steady` figures
    count from when a flow is steady: there is no slow start in them.
    """

    pod_mtu: Mapping[str, int] = field(default_factory=dict)
    netem_limit: int | None = None
    duration_s: float | None = None
    omit_s: float = 0.0
    port_rate_mbit_s: float = PORT_RATE_MBIT_S
    steady: bool = False


def ratio_column(baseline: str) -> str:
    """The column that holds the ratios to that baseline: `ratio_native_1450`."""
    return f"ratio_{baseline.replace('-', '_')}"


def columns(catalogue: Catalogue) -> dict[str, pl.DataType]:
    """The columns of the paper's Tables A1 and A2 (a ratio to each baseline), then those beyond them."""
    return {**PAPER_COLUMNS, **{ratio_column(name): pl.Float64() for name in catalogue.baselines}, **BEYOND}


def throughput(cells: Mapping[CellKey, CellSample], how: Measuring, catalogue: Catalogue) -> pl.DataFrame:
    """A row per cell, also where nothing was measured; ratios are baseline mean / scenario mean."""
    summaries = {key: cell.tally.summary() for key, cell in cells.items()}
    schema = columns(catalogue)
    rows = []
    for key in in_order(list(cells), catalogue):
        row = _described(cells[key], summaries[key])
        row |= {ratio_column(name): _ratio(summaries, key, name) for name in catalogue.baselines}
        row |= _capped(key, summaries[key].mean, how)
        # a run knows the limit of each cell's queue; the study has one limit for all cells
        if (said := cells[key].near_cap) is not None:
            row["near_cap"] = said
        row |= _started(cells[key], summaries, how)
        row |= _in_time(cells[key])
        row["pairs"] = len(cells[key].by_pair) or None
        row["adopted"] = cells[key].adopted
        row["warning"] = _warning(row, cells[key].unavailable) or None
        rows.append({name: row.get(name) for name in schema})
    return pl.DataFrame(rows, schema=schema, orient="row")


def _described(cell: CellSample, summary: Summary) -> dict[str, object]:
    interval = mean_interval(summary) if summary.n >= fewest_for_interval() else None
    return {
        "scenario": cell.scenario,
        "condition": cell.condition,
        "test": cell.test,
        "attempted": cell.attempted,
        "measured": cell.measured,
        "mean_mbit_s": summary.mean,
        "sd_mbit_s": summary.sd,
        "cv": summary.cv,
        "median_mbit_s": cell.tally.quantile(0.5),
        "lowest_mbit_s": float(cell.rates.min()) if cell.measured else None,
        "highest_mbit_s": float(cell.rates.max()) if cell.measured else None,
        "mean_low": interval.low if interval else None,
        "mean_high": interval.high if interval else None,
    }


def _ratio(summaries: Mapping[CellKey, Summary], key: CellKey, baseline: str) -> float | None:
    base = summaries.get((baseline, *key[1:]))
    own = summaries[key].mean
    return base.mean / own if base is not None and base.mean is not None and own else None


def _capped(key: CellKey, mean: float | None, how: Measuring) -> dict[str, object]:
    """How near the mean is to the ceiling of netem's queue or a limited rate (`stats.caps`); empty without one."""
    condition, pod_mtu = _condition(key[1]), how.pod_mtu.get(key[0])
    if condition is None:
        return {}
    cap = cap_mbit_s(condition.delay_ms, pod_mtu, how.netem_limit, condition.rate_mbit_s) if pod_mtu else None
    if cap is None or mean is None:
        return {"cap_mbit_s": cap}
    return {"cap_mbit_s": cap, "cap_share": mean / cap, "near_cap": near_cap(mean, cap)}


def _condition(name: str) -> Condition | None:
    try:
        return Condition.parse(name)
    except InputError:
        return None


def _started(
    cell: CellSample, summaries: Mapping[CellKey, Summary], how: Measuring
) -> dict[str, float | bool | None]:
    """How much of the measured seconds TCP spends in slow start under the delay (`stats.slow_start`).

    The path's rate is the scenario's own undisturbed mean, else what the ports carry. Nothing is said of steady
    figures, under loss (the first lost packet ends slow start), without a delay, nor where the seconds or the MTU are
    not recorded.
    """
    condition, pod_mtu = _condition(cell.condition), how.pod_mtu.get(cell.scenario)
    judged = (
        cell.test == "tcp"
        and cell.measured
        and condition
        and condition.delay_ms
        and not condition.loss_pct
        and condition.is_plain
    )
    if how.steady or not judged or condition is None or not how.duration_s or not pod_mtu:
        return {}
    undisturbed = summaries.get((cell.scenario, "none", cell.test))
    rate = undisturbed.mean if undisturbed and undisturbed.mean else how.port_rate_mbit_s
    rate = min(rate, cap_mbit_s(condition.delay_ms, pod_mtu, how.netem_limit) or rate)
    needed = slow_start_s(rate, cell.rtt_ms or condition.delay_ms, pod_mtu)
    share = share_in_slow_start(needed, how.omit_s, how.duration_s)
    return {"slow_start_share": share, "slow_start": share >= MOSTLY, "slow_start_s": needed}


def _in_time(cell: CellSample) -> dict[str, object]:
    found = drift(cell.in_time)
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
    if row.get("adopted"):
        parts.append(f"{row['adopted']} of {measured} measured in adopted surroundings, which are others")
    if row.get("pairs"):
        parts.append(f"over {row['pairs']} pairs: mean, deviation and interval are of the pairs' means")
    if row.get("near_cap"):
        share = row.get("cap_share")
        place = "near" if share is None else f"at {share:.0%} of"
        what = capped_by(str(row["condition"]))
        parts.append(
            f"{place} what {what} lets through: that says more about the {what.split()[-1]} than about the VPN"
        )
    if row.get("slow_start"):
        parts.append(
            f"slow start, not the VPN: TCP needs {row['slow_start_s']:.1f} s here to fill the path, and"
            f" {row['slow_start_share']:.0%} of the measured seconds lie before that"
        )
    return "; ".join(part for part in (*parts, str(row["warning"])) if part)
