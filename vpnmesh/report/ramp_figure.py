"""Draws how TCP flows start: throughput since the flow's start, a panel per condition, a line per scenario."""

from collections.abc import Mapping
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report import canvas
from vpnmesh.report.ramp_section import FIGURE
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.report.tables import Study

_COLUMNS = 4


def ramp_figure(study: Study) -> dict[str, str]:
    """The figure by its name; empty where there is no series of TCP flows."""
    rows = study.tables.get("ramp", pl.DataFrame())
    if rows.is_empty():
        return {}
    styles = looks(rows["scenario"].unique(), study.scenarios)
    title = "TCP throughput over time since a flow's start, per condition and scenario"
    return {FIGURE: canvas.draw(FIGURE, title, partial(_paint, rows, styles))}


def _paint(rows: pl.DataFrame, styles: Mapping[str, ScenarioLook]) -> Figure:
    conditions = conditions_in_order(rows["condition"].unique())
    figure, axes = canvas.panels(len(conditions), min(len(conditions), _COLUMNS), (2.85, 2.35), 0.6)
    for index, (panel, condition) in enumerate(zip(axes, conditions, strict=True)):
        here = rows.filter(condition=condition)
        for scenario, style in styles.items():
            _line(panel, here.filter(scenario=scenario), style)
        panel.set_title(condition_title(condition))
        panel.set_xlabel("seconds since the flow's start")
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        if index % _COLUMNS == 0:
            panel.set_ylabel("throughput, Mbit/s")
    canvas.legend(figure, styles, lines=True)
    return figure


def _line(panel: Axes, rows: pl.DataFrame, style: ScenarioLook) -> None:
    if rows.is_empty():
        return
    at, median = rows["at_s"].to_numpy(), rows["median_mbit_s"].to_numpy()
    panel.plot(at, median, color=style.colour, linewidth=1.1, linestyle=(0, style.dashes))
    band = rows.drop_nulls("quartile_low_mbit_s")
    if not band.is_empty():
        low, high = (band[f"quartile_{end}_mbit_s"].to_numpy() for end in ("low", "high"))
        panel.fill_between(band["at_s"].to_numpy(), low, high, color=style.colour, alpha=0.16, linewidth=0)
