"""CPU-seconds per Gbit of every scenario, and in each bar the part of the VPN's own processes."""

from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.report import canvas
from vpnmesh.report.efficiency import CPU, OWN_CPU
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study


def efficiency_figures(study: Study) -> dict[str, str]:
    """A figure per test that has readings of all nodes' CPU, by file name."""
    table = study.tables.get("efficiency", pl.DataFrame(schema={"test": pl.String()}))
    drawn = {}
    for test in THROUGHPUT_TESTS:
        rows = table.filter(pl.col("test") == test)
        if not rows.is_empty() and not rows.filter(figure=CPU).is_empty():
            title = f"CPU-seconds per Gbit of {test.upper()}, per condition and scenario"
            paint = partial(_bars, rows, looks(rows["scenario"].unique(), study.scenarios))
            drawn[f"efficiency-{test}"] = canvas.draw(f"efficiency-{test}", title, paint)
    return drawn


def _bars(rows: pl.DataFrame, styles: dict[str, ScenarioLook]) -> Figure:
    conditions = conditions_in_order(rows["condition"].unique())
    figure, axes = canvas.condition_panels(len(conditions), 0.75 + 0.21 * len(styles), tuple(styles))
    for panel, condition in zip(axes, conditions, strict=True):
        here = rows.filter(condition=condition)
        for place, (scenario, style) in enumerate(styles.items()):
            _bar(panel, place, style, here.filter(scenario=scenario))
        panel.set_title(condition_title(condition))
        panel.set_xlabel("CPU-seconds per Gbit")
        panel.set_xlim(0, panel.get_xlim()[1] * 1.2)
    return figure


def _bar(panel: Axes, place: int, style: ScenarioLook, rows: pl.DataFrame) -> None:
    figures = {row["figure"]: row for row in rows.to_dicts()}
    if not (whole := figures.get(CPU)):
        canvas.label(panel, 0, place, "no reading", italic=True)
        return
    panel.barh(place, whole["mean"], height=0.68, facecolor="none", edgecolor=style.colour, linewidth=0.8)
    if own := figures.get(OWN_CPU):
        panel.barh(place, own["mean"], height=0.68, facecolor=style.colour, alpha=0.6)
    # the interval where there are figures enough for one, else the range
    low, high = (
        (whole["low"], whole["high"]) if whole["low"] is not None else (whole["least"], whole["greatest"])
    )
    panel.plot([max(low, 0.0), high], [place, place], color=INK, linewidth=1)
    canvas.label(panel, max(high, whole["mean"]), place, f"{whole['mean']:.3g}")
