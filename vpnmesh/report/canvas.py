"""From drawing calls to one SVG text: no global state, no dates, the same bytes for the same data.

Text stays text (`svg.fonttype: none`): it can be searched, it scales, and the files are a third of the size.
What becomes of the text afterwards is in `vpnmesh.report.svg`.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vpnmesh.report import ticks
from vpnmesh.report.style import ScenarioLook
from vpnmesh.report.svg import INK, tidy

MAX_POINTS = 2000
"""Above this many points a figure shows quantiles; points would only hide each other."""

_CONDITIONS_BESIDE = 4
_NAMES_INCHES = 1.2
"""Room for names of sixteen letters, the paper's longest."""
_LETTER_INCHES = 0.066

_RC: Any = {
    "svg.fonttype": "none",
    # a dollar in a name starts no formula; looking for formulas also takes time
    "text.parse_math": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    # a fixed place: finding one costs a layout of every tick
    "axes.titley": 1.0,
    "axes.titlepad": 5.0,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.7,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


def draw(name: str, title: str, paint: Callable[[], Figure]) -> str:
    """Run `paint` under the house style and return its figure as SVG; `title` is what a screen reader says."""
    with mpl.rc_context({**_RC, "svg.hashsalt": name}), warnings.catch_warnings():
        # the text stays text: whether a font here has a sign of somebody's name does not matter
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure = paint()
        for axes in figure.axes:
            ticks.at_once(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return tidy(stream.getvalue(), name, title)


def legend(figure: Figure, looks: Mapping[str, ScenarioLook], *, lines: bool = False) -> None:
    """One legend for the whole figure, under it."""
    handles = []
    for scenario, style in looks.items():
        handles.append(
            Line2D(
                [],
                [],
                color=style.colour,
                linestyle=(0, style.dashes) if lines else "none",
                marker="" if lines else style.marker,
                markerfacecolor=style.face,
                markeredgecolor=style.colour,
                markersize=5.5,
                label=scenario,
            )
        )
    columns = min(len(handles), max(4, (len(handles) + 1) // 2))
    figure.legend(handles=handles, loc="lower center", ncols=columns, columnspacing=1.6, handletextpad=0.5)


def label(axes: Axes, x: float, y: float, text: str, *, italic: bool = False) -> None:
    """Write a text to the right of a point."""
    style = "italic" if italic else "normal"
    axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center", fontsize=7.5, style=style)


def strokes(
    axes: Axes, lines: Sequence[tuple[tuple[float, float], tuple[float, float]]], **style: Any
) -> None:
    """Draw many straight lines as one artist: one artist per line takes far longer to draw."""
    if lines:
        axes.add_collection(LineCollection(lines, **style))


def rows(axes: Axes, labels: Sequence[str], *, named: bool = True) -> None:
    """Turn the y axis into one row per label, the first on top."""
    axes.set_ylim(len(labels) - 0.5, -0.5)
    # a tick without a name shows nothing and costs as much as one with
    ticks.put(axes.yaxis, range(len(labels)) if named else (), labels if named else ())
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def make_room(figure: Figure, names: Iterable[str]) -> None:
    """Leave room for the names of rows left of the panels; longer ones than usual make the figure wider."""
    longest = max(map(len, names), default=0)
    inches = max(_NAMES_INCHES, 0.14 + _LETTER_INCHES * longest)
    figure.set_figwidth(figure.get_figwidth() + inches - _NAMES_INCHES)
    figure.subplots_adjust(left=inches / figure.get_figwidth())


def condition_panels(count: int, height: float, names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A panel per condition, `height` inches each, with a row per name; only the leftmost carry the names."""
    columns = min(count, _CONDITIONS_BESIDE)
    figure, axes = panels(count, columns, (2.75, height), 0.05)
    make_room(figure, names)
    figure.subplots_adjust(wspace=0.12)
    for index, panel in enumerate(axes):
        rows(panel, names, named=index % columns == 0)
    return figure, axes


def panels(count: int, columns: int, size: tuple[float, float], foot: float) -> tuple[Figure, list[Axes]]:
    """A grid of axes of `size` inches each, with `foot` inches left below for the legend."""
    lines = -(-count // columns)
    width, height = size[0] * columns, size[1] * lines + foot
    figure = Figure(figsize=(width, height))
    # margins by hand: constrained layout draws everything twice, and that is most of the time a report takes
    figure.subplots_adjust(
        left=0.62 / width,
        right=1 - 0.12 / width,
        bottom=(foot + 0.42) / height,
        top=1 - 0.3 / height,
        wspace=0.72 / (size[0] - 0.6),
        hspace=0.72 / (size[1] - 0.6),
    )
    axes = [figure.add_subplot(lines, columns, index + 1) for index in range(count)]
    for panel in axes:
        place = panel.get_position()
        panel.xaxis.set_label_coords(0.5, -0.3 / (place.height * height))
        panel.yaxis.set_label_coords(-0.43 / (place.width * width), 0.5)
        panel.locator_params(nbins=5)
    return figure, axes
