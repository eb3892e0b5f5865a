"""One picture of what is decided: every scenario's throughput as a share of the baseline's, under each condition."""

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.report import canvas, ticks
from vpnmesh.report.shares import FIGURE, Share, baseline, shares
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study

_WIDTH_INCHES, _LEAST_INCHES = 8.2, 1.05
_ROW_INCHES = 0.17
_ABOVE_INCHES, _BETWEEN_INCHES, _BELOW_INCHES = 0.26, 0.48, 0.24
_PALE, _PALE_TEXT = 0.35, 0.55
_NUMBER_INCHES = 0.3
"""Room for the numbers at the right end of a panel."""
_FEW_TICKS = 1.5
_WIDE_RANGE = 4.0
"""Above so many times the baseline the axis counts in powers: a linear one would crush all others."""


def figure(study: Study) -> dict[str, str]:
    """The picture by its name; empty where there is no baseline, or nothing beside it."""
    found, base = shares(study), baseline(study)
    if not found or base is None:
        return {}
    title = f"Throughput of every scenario as a share of {base}'s, per condition, with 95 % intervals"
    return {FIGURE: canvas.draw(FIGURE, title, partial(_paint, study, found, base))}


def _paint(study: Study, found: Mapping[tuple[str, str, str], Share], base: str) -> Figure:
    names = {name for name in study.tables["throughput"]["scenario"] if name != base}
    styles = looks(names, study.scenarios)
    tests = [test for test in THROUGHPUT_TESTS if any(key[0] == test for key in found)]
    conditions = conditions_in_order({key[1] for key in found})
    width = max(_WIDTH_INCHES / len(conditions), _LEAST_INCHES)
    drawn, axes = canvas.panels(len(tests) * len(conditions), len(conditions), (width, 1.0), 0.0)
    canvas.make_room(drawn, styles)
    _set_heights(drawn, len(tests), _ROW_INCHES * len(styles))
    room = 1 + _NUMBER_INCHES / (axes[0].get_position().width * drawn.get_figwidth() - _NUMBER_INCHES)
    for line, test in enumerate(tests):
        reach = _reach([share for key, share in found.items() if key[0] == test])
        for column, condition in enumerate(conditions):
            panel = axes[line * len(conditions) + column]
            here = {name: found.get((test, condition, name)) for name in styles}
            _panel(panel, here, styles, reach, room)
            panel.set_title(condition_title(condition), fontsize=8.5)
            canvas.rows(panel, tuple(styles), named=column == 0)
        _named(axes[line * len(conditions)], test, base)
    return drawn


def _set_heights(drawn: Figure, lines: int, panel: float) -> None:
    """Panels as high as their rows, with room for a title above and ticks below each; in inches."""
    height = lines * panel + (lines - 1) * _BETWEEN_INCHES + _ABOVE_INCHES + _BELOW_INCHES
    drawn.set_figheight(height)
    drawn.subplots_adjust(
        top=1 - _ABOVE_INCHES / height,
        bottom=_BELOW_INCHES / height,
        wspace=0.1,
        hspace=_BETWEEN_INCHES / panel,
    )


def _reach(found: Sequence[Share]) -> float:
    return max(1.0, *(share.high or share.share for share in found))


def _named(panel: Axes, test: str, base: str) -> None:
    """The test above the names, and below the leftmost panel what the numbers are."""
    panel.annotate(test.upper(), (0, 1), (-6, 5), xycoords="axes fraction", textcoords="offset points",
                   ha="right", weight="bold", fontsize=9)  # fmt: skip
    panel.annotate(f"% of {base}", (0, 0), (-6, -3), xycoords="axes fraction", textcoords="offset points",
                   ha="right", va="top", fontsize=8)  # fmt: skip


def _panel(
    panel: Axes,
    here: Mapping[str, Share | None],
    styles: Mapping[str, ScenarioLook],
    reach: float,
    room: float,
) -> None:
    """One condition: a row per scenario, the baseline as a line at 100 %."""
    panel.axvline(100, color=INK, linewidth=0.8, alpha=0.7)
    for row, (name, style) in enumerate(styles.items()):
        _mark(panel, row, style, here[name])
    if reach > _WIDE_RANGE:
        panel.set_xscale("log")
        panel.set_xlim(right=100 * reach ** (1.2 * room))
        panel.xaxis.set_major_formatter("{x:.0f}")
        return
    panel.set_xlim(0, 100 * max(reach, 1.1) * room)
    ticks.put(panel.xaxis, (0, 50, 100) if reach <= _FEW_TICKS else (0, 100))


def _mark(panel: Axes, row: int, style: ScenarioLook, share: Share | None) -> None:
    """The share as a point with its interval, and as a number at the right end; pale where it is not decided."""
    if share is None:
        _number(panel, row, "\N{EN DASH}", _PALE_TEXT)
        return
    alpha = 1.0 if share.decided else _PALE
    if share.low is not None and share.high is not None:
        limits = [100 * max(share.low, 0.0), 100 * share.high]
        panel.plot(limits, [row, row], color=style.colour, linewidth=1.6, alpha=alpha)
    panel.plot(100 * share.share, row, style.marker, color=style.colour, markerfacecolor=style.face,
               markersize=4.5, alpha=alpha)  # fmt: skip
    pct = 100 * share.share
    _number(panel, row, f"{pct:.0f}" if pct >= 10 else f"{pct:.2g}", 1.0 if share.decided else _PALE_TEXT)  # noqa: PLR2004


def _number(panel: Axes, row: int, text: str, alpha: float) -> None:
    panel.annotate(text, (1, row), (-1, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                   ha="right", va="center", fontsize=8, alpha=alpha)  # fmt: skip
