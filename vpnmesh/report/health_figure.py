"""Draws how clusters fared over time: a picture per solution, a panel per scenario and condition, a row per thing."""

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.model import Path
from vpnmesh.report import canvas
from vpnmesh.report.health import PHASE, PUT_BACK, TIMELINE, UNHEARD
from vpnmesh.report.health_section import FIGURE
from vpnmesh.report.style import ScenarioLook, condition_title, look
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study
from vpnmesh.study.health import LOST, MISSING, OUTAGE_S, READY, Lane
from vpnmesh.study.scenarios import Catalogue

_WIDTH, _ROW, _HEAD, _FOOT = 9.6, 0.19, 0.52, 0.5
_LEFT = 1.55
_PUTTING_S = 5.0
_BESIDE = 1.06
"""How much longer than the repetition the axis is: room for the last bars' texts."""
_LETTER = 0.0062
"""The share of a panel's width that a letter of a bar's text takes."""
_TITLES = {
    Lane.PATH: "path at {}",
    Lane.API_NODE: "API from {}",
    Lane.API_POD: "API from its pod",
    Lane.PODS: "pod to pod",
    Lane.WATCH: "watch of {}",
    Lane.NODES: "node {}",
    Lane.ENDPOINTS: "endpoints",
    Lane.ROUTES: "routes of {}",
}
Rows = list[dict[str, object]]


def health_figures(study: Study) -> dict[str, str]:
    """A figure per solution, by name; none where no cluster was watched."""
    timeline = study.tables.get("health_timeline", pl.DataFrame(schema=TIMELINE))
    known = study.scenarios
    drawn = {}
    for solution in dict.fromkeys(
        known.solution_of(name) for name in known.in_order(timeline["scenario"].unique())
    ):
        mine = [
            name
            for name in known.in_order(timeline["scenario"].unique())
            if known.solution_of(name) == solution
        ]
        panels = [one for name in mine for one in _first(timeline.filter(scenario=name))]
        title = f"Cluster health over time: {solution}"
        name = f"{FIGURE}{solution}"
        drawn[name] = canvas.draw(name, title, partial(_paint, panels, known))
    return drawn


def _first(timeline: pl.DataFrame) -> list[pl.DataFrame]:
    """The first measured repetition of each condition."""
    return [
        rows.filter(pl.col("repetition") == rows["repetition"].min(), pl.col("pair") == rows["pair"][0])
        for rows in timeline.partition_by("condition", maintain_order=True)
    ]


def _paint(panels: Sequence[pl.DataFrame], known: Catalogue) -> Figure:
    things = [_things(rows) for rows in panels]
    heights = [_HEAD + _ROW * len(found) + _FOOT for found in things]
    figure = Figure(figsize=(_WIDTH, sum(heights)))
    top = sum(heights)
    for rows, found, height in zip(panels, things, heights, strict=True):
        place = (_LEFT / _WIDTH, (top - _HEAD - _ROW * len(found)) / sum(heights))
        size = (1 - (_LEFT + 0.15) / _WIDTH, _ROW * len(found) / sum(heights))
        _panel(figure.add_axes((*place, *size)), rows, found, known)
        top -= height
    return figure


def _things(rows: pl.DataFrame) -> list[tuple[Lane, str]]:
    """What has a row: lanes in their order, the subjects of each as they first came; a silence has no subject's row."""
    found = []
    for lane in Lane:
        mine = rows.filter(pl.col("lane") == str(lane), pl.col("from_s") < pl.col("to_s"))
        names = list(dict.fromkeys(mine["subject"])) if "{}" in _TITLES[lane] else []
        found += [(lane, name) for name in names or [""]]
    return found


