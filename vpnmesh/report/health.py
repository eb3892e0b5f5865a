"""A cluster's health as tables: a row per span of every repetition, and the worst of each phase per scenario."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from vpnmesh.frames.aggregate import sort_cells
from vpnmesh.study.health import Health, Lane, Phase
from vpnmesh.study.health_raw import ENDED, REMOVED, RESCHEDULED
from vpnmesh.study.scenarios import Catalogue

TEST = "cluster-health"
PHASE, PUT_BACK, UNHEARD = "phase", "put back", "unheard"
"""Further lanes of the timeline: the phases themselves, and when vpnmesh put routes back; and what never answered."""

_KEY: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "pair": pl.String(),
    "repetition": pl.Int64(),
}
TIMELINE: dict[str, pl.DataType] = {
    **_KEY,
    "lane": pl.String(),
    "subject": pl.String(),
    "state": pl.String(),
    "from_s": pl.Float64(),
    "to_s": pl.Float64(),
}
"""Seconds since the first phase; `lane` is what was watched, or `phase`."""
_FIGURES = {
    "api_outage_s": Lane.API_NODE,
    "pod_api_outage_s": Lane.API_POD,
    "pods_outage_s": Lane.PODS,
    "watch_broken_s": Lane.WATCH,
    "not_ready_s": Lane.NODES,
    "endpoints_missing_s": Lane.ENDPOINTS,
    "routes_missing_s": Lane.ROUTES,
}
_COUNTS = {
    "watch_reconnects": (Lane.WATCH, ENDED),
    "endpoints_removed": (Lane.ENDPOINTS, REMOVED),
    "pods_rescheduled": (Lane.ENDPOINTS, RESCHEDULED),
}
PHASES: dict[str, pl.DataType] = {
    **_KEY,
    "phase": pl.String(),
    "seconds": pl.Float64(),
    "path_s": pl.Float64(),
    **dict.fromkeys(_FIGURES, pl.Float64()),
    **dict.fromkeys(_COUNTS, pl.Int64()),
    "put_back": pl.Boolean(),
}
"""A row per repetition and phase; seconds are the longest in it."""
HEALTH: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "phase": pl.String(),
    "n": pl.Int64(),
    "path_s": pl.Float64(),
    "convergence_s": pl.Float64(),
    **dict.fromkeys(_FIGURES, pl.Float64()),
    **dict.fromkeys(_COUNTS, pl.Int64()),
    "put_back": pl.Int64(),
}
"""The worst of all repetitions; `convergence_s` is the mean that the convergence test of the same run gave."""
_CONVERGENCE = {"to-relay": "to_relay_s", "to-direct": "to_direct_s", "worker-restart": "restart_s"}
Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class HealthTables:
    """What a run's raw output says of its cluster's health."""

    timeline: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TIMELINE))
    phases: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PHASES))


def health_tables(found: Sequence[tuple[Key, Health]]) -> HealthTables:
    """The tables of these repetitions."""
    spans = [(*key, *row) for key, health in found for row in _spans(health)]
    phases = [(*key, *_figures(health, phase)) for key, health in found for phase in health.phases]
    return HealthTables(
        pl.DataFrame(spans, schema=TIMELINE, orient="row"), pl.DataFrame(phases, schema=PHASES, orient="row")
    )


def _spans(health: Health) -> Iterator[tuple[str, str, str, float, float]]:
    for phase in health.phases:
        yield PHASE, phase.name, PHASE, phase.from_s, phase.to_s
        if phase.put_back_s is not None:
            yield PUT_BACK, phase.name, PUT_BACK, phase.put_back_s, phase.put_back_s
    for span in health.spans:
        yield str(span.lane), span.subject, span.state, span.from_s, span.to_s
    for event in health.events:
        yield str(event.lane), event.subject, event.what, event.at_s, event.at_s
    for lane in set(Lane) - health.watched:
        yield str(lane), "", UNHEARD, 0.0, health.phases[-1].to_s


def _figures(health: Health, phase: Phase) -> tuple[object, ...]:
    seconds = [
        round(health.longest_s(lane, phase), 3) if lane in health.watched else None
        for lane in _FIGURES.values()
    ]
    counts = [health.happened(lane, what, phase) for lane, what in _COUNTS.values()]
    length_s = round(phase.to_s - phase.from_s, 3)
    return (phase.name, length_s, phase.path_s, *seconds, *counts, phase.put_back_s is not None)


def health(phases: pl.DataFrame, figures: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """The worst of each phase per scenario and condition, beside what the convergence test measured."""
    if phases.is_empty():
        return pl.DataFrame(schema=HEALTH)
    worst = phases.group_by("scenario", "condition", "phase", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("path_s").max(),
        *(pl.col(name).max() for name in (*_FIGURES, *_COUNTS)),
        pl.col("put_back").sum().cast(pl.Int64),
    )
    names = pl.DataFrame(
        list(_CONVERGENCE.items()), schema={"phase": pl.String(), "figure": pl.String()}, orient="row"
    )
    means = (
        figures.filter(test="convergence")
        .join(names, on="figure")
        .group_by("scenario", "condition", "phase")
        .agg(pl.col("value").mean().alias("convergence_s"))
    )
    rows = worst.join(means, on=["scenario", "condition", "phase"], how="left", maintain_order="left")
    return sort_cells(rows.with_columns(test=pl.lit(TEST)), catalogue).select(*HEALTH)
