"""Tables from a run's journal beside the results: what setting up took, and every figure that a test gave."""

from collections.abc import Iterable, Iterator

import polars as pl

from vpnmesh.documents.numbers import finite
from vpnmesh.frames.schemas import FIGURE_COLUMNS, FIGURES
from vpnmesh.measurements import figure_named
from vpnmesh.study.journal import JournalEvent, PairDiagnosed, RepetitionEnded, ScenarioUp, of_kind

_REPETITION = ("scenario", "condition", "test", "pair", "repetition")

SETUP: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "data_plane": pl.String(),
    "visits": pl.Int64(),
    "setup_steps_mean": pl.Float64(),
    "setup_s_mean": pl.Float64(),
    "setup_s_sd": pl.Float64(),
}
"""A row per scenario: steps are changes of nodes, seconds run until every pair was on the scenario's path.

Further columns `PHASE_s_mean` follow, one per phase that the run timed.
"""


def setup(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """What setting each scenario up took, as means over its visits; journals that timed nothing give no row."""
    rows = [row for event in of_kind(events, ScenarioUp) if (row := _set_up(event))]
    if not rows:
        return pl.DataFrame(schema=SETUP)
    phases = list(dict.fromkeys(name for row in rows for name in row if name.endswith("_s_mean")))
    single = {"scenario": pl.String(), "data_plane": pl.String(), "steps": pl.Float64(), "s": pl.Float64()}
    frame = pl.DataFrame(rows, schema={**single, **dict.fromkeys(phases, pl.Float64())})
    return frame.group_by("scenario", maintain_order=True).agg(
        pl.col("data_plane").drop_nulls().unique().sort().str.join("+"),
        pl.len().cast(pl.Int64).alias("visits"),
        pl.col("steps").mean().alias("setup_steps_mean"),
        pl.col("s").mean().alias("setup_s_mean"),
        pl.col("s").std().alias("setup_s_sd"),
        *[pl.col(name).mean() for name in phases],
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


STACKS: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "node": pl.String(),
    "of": pl.String(),
    "seen": pl.String(),
}
"""A row per thing that a scenario's VPN was seen to use of a node's network stack (`vpnmesh.host.stack_in_use`)."""


def stacks(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """What was seen on each node, once though several visits saw the same."""
    rows = [
        (event.scenario, node, of, seen)
        for event in of_kind(events, ScenarioUp)
        for node, found in event.stack.items()
        for of, seen in found.items()
    ]
    return pl.DataFrame(rows, schema=STACKS, orient="row").unique(maintain_order=True)


WHY: dict[str, pl.DataType] = {
    name: pl.String()
    for name in ("scenario", "pair", "about", "path", "effect", "cause", "where", "found", "shown_by", "do")
}
"""A row per finding of a diagnosis (docs/why.md); one without any finding has a row that says so."""


def diagnoses(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """Why pairs failed, were relayed or did not come up, as often as it was asked."""
    rows = [row for event in of_kind(events, PairDiagnosed) for row in _diagnosed(event)]
    return pl.DataFrame(rows, schema=WHY, orient="row").unique(maintain_order=True)


def _diagnosed(event: PairDiagnosed) -> Iterator[tuple[str | None, ...]]:
    cell = " ".join(
        str(part) for part in (event.about, event.condition, event.test, event.repetition) if part
    )
    head = (event.scenario, event.pair, cell, event.path)
    for one in event.findings:
        shown = "; ".join(
            f"{e.get('node', '')}: {e.get('command', '')} -> {e.get('said', '')}" for e in one.evidence
        )
        yield (*head, one.effect, one.cause, one.where, one.said, shown, one.do)
    if not event.findings:
        yield (*head, None, None, None, "no cause was found", None, None)


def figures_of(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """A row per figure of every measured repetition, those with a column in the results too (`schemas.FIGURES`).

    A later line of the same repetition replaces the earlier one. A figure that no module here declares has no unit.
    """
    found = {
        tuple(getattr(event, name) for name in _REPETITION): dict(_figures(event))
        for event in of_kind(events, RepetitionEnded)
        if event.outcome == "measured"
    }
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


def further_samples(events: Iterable[JournalEvent]) -> pl.DataFrame:
    """The rows of `figures_of` that have no column in the results table."""
    return figures_of(events).filter(~pl.col("figure").is_in(FIGURE_COLUMNS))


def _figures(event: RepetitionEnded) -> Iterator[tuple[str, float]]:
    """The figures of a repetition: those with a column first, then those that are its `samples`."""
    columns = event.columns()
    for name, value in (*((name, columns.get(name)) for name in FIGURE_COLUMNS), *event.samples.items()):
        if (figure := finite(value)) is not None:
            yield name, figure


def _unit(test: object, name: str) -> str:
    figure = figure_named(str(test), name)
    return figure.unit if figure else ""
