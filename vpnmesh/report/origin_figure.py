"""How each part moves a VPN away from its baseline: from 1 by the host's TCP, packets one by one and the tunnel."""

from collections.abc import Mapping
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.report import canvas
from vpnmesh.report.origin import ORIGIN
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study

_PARTS = (("tcp", -0.26), ("offloads", 0.0), ("tunnel", 0.26))
"""The parts from the top of a row to its foot."""
_TICKS = tuple(one * 10.0**power for power in range(-4, 4) for one in (1, 3))


def origin_figures(study: Study) -> dict[str, str]:
    """One figure of TCP, where any ratio could be taken apart; by file name."""
    table = study.tables.get("origin", pl.DataFrame(schema=ORIGIN)).filter(test="tcp")
    if table.filter(pl.col("tcp").is_not_null() | pl.col("offloads").is_not_null()).is_empty():
        return {}
    styles = looks(table["scenario"].unique(), study.scenarios)
    title = "TCP: what moves each VPN away from its baseline, per condition"
    return {"origin-tcp": canvas.draw("origin-tcp", title, partial(_steps, table, styles))}


def _steps(table: pl.DataFrame, styles: Mapping[str, ScenarioLook]) -> Figure:
    conditions = conditions_in_order(table["condition"].unique())
    figure, axes = canvas.condition_panels(len(conditions), 0.75 + 0.34 * len(styles), tuple(styles))
    for panel, condition in zip(axes, conditions, strict=True):
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator(_TICKS))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.axvline(1.0, color=INK, linewidth=0.8)
        here = {row["scenario"]: row for row in table.filter(condition=condition).to_dicts()}
        for place, (scenario, style) in enumerate(styles.items()):
            if row := here.get(scenario):
                _row(panel, place, style, row)
        panel.set_title(condition_title(condition))
        panel.set_xlabel("share of the plain baseline")
        low, high = panel.get_xlim()
        panel.set_xlim(low / 1.15, high * 2.2)
    return figure


def _row(panel: Axes, place: int, style: ScenarioLook, row: Mapping[str, float | None]) -> None:
    """The parts one below the other, each from where the one before it ended; then the ratio and its interval."""
    reached = farthest = 1.0
    for part, offset in _PARTS:
        if (factor := row[part]) is None:
            continue
        colour, width = (style.colour, 5.0) if part == "tunnel" else (INK, 2.5)
        panel.plot(
            [reached, reached * factor], [place + offset] * 2, color=colour, linewidth=width, alpha=0.8
        )
        reached *= factor
        farthest = max(farthest, reached)
    low, high, foot = row["ratio_low"], row["ratio_high"], place + _PARTS[-1][1]
    if low is not None and high is not None and low > 0:
        panel.plot([low, high], [foot, foot], color=INK, linewidth=1)
        farthest = max(farthest, high)
    panel.plot(reached, foot, style.marker, color=style.colour, markerfacecolor=style.face)
    canvas.label(panel, farthest, foot, f"{reached:.3g}")
