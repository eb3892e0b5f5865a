"""Lines of a history: what each run measured, with the spread of its repetitions and the levels between changes."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.report import canvas
from vpnmesh.report.history import By, History, Line, figure_name
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.study.scenarios import BUILT_IN

_COLUMNS = 2
_MOST_TICKS = 6
_SIZE = (5.2, 2.9)
_MOST_MARKED = 150
"""Above so many runs a line is drawn as one stroke: marks and their spread would only hide each other."""


def figures(history: History) -> dict[str, str]:
    """A figure per series and test with a panel per condition, by name; none for a series of a single run."""
    drawn = {}
    for series in history.series:
        lines = [line for line in history.lines if line.series == series.number and len(line.valued) > 1]
        for test in dict.fromkeys(line.test for line in lines):
            title = f"{test.upper()} throughput over {history.by.value}s, series {series.number}"
            shown = [line for line in lines if line.test == test]
            name = figure_name(series, test)
            drawn[name] = canvas.draw(name, title, partial(_paint, shown, history.by))
    return drawn


def _paint(lines: Sequence[Line], by: By) -> Figure:
    styles = looks((line.scenario for line in lines), BUILT_IN)
    conditions = list(dict.fromkeys(line.condition for line in lines))
    foot = 0.3 * (1 + len(styles) // 4)
    figure, panels = canvas.panels(len(conditions), min(_COLUMNS, len(conditions)), _SIZE, foot)
    for panel, condition in zip(panels, conditions, strict=True):
        shown = [line for line in lines if line.condition == condition]
        _panel(panel, shown, styles, by)
        panel.set_title(condition_title(condition))
    canvas.legend(figure, styles)
    return figure


def _panel(panel: Axes, lines: Sequence[Line], styles: dict[str, ScenarioLook], by: By) -> None:
    places = _places(lines, by)
    for line in lines:
        style = styles[line.scenario]
        x = np.array([places[point.run] for point in line.valued])
        y = np.array([point.value or 0.0 for point in line.valued])
        spread = [point.spread or 0.0 for point in line.valued]
        if x.size > _MOST_MARKED:
            panel.plot(x, y, color=style.colour, linewidth=0.6, alpha=0.7)
        else:
            panel.errorbar(x, y, spread, fmt=style.marker, color=style.colour, markersize=3.5, linewidth=0.8,
                           markerfacecolor=style.face, alpha=0.85)  # fmt: skip
        _levels(panel, line, x, style.colour)
    labels = {places[run]: text for run, text in _labels(lines, by).items()}
    step = -(-len(labels) // _MOST_TICKS)
    ticks = sorted(labels)[::step]
    panel.set_xticks(ticks, [labels[tick] for tick in ticks])
    panel.set_xlabel("version and run, oldest first" if by is By.VERSION else "run, oldest first")
    panel.set_ylabel(_unit(lines))
    panel.set_ylim(bottom=0)


def _levels(panel: Axes, line: Line, x: np.ndarray, colour: str) -> None:
    """A bar along every level, and a dashed line at the first run of each new one."""
    borders = [0, *(change.index for change in line.changes), x.size]
    for first, end in pairwise(borders):
        level = float(np.exp(line.logs[first:end].mean()))
        panel.plot([x[first], x[end - 1]], [level, level], color=colour, linewidth=2.5, alpha=0.4)
    for change in line.changes:
        panel.axvline(x[change.index] - 0.5, color=colour, linestyle=(0, (3, 2)), linewidth=0.9)


def _places(lines: Sequence[Line], by: By) -> dict[str, int]:
    """The runs of a panel from left to right."""
    longest = sorted(lines, key=lambda line: -len(line.points))
    order = dict.fromkeys(point.run for line in longest for point in line.points)
    if by is By.DATE:
        ages = {point.run: (point.label, point.name) for line in lines for point in line.points}
        order = dict.fromkeys(sorted(order, key=lambda run: ages[run]))
    return {run: place for place, run in enumerate(order)}


def _labels(lines: Sequence[Line], by: By) -> dict[str, str]:
    if by is By.DATE:
        return {point.run: point.label[:10] for line in lines for point in line.points}
    told = [(point.run, (point.version or "").rpartition(" ")[2]) for line in lines for point in line.points]
    return dict(sorted(told, key=lambda one: bool(one[1])))


def _unit(lines: Sequence[Line]) -> str:
    return (
        "throughput, share of own baseline" if any(line.relative for line in lines) else "throughput, Mbit/s"
    )
