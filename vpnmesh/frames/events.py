"""What a run's journal holds beside the results table: what setting up took, and figures that have no column there."""

from collections.abc import Iterable

import polars as pl

from vpnmesh.frames.order import scenarios_in_order
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, ScenarioUp, of_kind

SETUP: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "data_plane": pl.String(),
    "visits": pl.Int64(),
    "setup_steps_mean": pl.Float64(),
    "setup_s_mean": pl.Float64(),
    "setup_s_sd": pl.Float64(),
}
"""A row per scenario: steps are changes of nodes, seconds run until every pair stood on the scenario's path.

Further columns `PHASE_s_mean` follow, one per phase that the run timed.
"""

SAMPLES: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "repetition": pl.Int64(),
    "figure": pl.String(),
    "value": pl.Float64(),
}
"""A row per figure of a repetition; its unit is the end of its name (`rtt_ms`, `to_relay_s`)."""


def setup(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """What setting each scenario up took, as means over its visits; journals that timed nothing give no row."""
    rows = [row for event in of_kind(events, ScenarioUp) if (row := _set_up(event))]
    if not rows:
        return pl.DataFrame(schema=SETUP)
    phases = list(dict.fromkeys(name for row in rows for name in row if name.endswith("_s_mean")))
    single = {"scenario": pl.String(), "data_plane": pl.String(), "steps": pl.Float64(), "s": pl.Float64()}
    frame = pl.DataFrame(rows, schema={**single, **dict.fromkeys(phases, pl.Float64())})
    order = {name: place for place, name in enumerate(scenarios_in_order(frame["scenario"]))}
    return (
        frame.group_by("scenario", maintain_order=True)
        .agg(
            pl.col("data_plane").drop_nulls().unique().sort().str.join("+"),
            pl.len().cast(pl.Int64).alias("visits"),
            pl.col("steps").mean().alias("setup_steps_mean"),
            pl.col("s").mean().alias("setup_s_mean"),
            pl.col("s").std().alias("setup_s_sd"),
            *[pl.col(name).mean() for name in phases],
        )
        .sort(pl.col("scenario").replace_strict(order, return_dtype=pl.Int64))
    )


def _set_up(event: ScenarioUp) -> dict[str, object] | None:
    if not event.scenario or event.setup_steps is None or event.setup_s is None:
        return None
    return {
        "scenario": event.scenario,
        "data_plane": event.data_plane,
        "steps": float(event.setup_steps),
        "s": event.setup_s,
        **{f"{name}_s_mean": value for name, value in event.setup_seconds.items()},
    }


def further_samples(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """The `samples` of measured repetitions, a row each; a later line of the same repetition replaces the earlier."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for event in of_kind(events, RepetitionEnded):
        key = {
            "scenario": event.scenario,
            "condition": event.condition,
            "test": str(event.test),
            "repetition": event.repetition,
        }
        for figure, value in event.samples.items():
            rows[(*key.values(), figure)] = {**key, "figure": figure, "value": value}
    return pl.DataFrame(list(rows.values()), schema=SAMPLES, orient="row")
