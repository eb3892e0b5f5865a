"""Drift over time: every cell as a line of its repetitions in the order they were taken, the suspicious ones marked."""

from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report import canvas
from vpnmesh.report.style import condition_title, looks
from vpnmesh.report.svg import INK
from vpnmesh.stats.drift import FEWEST_FOR_TREND
from vpnmesh.study.scenarios import Catalogue

_MOST_STEPS = 120


def drift(measured: pl.DataFrame, means: pl.DataFrame, test: str, catalogue: Catalogue) -> str:
    """A small line per cell: deviation from the cell's mean, each on its own scale, written beside it."""
    title = f"{test.upper()} throughput over time, each cell around its own mean"
    flagged = flagged_cells(means)
    return canvas.draw(f"drift-{test}", title, partial(_drift, measured, flagged, catalogue))


def flagged_cells(means: pl.DataFrame) -> dict[tuple[str, str], str]:
    """The mark of each cell that the statistics warn of, by scenario and condition."""
    marks = {}
    for row in means.to_dicts():
        warning = row["warning"] or ""
        parts = [f"r {row['lag1']:+.2f}"] if "autocorrelation" in warning else []
        parts += [f"trend p {row['trend_p']:.1g}"] if "drifts" in warning else []
        if parts:
            marks[row["scenario"], row["condition"]] = ", ".join(parts)
    return marks


def _drift(measured: pl.DataFrame, flagged: dict[tuple[str, str], str], catalogue: Catalogue) -> Figure:
    styles = looks(measured["scenario"].unique(), catalogue)
    scenarios = tuple(styles)
    conditions = conditions_in_order(measured["condition"].unique())
    width, height = 1.15 + 1.5 * len(conditions), 0.7 + 0.62 * len(scenarios)
    figure = Figure(figsize=(width, height))
    panel = figure.add_axes((1.1 / width, 0.3 / height, 1 - 1.15 / width, 1 - 0.6 / height))
    canvas.rows(panel, scenarios)
    panel.set_xlim(0, len(conditions))
    panel.set_xticks(np.arange(len(conditions)) + 0.46, [condition_title(name) for name in conditions])
    panel.xaxis.tick_top()
    panel.tick_params(axis="x", length=0)
    panel.grid(visible=False)
    panel.set_frame_on(False)
    order = measured.sort("started_at", "sequence", "repetition", nulls_last=True)
    lines, colours, grounds = [], [], []
    for (scenario, condition), cell in order.group_by(["scenario", "condition"], maintain_order=True):
        place = (conditions.index(str(condition)), scenarios.index(str(scenario)))
        if cell.height < FEWEST_FOR_TREND:
            text = f"{cell.height}: too few"
            panel.text(
                place[0] + 0.03, place[1] - 0.3, text, fontsize=7, va="center", style="italic", alpha=0.6
            )
            continue
        warning = flagged.get((str(scenario), str(condition)))
        lines.append(_sparkline(panel, place, cell["rate_mbit_s"].to_numpy(), warning))
        colours.append(styles[str(scenario)].colour)
        grounds.append(((place[0] + 0.03, place[1] + 0.08), (place[0] + 0.91, place[1] + 0.08)))
    canvas.strokes(panel, grounds, colors=INK, linewidths=0.5, alpha=0.35)
    panel.add_collection(LineCollection(lines, colors=colours, linewidths=1.1))
    panel.set_xlabel(
        "repetitions in the order they were taken; the number is the widest deviation from the cell's mean"
    )
    return figure


def _sparkline(panel: Axes, place: tuple[int, int], values: np.ndarray, warning: str | None) -> np.ndarray:
    """The line of one cell; what is written above it is written at once."""
    column, row = place
    if len(values) > _MOST_STEPS:
        values = np.array([part.mean() for part in np.array_split(values, _MOST_STEPS)])
    mean = values.mean()
    deviation = values / mean - 1
    widest = np.abs(deviation).max() or 1.0
    x = column + 0.03 + 0.88 * (np.arange(len(values)) + 0.5) / len(values)
    y = row + 0.08 - 0.3 * deviation / widest
    text = f"±{100 * widest:.2g} %" + (f"  ▲ {warning}" if warning else "")
    weight = "bold" if warning else "normal"
    panel.text(column + 0.03, row - 0.3, text, fontsize=7, va="center", weight=weight)
    return np.column_stack([x, y])
