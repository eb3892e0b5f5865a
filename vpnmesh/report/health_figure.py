"""Draws how clusters fared over time: a picture per solution, a panel per scenario and condition, a row per thing."""

from collections.abc import Sequence
from dataclasses import dataclass
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
_SMALL = 6.5
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
    _phases(axes, rows.filter(lane=PHASE), len(things))
    back = rows.filter(lane=PUT_BACK)["from_s"].to_list()
    for place, (lane, name) in enumerate(things):
        mine = rows.filter(
            pl.col("lane") == str(lane), pl.col("subject").is_in([name, ""]) if name else pl.lit(value=True)
        )
        _lane(axes, place, _bars(mine, back), end, style)


@dataclass(frozen=True, slots=True)
class _Bar:
    """A span as it is drawn, and what is written beside it."""

    on_path: bool
    state: str
    from_s: float
    to_s: float
    text: str


def _bars(rows: pl.DataFrame, back: Sequence[float]) -> list[_Bar]:
    """The spans of a row of the picture; `back` are the times when vpnmesh had put routes back."""
    found = []
    for lane, state, from_s, to_s in rows.select("lane", "state", "from_s", "to_s").iter_rows():
        on_path = lane == str(Lane.PATH)
        text = "" if on_path or to_s - from_s < OUTAGE_S else f"{to_s - from_s:.1f} s"
        if text and state == MISSING and any(abs(at - to_s) < _PUTTING_S for at in back):
            text += ", put back"
        if text and " of " in state:
            text += f", {state}"
        found.append(_Bar(on_path, state, from_s, to_s, text))
    return found


def _phases(axes: Axes, phases: pl.DataFrame, count: int) -> None:
    for number, (name, from_s, to_s) in enumerate(phases.select("subject", "from_s", "to_s").iter_rows()):
        if number % 2:
            axes.axvspan(from_s, to_s, color=INK, alpha=0.07, linewidth=0)
        # every other one higher, so that names of short phases do not meet
        middle, above = ((from_s + to_s) / 2, -0.5), 4 + 7 * (number % 2)
        axes.annotate(name, middle, (0, above), textcoords="offset points", ha="center", fontsize=_SMALL)
    axes.set_ylim(count - 0.5, -0.5)


def _lane(axes: Axes, place: int, bars: Sequence[_Bar], end: float, style: ScenarioLook) -> None:
    """A thin line where all is well, bars where it is not; a path shows which one it is."""
    if any(bar.state == UNHEARD for bar in bars):
        _write(axes, place, 0.0, "never answered")
        return
    if not any(bar.on_path for bar in bars):
        axes.plot([0, end], [place, place], color=INK, alpha=0.35, linewidth=0.8, zorder=1)
    shown = [bar for bar in bars if bar.to_s > bar.from_s and bar.state != READY]
    free_s = 0.0
    for bar, following in zip_longest(shown, shown[1:]):
        _draw(axes, place, bar, style)
        free_s = _label(axes, place, bar, (free_s, following.from_s if following else axes.get_xlim()[1]))


def _draw(axes: Axes, place: int, bar: _Bar, style: ScenarioLook) -> None:
    if bar.on_path and bar.state != LOST:
        face = style.colour if bar.state == str(Path.DIRECT) else "none"
        look: dict[str, Any] = {"height": 0.62, "color": face, "edgecolor": style.colour}
    else:
        look = {"height": 0.36, "color": INK, "edgecolor": INK}
    axes.barh(place, bar.to_s - bar.from_s, left=bar.from_s, linewidth=0.8, **look)


def _label(axes: Axes, place: int, bar: _Bar, room: tuple[float, float]) -> float:
    """A bar's seconds: behind it where there is room, else before it, else nowhere: the table has them.

    Returns from where on there is room again.
    """
    width = axes.get_xlim()[1] * _LETTER * (len(bar.text) + 2)
    if bar.text and room[1] - bar.to_s > width:
        _write(axes, place, bar.to_s, bar.text)
        return bar.to_s + width
    if bar.text and bar.from_s - room[0] > width:
        _write(axes, place, bar.from_s, bar.text, before=True)
    return bar.to_s


def _write(axes: Axes, place: int, at_s: float, text: str, *, before: bool = False) -> None:
    offset, side = ((-3, 0), "right") if before else ((3, 0), "left")
    axes.annotate(
        text, (at_s, place), offset, textcoords="offset points", ha=side, va="center", fontsize=_SMALL
    )