def _panel(axes: Axes, rows: pl.DataFrame, things: Sequence[tuple[Lane, str]], known: Catalogue) -> None:
    scenario, condition, pair = rows.row(0)[:3]
    style, client = look(scenario, known), str(pair).partition(">")[0]
    canvas.rows(axes, [_TITLES[lane].format(name or client) for lane, name in things])
    end = float(rows["to_s"].max())  # type: ignore[arg-type]  # seconds are numbers
    axes.set_xlim(0, end * _BESIDE)
    axes.set_xlabel("seconds")
    axes.set_title(f"{scenario}, {condition_title(condition)}", pad=22)
    _phases(axes, rows.filter(lane=PHASE).to_dicts(), len(things))
    back = rows.filter(lane=PUT_BACK)["from_s"].to_list()
    for place, (lane, name) in enumerate(things):
        mine = rows.filter(
            pl.col("lane") == str(lane), pl.col("subject").is_in([name, ""]) if name else pl.lit(value=True)
        )
        _lane(axes, place, _texts(mine.to_dicts(), back), end, style)


def _texts(rows: Rows, back: Sequence[float]) -> Rows:
    """The rows with what is written beside each bar; the time of putting back is noted after it was done."""
    return [row | {"text": _text(row, back)} for row in rows]


def _text(row: dict[str, object], back: Sequence[float]) -> str:
    from_s, to_s, state = float(str(row["from_s"])), float(str(row["to_s"])), str(row["state"])
    if row["lane"] == str(Lane.PATH) or to_s - from_s < OUTAGE_S:
        return ""
    by_us = state == MISSING and any(abs(at - to_s) < _PUTTING_S for at in back)
    return f"{to_s - from_s:.1f} s{f', {state}' if ' of ' in state else ''}{', put back' if by_us else ''}"


def _phases(axes: Axes, phases: Rows, count: int) -> None:
    for number, phase in enumerate(phases):
        from_s, to_s = (float(str(phase[end])) for end in ("from_s", "to_s"))
        if number % 2:
            axes.axvspan(from_s, to_s, color=INK, alpha=0.07, linewidth=0)
        above = 4 + 7 * (number % 2)
        middle = ((from_s + to_s) / 2, -0.5)
        axes.annotate(
            str(phase["subject"]), middle, (0, above), textcoords="offset points", ha="center", fontsize=6.5
        )
    axes.set_ylim(count - 0.5, -0.5)


def _lane(axes: Axes, place: int, rows: Rows, end: float, style: ScenarioLook) -> None:
    """A thin line where all is well, bars where it is not; a path shows which one it is."""
    if any(row["state"] == UNHEARD for row in rows):
        axes.annotate(
            "never answered", (0, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5
        )
        return
    spans = [row for row in rows if float(str(row["to_s"])) > float(str(row["from_s"]))]
    if not rows or rows[0]["lane"] != str(Lane.PATH):
        axes.plot([0, end], [place, place], color=INK, alpha=0.35, linewidth=0.8, zorder=1)
    bars = [row for row in spans if row["state"] != READY]
    before_s = 0.0
    for row, following in zip_longest(bars, bars[1:]):
        _span(axes, place, row, style)
        until_s = float(str(following["from_s"])) if following else axes.get_xlim()[1]
        before_s = _label(axes, place, row, (before_s, until_s))


def _span(axes: Axes, place: int, row: dict[str, object], style: ScenarioLook) -> None:
    from_s, to_s, state = float(str(row["from_s"])), float(str(row["to_s"])), str(row["state"])
    if row["lane"] == str(Lane.PATH) and state != LOST:
        face = style.colour if state == str(Path.DIRECT) else "none"
        axes.barh(place, to_s - from_s, 0.62, from_s, color=face, edgecolor=style.colour, linewidth=0.8)
    else:
        axes.barh(place, to_s - from_s, 0.36, from_s, color=INK, edgecolor=INK, linewidth=0.8)


def _label(axes: Axes, place: int, row: dict[str, object], room: tuple[float, float]) -> float:
    """A bar's seconds: behind it where there is room, else before it, else nowhere: the table has them.

    Returns from where on there is room again.
    """
    from_s, to_s, text = float(str(row["from_s"])), float(str(row["to_s"])), str(row["text"])
    width = axes.get_xlim()[1] * _LETTER * (len(text) + 2)
    look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 6.5}
    if text and room[1] - to_s > width:
        axes.annotate(text, (to_s, place), (3, 0), **look)
        return to_s + width
    if text and from_s - room[0] > width:
        axes.annotate(text, (from_s, place), (-3, 0), ha="right", **look)
    return to_s
