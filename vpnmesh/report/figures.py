"""The figures of the paper from any study, and the distributions and the drift behind their means.

Each function takes rows and returns SVG text. Figures 1 and 2 keep readings of at least 0, as the authors'
notebook did; the tables keep readings above 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.frames.order import THROUGHPUT_TESTS, conditions_in_order
from vpnmesh.report import answers_figure, beyond_paper, canvas
from vpnmesh.report.api_figures import api_distribution, api_means
from vpnmesh.report.api_paper import with_papers
from vpnmesh.report.canvas import MAX_POINTS
from vpnmesh.report.drift import drift
from vpnmesh.report.efficiency_figure import efficiency_figures
from vpnmesh.report.mesh_figures import mesh_figures
from vpnmesh.report.origin_figure import origin_figures
from vpnmesh.report.ramp_figure import ramp_figure
from vpnmesh.report.style import ScenarioLook, condition_title, look, looks
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study
from vpnmesh.report.variants import families
from vpnmesh.stats.drift import FEWEST_FOR_TREND
from vpnmesh.study.scenarios import Catalogue

_RATE = "throughput, Mbit/s"
_FEW_REQUESTS = 1_000_000
"""Up to here requests take less than some 100 MB; beyond, every figure reads them from the files again."""


def figures(study: Study) -> dict[str, str]:
    """Every figure that the study has data for, as SVG text by file name (without suffix)."""
    drawn = answers_figure.figure(study)
    known = study.scenarios
    for number, test in enumerate(THROUGHPUT_TESTS, start=1):
        samples = study.samples.filter(pl.col("test") == test)
        means = study.tables["throughput"].filter(pl.col("test") == test)
        if means.filter(pl.col("measured") > 0).is_empty():
            continue
        if not _with_cpu(samples).is_empty():
            drawn[f"fig{number}-{test}"] = throughput_cpu(samples, test, known)
        drawn[f"fig{number + 3}-{test}-means"] = mean_bars(means, test, known)
        drawn[f"distribution-{test}"] = distribution(study.measured(test), test, known)
        if not means.filter(pl.col("measured") >= FEWEST_FOR_TREND).is_empty():
            drawn[f"drift-{test}"] = drift(study.measured(test), means, test, known)
    drawn |= ramp_figure(study) | variant_figures(study)
    drawn |= origin_figures(study) | efficiency_figures(study) | mesh_figures(study)
    study = _read_once(study)
    if not (answered := beyond_paper.answered(study)).is_empty():
        api = study.api
        if "paper_mean_s" in answered.columns:
            api = with_papers(api, answered["scenario"].unique().to_list())
        drawn["fig3-api"] = api_means(api, known)
        drawn["distribution-api"] = api_distribution(api, known)
    return {**drawn, **beyond_paper.figures(study)}


def _read_once(study: Study) -> Study:
    """The study with its answered requests in memory where they are few; each API figure asks for all of them."""
    if study.tables["api"]["requests"].sum() > _FEW_REQUESTS:
        return study
    needed = ("scenario", "condition", "mode", "run", "response_s", "ok")
    return replace(study, api=study.api.filter("ok").select(needed).collect().lazy())


def _order(frame: pl.DataFrame, catalogue: Catalogue) -> tuple[dict[str, ScenarioLook], tuple[str, ...]]:
    """Scenarios with their looks, and conditions, both in the order of every figure."""
    return looks(frame["scenario"].unique(), catalogue), conditions_in_order(frame["condition"].unique())


def _with_cpu(samples: pl.DataFrame) -> pl.DataFrame:
    """The repetitions with all three readings at 0 or above, whatever became of them."""
    return samples.filter(
        *[pl.col(name) >= 0 for name in ("rate_mbit_s", "client_cpu_pct", "server_cpu_pct")]
    )


def throughput_cpu(samples: pl.DataFrame, test: str, catalogue: Catalogue) -> str:
    """Figures 1 and 2: throughput against the client's CPU, and beside it against the server's."""
    kept = _with_cpu(samples)
    name = f"fig{1 + THROUGHPUT_TESTS.index(test)}-{test}"
    title = f"{test.upper()} throughput against CPU of client and server, per condition"
    return canvas.draw(name, title, partial(_throughput_cpu, kept, catalogue))


def _throughput_cpu(kept: pl.DataFrame, catalogue: Catalogue) -> Figure:
    styles, conditions = _order(kept, catalogue)
    figure, axes = canvas.panels(2 * len(conditions), 4, (2.85, 2.35), 0.6)
    paint = _crosses if kept.height > MAX_POINTS else _points
    cells = _cells(kept)
    for index, condition in enumerate(conditions):
        here = [
            (style, cells[name, condition]) for name, style in styles.items() if (name, condition) in cells
        ]
        for offset, end in enumerate(("client", "server")):
            panel = axes[2 * index + offset]
            paint(panel, here, f"{end}_cpu_pct")
            panel.set_title(f"{condition_title(condition)}: {end}")
            panel.set_xlabel(f"CPU of the {end}, %")
            panel.set_xlim(left=0)
            panel.set_ylim(bottom=0)
        axes[2 * index].set_ylabel(_RATE)
    canvas.legend(figure, styles)
    return figure


def _cells(frame: pl.DataFrame) -> dict[tuple[str, str], pl.DataFrame]:
    """The rows by scenario and condition."""
    groups = frame.partition_by("scenario", "condition", as_dict=True, maintain_order=True)
    return {(str(scenario), str(condition)): rows for (scenario, condition), rows in groups.items()}


def _points(panel: Axes, here: Sequence[tuple[ScenarioLook, pl.DataFrame]], cpu: str) -> None:
    for style, mine in here:
        panel.plot(
            mine[cpu].to_numpy(),
            mine["rate_mbit_s"].to_numpy(),
            style.marker,
            markersize=3.6,
            color=style.colour,
            markerfacecolor=style.face,
            markeredgewidth=0.7,
            alpha=0.75,
        )


def _crosses(panel: Axes, here: Sequence[tuple[ScenarioLook, pl.DataFrame]], cpu: str) -> None:
    """The middle 90 % in both directions, crossing at the medians: for more repetitions than an eye can tell."""
    for style, mine in here:
        x, y = (np.quantile(mine[name], (0.05, 0.5, 0.95)) for name in (cpu, "rate_mbit_s"))
        panel.plot(x[[0, 2]], y[[1, 1]], color=style.colour, linewidth=1.4)
        panel.plot(x[[1, 1]], y[[0, 2]], color=style.colour, linewidth=1.4)
        panel.plot(x[1], y[1], style.marker, color=style.colour, markerfacecolor=style.face, markersize=5)


def mean_bars(means: pl.DataFrame, test: str, catalogue: Catalogue) -> str:
    """Figures 4 and 5: mean throughput per condition, with the standard deviation and what was measured."""
    name = f"fig{4 + THROUGHPUT_TESTS.index(test)}-{test}-means"
    title = f"Mean {test.upper()} throughput per condition and scenario, in Mbit/s"
    return canvas.draw(name, title, partial(_mean_bars, means, _order(means, catalogue)[0]))


def variant_figures(study: Study) -> dict[str, str]:
    """Mean throughput of each scenario with variants and of those, one below the other; by file name."""
    drawn = {}
    for test in THROUGHPUT_TESTS:
        means = study.tables["throughput"].filter(pl.col("test") == test)
        found = families(means["scenario"], study.scenarios)
        together = [name for base, variants in found.items() for name in (base, *variants)]
        mine = means.filter(pl.col("scenario").is_in(together))
        if mine.filter(pl.col("measured") > 0).is_empty():
            continue
        styles = {name: look(name, study.scenarios) for name in together}
        title = f"Mean {test.upper()} throughput of variants beside their base, in Mbit/s"
        drawn[f"variants-{test}"] = canvas.draw(f"variants-{test}", title, partial(_mean_bars, mine, styles))
    return drawn


def _mean_bars(means: pl.DataFrame, styles: Mapping[str, ScenarioLook]) -> Figure:
    conditions = conditions_in_order(means["condition"])
    height = 0.75 + 0.21 * len(styles)
    figure, axes = canvas.condition_panels(len(conditions), height, tuple(styles))
    for panel, condition in zip(axes, conditions, strict=True):
        here = {row["scenario"]: row for row in means.filter(pl.col("condition") == condition).to_dicts()}
        for row, (scenario, style) in enumerate(styles.items()):
            _bar(panel, row, style, here.get(scenario))
        panel.set_title(condition_title(condition))
        panel.set_xlabel(_RATE)
        panel.set_xlim(0, panel.get_xlim()[1] * 1.25)
    return figure


def _bar(panel: Axes, row: int, style: ScenarioLook, cell: dict[str, float] | None) -> None:
    if not cell or cell["mean_mbit_s"] is None:
        why = f"0 of {cell['attempted']} measured" if cell and cell["attempted"] else "not run"
        canvas.label(panel, 0, row, why, italic=True)
        return
    mean, sd = cell["mean_mbit_s"], cell["sd_mbit_s"] or 0.0
    face = style.colour if style.filled else "none"
    # a hatch in the bar's own colour would not be seen on it
    edge = INK if style.filled and style.hatch else style.colour
    panel.barh(row, mean, height=0.68, facecolor=face, edgecolor=edge, hatch=style.hatch, linewidth=0.8)
    panel.plot([max(mean - sd, 0), mean + sd], [row, row], color=INK, linewidth=1)
    short = "" if cell["measured"] == cell["attempted"] else f" ({cell['measured']} of {cell['attempted']})"
    slow = " slow start" if cell.get("slow_start") else ""
    canvas.label(panel, mean + sd, row, f"{mean:.3g}{short}{slow}", italic=bool(slow))


def distribution(measured: pl.DataFrame, test: str, catalogue: Catalogue) -> str:
    """Every repetition of every cell as a point, with quantiles; quantile bands alone above `MAX_POINTS`."""
    name = f"distribution-{test}"
    title = f"Distribution of {test.upper()} throughput: every repetition, median and middle half"
    return canvas.draw(name, title, partial(_distribution, measured, catalogue))


def _distribution(measured: pl.DataFrame, catalogue: Catalogue) -> Figure:
    styles, conditions = _order(measured, catalogue)
    height = 0.75 + 0.27 * len(styles)
    figure, axes = canvas.condition_panels(len(conditions), height, tuple(styles))
    points, cells = measured.height <= MAX_POINTS, _cells(measured)
    nothing = np.empty(0)
    for panel, condition in zip(axes, conditions, strict=True):
        medians = []
        for row, (scenario, style) in enumerate(styles.items()):
            found = cells.get((scenario, condition))
            values = nothing if found is None else found["rate_mbit_s"].to_numpy()
            _strip(panel, row, style, values, points=points)
            if values.size:
                median = float(np.median(values))
                medians.append(((median, row - 0.38), (median, row + 0.38)))
        canvas.strokes(panel, medians, colors=INK, linewidths=1.3, zorder=2.5)
        panel.set_title(condition_title(condition))
        panel.set_xlabel(_RATE)
        panel.set_xlim(left=0)
    return figure


def _strip(panel: Axes, row: int, style: ScenarioLook, values: np.ndarray, *, points: bool) -> None:
    if not len(values):
        canvas.label(panel, 0, row, "nothing measured", italic=True)
        return
    if points:
        # a fixed pattern, not chance: the same data give the same picture
        spread = row + 0.3 * np.sin(2.4 * np.arange(len(values)))
        panel.plot(values, spread, style.marker, markersize=2.9, color=style.colour, markerfacecolor=style.face,
                   markeredgewidth=0.7, alpha=0.85)  # fmt: skip
    else:
        low, first, third, high = np.quantile(values, (0.05, 0.25, 0.75, 0.95))
        panel.plot([low, high], [row, row], color=style.colour, linewidth=1.2)
        panel.plot([first, third], [row, row], color=style.colour, linewidth=6, alpha=0.55)
