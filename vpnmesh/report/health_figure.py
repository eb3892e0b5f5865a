"""Draws how clusters fared over time: a picture per solution, a panel per scenario and condition, a row per thing."""

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.report import canvas
from vpnmesh.report.health import PHASE, PUT_BACK, TIMELINE, UNHEARD
from vpnmesh.report.health_section import FIGURE
from vpnmesh.report.style import ScenarioLook, condition_title, look
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study
from vpnmesh.study.health import LOST, MISSING, OUTAGE_S, READY, Lane
from vpnmesh.study.scenarios import Catalogue

BAD = "#c8452f"
"""Of what is away, missing or broken: 3:1 and more on white and on the dark page."""
_WIDTH, _ROW, _HEAD, _FOOT = 9.6, 0.19, 0.52, 0.5
_LEFT = 1.55
_PUTTING_S = 5.0
_WIDE = 0.05
"""The share of a panel's width in which a bar has room for its seconds."""
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
    axes.set_xlim(0, end)
    axes.set_xlabel("seconds")
    axes.set_title(f"{scenario}, {condition_title(condition)}", pad=22)
    _phases(axes, rows.filter(lane=PHASE).to_dicts(), len(things))
    for place, (lane, name) in enumerate(things):
        mine = rows.filter(
            pl.col("lane") == str(lane), pl.col("subject").is_in([name, ""]) if name else pl.lit(value=True)
        )
        _lane(axes, place, mine.to_dicts(), end, style)
        if lane is Lane.ROUTES:
            _put_back(axes, place, mine.filter(state=MISSING)["to_s"], rows.filter(lane=PUT_BACK)["from_s"])


def _put_back(axes: Axes, place: int, ends: pl.Series, back: pl.Series) -> None:
    """A triangle where routes came back just when vpnmesh put them there; the mark is made after it was done."""
    found = [at for at in back if any(abs(at - end) < _PUTTING_S for end in ends)]
    axes.plot(found, [place] * len(found), "^", color=INK, markersize=4, linestyle="none", zorder=4)


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
    for row, following in zip_longest(bars, bars[1:]):
        _span(axes, place, row, style, (float(str(following["from_s"])) if following else end, end))


def _span(
    axes: Axes, place: int, row: dict[str, object], style: ScenarioLook, room: tuple[float, float]
) -> None:
    from_s, to_s, state = float(str(row["from_s"])), float(str(row["to_s"])), str(row["state"])
    if row["lane"] == str(Lane.PATH) and state != LOST:
        face = style.colour if state == "direct" else "none"
        axes.barh(place, to_s - from_s, 0.42, from_s, color=face, edgecolor=style.colour, linewidth=0.8)
        return
    axes.barh(place, to_s - from_s, 0.7, from_s, color=BAD, edgecolor=BAD, linewidth=0.8)
    if row["lane"] != str(Lane.PATH) and to_s - from_s >= OUTAGE_S:
        _label(axes, place, (from_s, to_s), room, f", {state}" if " of " in state else "")


def _label(axes: Axes, place: int, span: tuple[float, float], room: tuple[float, float], more: str) -> None:
    """A bar's seconds: in it where there is room, else behind it, else nowhere: the table has them.

    `room` = where the next bar begins, and where the panel ends.
    """
    (from_s, to_s), (next_s, end) = span, room
    text, width = f"{to_s - from_s:.1f} s{more}", end * _WIDE * (1 + len(more) / 6)
    if to_s - from_s > width:
        axes.text((from_s + to_s) / 2, place, text, ha="center", va="center", fontsize=6.5, color="white")
    elif next_s - to_s > width:
        axes.annotate(text, (to_s, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5)
