"""The figure and the table of how flows start, as a section of the report; nothing where no run kept series."""

from collections.abc import Mapping
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report import canvas
from vpnmesh.report.page import Block, FigureBlock, Section, table_block
from vpnmesh.report.ramp import FEWEST_FOR_BAND
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.report.tables import Study

TABLES = ("ramp", "fill")
"""The tables of this section; the first is the figure's."""
FIGURE = "ramp-tcp"
_COLUMNS = 4
_CAPTION = (
    "How TCP flows start: throughput at the receiver since the flow's start, the median of a cell's flows and, from "
    f"{FEWEST_FOR_BAND} on, the band between their quartiles; each rate is the mean of the round trip that ends then. "
    "A figure counts from when its flow is steady, so what is seen here before that is in no mean."
)
_FILL = (
    "How long flows take to fill the pipe: seconds until a round trip carried nine tenths of the steady rate (median, "
    "lowest, highest), and until the flow counted as steady. Times are as fine as the series' intervals."
)


def ramp_figure(study: Study) -> dict[str, str]:
    """The figure by its name; empty where there is no series of TCP flows."""
    rows = study.tables.get("ramp", pl.DataFrame())
    if rows.is_empty():
        return {}
    styles = looks(rows["scenario"].unique(), study.scenarios)
    title = "TCP throughput over time since a flow's start, per condition and scenario"
    return {FIGURE: canvas.draw(FIGURE, title, partial(_paint, rows, styles))}


def ramp_section(study: Study, figures: Mapping[str, str]) -> list[Section]:
    """Figure and table; no section where there is neither."""
    filled = study.tables.get("fill", pl.DataFrame())
    blocks: list[Block] = [
        *([FigureBlock(FIGURE, _CAPTION, figures[FIGURE])] if FIGURE in figures else []),
        *([table_block("fill", _FILL, filled)] if not filled.is_empty() else []),
    ]
    return [Section("ramp", "How flows start", tuple(blocks))] if blocks else []


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
