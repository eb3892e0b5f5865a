"""All ticks of an axis as one artist: matplotlib has six for each, the larger part of what a small figure costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick, YAxis
from matplotlib.backend_bases import RendererBase
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

_CLOSE = 1e-10
"""Up to this share of an axis beyond its end a tick is still on it, as in matplotlib."""


def put(axis: Axis, places: Sequence[float], names: Sequence[str] | None = None) -> None:
    """Ticks at these places alone, without the artists that `set_ticks` makes at once; the axis' ends stay."""
    axis.set_major_locator(FixedLocator(places))
    if names is not None:
        axis.set_major_formatter(FixedFormatter(names))


def at_once(axes: Axes) -> None:
    """Draw the ticks of either axis by one artist; for a figure that is settled.

    An axis is left to matplotlib where its name's place depends on its ticks, or where a factor stands at its end.
    """
    for axis in (axes.xaxis, axes.yaxis):
        named = bool(axis.label.get_text())
        if (
            not axes.axison
            or not axis.get_visible()
            or (named and axis.label.get_transform() is not axes.transAxes)
        ):
            continue
        groups = tuple(_groups(axis))
        if not axis.get_major_formatter().get_offset():
            axis.set_visible(False)
            axes.add_artist(_Ticks(axis, groups))


@dataclass(frozen=True, slots=True)
class _Group:
    """Ticks that look alike: one of them, their places, and what is written there."""

    tick: Tick
    places: np.ndarray
    names: Sequence[str]


def _groups(axis: Axis) -> Iterator[_Group]:
    """The major and the minor ticks between the axis' ends."""
    majors = (
        axis.get_major_locator(),
        axis.get_majorticklocs,
        axis.get_major_formatter(),
        axis.get_major_ticks,
    )
    minors = (
        axis.get_minor_locator(),
        axis.get_minorticklocs,
        axis.get_minor_formatter(),
        axis.get_minor_ticks,
    )
    for locator, found, formatter, ticks in (majors, minors):
        if isinstance(locator, NullLocator):
            continue
        places = np.asarray(found(), dtype=float)
        names = formatter.format_ticks(places.tolist())
        inside = _inside(axis, places)
        if inside.any():
            kept = [name for name, shown in zip(names, inside, strict=True) if shown]
            yield _Group(ticks(1)[0], places[inside], kept)


def _inside(axis: Axis, places: np.ndarray) -> np.ndarray:
    scale = axis.get_transform()
    low, high = sorted(scale.transform(np.asarray(axis.get_view_interval(), dtype=float)))
    slack, found = _CLOSE * (high - low), scale.transform(places)
    inside: np.ndarray = (found >= low - slack) & (found <= high + slack)
    return inside


class _Ticks(Artist):
    """The ticks and the name of an axis that is not drawn itself."""

    def __init__(self, axis: Axis, groups: Sequence[_Group]) -> None:
        super().__init__()
        self._axis, self._groups = axis, groups
        self._upright = isinstance(axis, YAxis)
        self.set_zorder(axis.get_zorder())

    def draw(self, renderer: RendererBase) -> None:
        """Draw the grid, the marks, what is written at them, and the axis' name."""
        for group in self._groups:
            self._draw_lines(group, renderer)
            self._draw_names(group, renderer)
        self._axis.label.draw(renderer)

    def _draw_lines(self, group: _Group, renderer: RendererBase) -> None:
        """The tick's own lines, but at all places: the grid as one path, the marks as one line of markers."""
        tick, places = group.tick, group.places
        across = np.tile([0.0, 1.0, np.nan], len(places))
        along = np.repeat(places, 3)
        tick.gridline.set_data(*((across, along) if self._upright else (along, across)))
        for mark in (tick.tick1line, tick.tick2line):
            (mark.set_ydata if self._upright else mark.set_xdata)(places)
        for line in (tick.gridline, tick.tick1line, tick.tick2line):
            line.draw(renderer)

    def _draw_names(self, group: _Group, renderer: RendererBase) -> None:
        for text in (group.tick.label1, group.tick.label2):
            if not text.get_visible():
                continue
            move = text.set_y if self._upright else text.set_x
            for place, name in zip(group.places, group.names, strict=True):
                move(place)
                text.set_text(name)
                text.draw(renderer)
