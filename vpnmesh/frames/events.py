"""Tables from a run's journal beside the results: what setting up took, and every figure that a test gave."""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite

import polars as pl

from vpnmesh.frames.order import scenarios_in_order
from vpnmesh.frames.schemas import FIGURE_COLUMNS, FIGURES
from vpnmesh.measurements import figure_named

Lines = Iterable[Mapping[str, object]]

_REPETITION = ("scenario", "condition", "test", "pair", "repetition")

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
    """A finite number of a document as such; None for whatever else is there."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if whole else None  # type: ignore[arg-type]  # a number by the line above


def figures_of(lines: Lines) -> pl.DataFrame:
    """A row per figure of every measured repetition, those with a column in the results too (`schemas.FIGURES`).

    A later line of the same repetition replaces the earlier one. A figure that no module here declares has no unit.
    """
    found: dict[tuple[object, ...], dict[str, float]] = {}
    for line in lines:
        if line.get("type") == "repetition" and line.get("outcome") == "measured":
            found[tuple(line.get(name) for name in _REPETITION)] = dict(_figures(line))
    rows = [
        {
            **dict(zip(_REPETITION, key, strict=True)),
            "figure": name,
            "unit": _unit(key[2], name),
            "value": value,
        }
        for key, figures in found.items()
        for name, value in figures.items()
    ]
    return pl.DataFrame(rows, schema=FIGURES, orient="row")


def further_samples(lines: Lines) -> pl.DataFrame:
    """The rows of `figures_of` that have no column in the results table."""
    return figures_of(lines).filter(~pl.col("figure").is_in(FIGURE_COLUMNS))


def _figures(line: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """The figures of a line: those with a column first, then those that are its `samples`."""
    samples = line.get("samples")
    further = samples.items() if isinstance(samples, Mapping) else ()
    for name, value in (*((name, line.get(name)) for name in FIGURE_COLUMNS), *further):
        if (figure := number(value)) is not None:
            yield str(name), figure


def _unit(test: object, name: str) -> str:
    figure = figure_named(str(test), name)
    return figure.unit if figure else ""
