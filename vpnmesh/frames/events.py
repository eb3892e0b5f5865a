"""What a run's journal holds beside the results table: what setting up took, and figures that have no column there."""

from collections.abc import Iterable, Mapping
from math import isfinite

import polars as pl

from vpnmesh.frames.order import scenarios_in_order

Lines = Iterable[Mapping[str, object]]

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


def setup(lines: Lines) -> pl.DataFrame:
    """What standing each scenario up took, as means over its visits; journals that timed nothing give no row."""
    rows = [row for line in lines if line.get("type") == "standing" and (row := _standing(line))]
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


def _standing(line: Mapping[str, object]) -> dict[str, object] | None:
    scenario, steps, seconds = line.get("scenario"), number(line.get("setup_steps")), line.get("setup_s")
    if not isinstance(scenario, str) or steps is None or number(seconds) is None:
        return None
    phases = line.get("setup_seconds")
    timed = phases.items() if isinstance(phases, Mapping) else ()
    plane = line.get("data_plane")
    return {
        "scenario": scenario,
        "data_plane": plane if isinstance(plane, str) else None,
        "steps": steps,
        "s": number(seconds),
        **{f"{name}_s_mean": found for name, value in timed if (found := number(value)) is not None},
    }


def number(value: object) -> float | None:
    """A finite number of a document as such; None for whatever else stands there."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if whole else None  # type: ignore[arg-type]  # a number by the line above


def further_samples(lines: Lines) -> pl.DataFrame:
    """The `samples` of measured repetitions, a row each; a later line of the same repetition replaces the earlier."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for line in lines:
        samples = line.get("samples")
        if line.get("type") != "repetition" or not isinstance(samples, Mapping):
            continue
        key = {name: line.get(name) for name in ("scenario", "condition", "test", "repetition")}
        for figure, value in samples.items():
            if (found := number(value)) is not None:
                rows[(*key.values(), figure)] = {**key, "figure": str(figure), "value": found}
    return pl.DataFrame(list(rows.values()), schema=SAMPLES, orient="row")
