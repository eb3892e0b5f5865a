"""Heat maps of a mesh: clients by servers, the colour and, where there is room, the number of each pair's median."""

from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report import canvas
from vpnmesh.report.formatting import significant
from vpnmesh.report.mesh_tables import MESH
from vpnmesh.report.tables import Study

MOST_WITH_NUMBERS = 8
"""Up to so many members a field has room for its number."""
_COLUMNS = 4
_FIELD_INCHES = 0.46
_SMALL_FIELD_INCHES = 0.13
_MARGIN_INCHES = 0.95
_COLOURS = "cividis"
_MIDDLE = 0.5
_WIDE = 10.0
"""From this ratio of the highest to the lowest on, colours go by logarithms."""


def mesh_figures(study: Study) -> dict[str, str]:
    """A figure per test and condition, a panel per scenario, all panels of a figure on one scale of colours."""
    rows = study.tables.get(MESH, pl.DataFrame())
    if rows.is_empty():
        return {}
    drawn = {}
    for test in rows["test"].unique().sort():
        mine = rows.filter((pl.col("test") == test) & (pl.col("measured") > 0))
        for condition in conditions_in_order(mine["condition"].unique()):
            here = mine.filter(condition=condition)
            name = f"{MESH}-{test}-{condition}"
            title = f"{test.upper()} by client and server, {condition}"
            drawn[name] = canvas.draw(name, title, partial(_heat_maps, here, _members(rows)))
    return drawn


def _members(rows: pl.DataFrame) -> list[str]:
    """The members, numbers in their names in the order of numbers."""
    return sorted({*rows["client"], *rows["server"]}, key=lambda name: (len(name), name))


def _heat_maps(rows: pl.DataFrame, members: list[str]) -> Figure:
    scenarios = list(dict.fromkeys(rows["scenario"]))
    field = _FIELD_INCHES if len(members) <= MOST_WITH_NUMBERS else _SMALL_FIELD_INCHES
    side = field * len(members)
    columns = min(len(scenarios), _COLUMNS)
    lines = -(-len(scenarios) // columns)
    width, height = columns * (side + _MARGIN_INCHES) + 0.9, lines * (side + _MARGIN_INCHES + 0.3)
    figure = Figure(figsize=(width, height))
    norm = _norm(rows["median"].to_numpy())
    for place, scenario in enumerate(scenarios):
        left = (place % columns) * (side + _MARGIN_INCHES) + _MARGIN_INCHES - 0.1
        top = (place // columns) * (side + _MARGIN_INCHES + 0.3) + 0.35
        panel = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))
        _heat_map(panel, rows.filter(scenario=scenario), members, norm)
        panel.set_title(scenario)
    _scale(figure, rows, norm, (width, height))
    return figure


def _heat_map(panel: Axes, rows: pl.DataFrame, members: list[str], norm: Normalize) -> None:
    number = {name: place for place, name in enumerate(members)}
    values = np.full((len(members), len(members)), np.nan)
    for client, server, median in rows.select("client", "server", "median").iter_rows():
        values[number[client], number[server]] = median
    # rectangles, not a picture: a page of text stays text
    panel.pcolormesh(values, cmap=_COLOURS, norm=norm, edgecolors="none", linewidth=0)
    panel.set_ylim(len(members), 0)
    panel.set_xticks(np.arange(len(members)) + 0.5, members, rotation=90)
    panel.set_yticks(np.arange(len(members)) + 0.5, members)
    panel.tick_params(length=0, labelsize=7 if len(members) <= MOST_WITH_NUMBERS else 5.5)
    panel.grid(visible=False)
    if len(members) <= MOST_WITH_NUMBERS:
        _write(panel, values, norm)


def _write(panel: Axes, values: np.ndarray, norm: Normalize) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if norm(value) <= _MIDDLE else "black"
            text = significant(float(f"{value:.3g}"))
            panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)


def _norm(medians: np.ndarray) -> Normalize:
    """From the lowest to the highest; by logarithms where one outlier would leave a single colour for all others."""
    low, high = float(medians.min()), float(medians.max())
    return LogNorm(low, high) if low > 0 and high / low > _WIDE else Normalize(low, high)


def _scale(figure: Figure, rows: pl.DataFrame, norm: Normalize, size: tuple[float, float]) -> None:
    """The scale of colours at the right edge, with the figure's unit."""
    width, height = size
    bar = figure.add_axes((1 - 0.62 / width, 0.6 / height + 0.1, 0.1 / width, 0.7 - 0.6 / height))
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    by_logarithms = isinstance(norm, LogNorm)
    steps = np.geomspace(low, high, 33) if by_logarithms else np.linspace(low, high, 33)
    bar.pcolormesh([0, 1], steps, steps[:-1, None], cmap=_COLOURS, norm=norm)
    bar.set_xticks([])
    bar.grid(visible=False)
    bar.set_yscale("log" if by_logarithms else "linear")
    if by_logarithms:
        bar.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.yaxis.set_minor_formatter(NullFormatter())
    bar.yaxis.tick_right()
    title, unit = rows.select("title", "unit").row(0)
    bar.set_title(f"{unit or title}", fontsize=7.5)
