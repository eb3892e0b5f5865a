"""Draws one event as a timeline: datagrams that came, those that were lost or late, and what TCP brought."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.report import canvas
from vpnmesh.report.fallback import cells, silence_text
from vpnmesh.report.style import ScenarioLook, look
from vpnmesh.report.svg import INK
from vpnmesh.study.fallback import BIN_S, EVENTS, Silence
from vpnmesh.study.fallback_record import Attempt, When
from vpnmesh.study.scenarios import Catalogue
from vpnmesh.tools.streams import TCP_BYTES, TCP_PER_S, UDP_PER_S

_WIDTH, _HEIGHT = 9.6, 3.6
_HEADROOM = 1.6
"""How far above the asked rate an axis goes; what waited and comes at once may go beyond, and is cut there."""


def fallback_figures(attempts: Sequence[Attempt], catalogue: Catalogue) -> dict[str, str]:
    """A picture per solution and event, of the first repetition that saw anything; by name."""
    drawn = {}
    for cell in cells(attempts):
        first = next((one for one in cell.attempts if one.seen is not None), None)
        if first is not None:
            name = f"{cell.solution}-{cell.event}"
            title = f"{first.scenario}: {EVENTS[cell.event].title}"
            drawn[name] = canvas.draw(name, title, partial(_paint, first, title, catalogue))
    return drawn


def _paint(attempt: Attempt, title: str, catalogue: Catalogue) -> Figure:
    assert attempt.seen is not None
    assert attempt.when is not None
    steps, style = attempt.seen.steps, look(attempt.scenario, catalogue)
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    upper, lower = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.09, right=0.985, bottom=0.13, top=0.9, hspace=0.3)
    _steps(upper, steps.from_s, [count / BIN_S for count in steps.udp], style)
    _steps(lower, steps.from_s, steps.tcp_kbit_s, style)
    for axes, rate, name in (
        (upper, float(UDP_PER_S), "UDP, datagrams/s"),
        (lower, TCP_PER_S * TCP_BYTES * 8 / 1000, "TCP, kbit/s"),
    ):
        axes.set_ylim(-0.22 * rate if axes is upper else 0, _HEADROOM * rate)
        axes.set_ylabel(name)
        _marks(axes, attempt.when)
    bars = [(gap.from_s, gap.to_s - gap.from_s) for gap in steps.gaps]
    upper.broken_barh(bars, (-0.2 * UDP_PER_S, 0.14 * UDP_PER_S), color=INK, linewidth=0.6)
    upper.plot(steps.late_s, [-0.13 * UDP_PER_S] * len(steps.late_s), "v", color=style.colour, markersize=3.5)
    upper.set_yticks([0, UDP_PER_S])
    upper.set_title(title)
    for axes, text in ((upper, _told(attempt.seen.udp.silence)), (lower, _told(attempt.seen.tcp.silence))):
        axes.set_title(text, loc="right", fontweight="normal", fontsize=8)
    lower.set_xlabel("seconds since the event was begun")
    lower.set_xlim(steps.from_s, max(attempt.when.ended_s, steps.from_s + 1))
    return figure


def _told(silence: Silence) -> str:
    """The longest silence in words, above its panel."""
    text = silence_text([silence])
    return f"silent for {text} s" if silence.came_back else f"silent {text}"


def _steps(axes: Axes, from_s: float, values: Sequence[float], style: ScenarioLook) -> None:
    edges = [from_s + place * BIN_S for place in range(len(values) + 1)]
    axes.stairs(values, edges, color=style.colour, fill=True, alpha=0.35)
    axes.stairs(values, edges, color=style.colour, linewidth=0.9)


def _marks(axes: Axes, when: When) -> None:
    for from_s, to_s, word in ((0.0, when.done_s, "event"), (when.undo_s, when.undone_s, "undone")):
        if from_s is None or to_s is None:
            continue
        axes.axvspan(from_s, to_s, color=INK, alpha=0.1, linewidth=0)
        axes.axvline(from_s, color=INK, linestyle="--", linewidth=0.8)
        axes.annotate(
            word,
            (from_s, 1.0),
            (3, -8),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=7,
        )
