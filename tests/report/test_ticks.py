"""Ticks in one artist look as matplotlib's own."""

import io
import re
from collections.abc import Callable

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.report import ticks


def _linear(axes: Axes) -> None:
    axes.plot([0, 7.3], [-2, 5])
    axes.set_xlim(0, 6)


def _powers(axes: Axes) -> None:
    axes.plot([1, 1000], [1, 2])
    axes.set_xscale("log")


def _rows(axes: Axes) -> None:
    axes.set_ylim(2.5, -0.5)
    ticks.put(axes.yaxis, (0, 1, 2), ("a", "b", "c"))
    axes.tick_params(axis="y", length=0)


def _on_top(axes: Axes) -> None:
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", labelrotation=90, labelsize=6)


def _named(axes: Axes) -> None:
    axes.set_xlabel("beside its ticks")


def _thousands(axes: Axes) -> None:
    axes.plot([0, 1], [0, 5e9])


def _svg(paint: Callable[[Axes], None], *, together: bool) -> str:
    figure = Figure()
    axes = figure.add_subplot()
    axes.yaxis.set_label_coords(-0.1, 0.5)
    axes.set_ylabel("Mbit/s")
    axes.grid(visible=True)
    paint(axes)
    if together:
        ticks.at_once(axes)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _texts(svg: str) -> list[str]:
    return sorted(re.findall(r"<text [^>]*>[^<]*", svg))


def _grid(svg: str) -> set[str]:
    """Where marks stand, and where lines of the grid begin."""
    return set(re.findall(r'<use [^>]*x="([\d.]+" y="[\d.]+)"', svg)) | set(
        re.findall(r"M ([\d.]+ [\d.]+)", svg)
    )


@pytest.mark.parametrize("paint", [_linear, _powers, _rows, _on_top, _named, _thousands])
def test_the_same_is_written_at_the_same_places(
    paint: Callable[[Axes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is written, every mark and every line of the grid, on linear axes, powers, rows, above and turned."""
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")

    own, ours = _svg(paint, together=False), _svg(paint, together=True)

    assert _texts(own) == _texts(ours)
    assert _grid(own) == _grid(ours)


def test_fewer_groups_are_drawn() -> None:
    """Otherwise nothing is gained."""
    assert _svg(_linear, together=True).count('<g id="xtick') == 0
    assert _svg(_linear, together=False).count('<g id="xtick') > 0
