"""Figure 3 and the distribution of Kubernetes API response times; requests are aggregated lazily, never plotted."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpnmesh.frames.order import conditions_in_order
from vpnmesh.frames.requests import HEY, OPEN_LOOP
from vpnmesh.report import canvas
from vpnmesh.report.api_paper import PAPER
from vpnmesh.report.style import ScenarioLook, condition_title, looks
from vpnmesh.report.svg import INK
from vpnmesh.study.scenarios import Catalogue

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MARKS = "line: 90 % of requests, box: half, bar: median, points: means of runs"
_STEPS = tuple(np.round(np.linspace(0.0, 0.995, 100), 4))


def api_means(api: pl.LazyFrame, catalogue: Catalogue) -> str:
    """Figure 3: mean response time per scenario, each run's mean, and where half and 90 % of requests lie."""
    cells = _cells(api, _QUANTILES)
    runs = (
        _in_ms(api)
        .group_by("scenario", "condition", "mode", "run")
        .agg(pl.col("ms").mean())
        .sort("run")
        .collect()
    )
    styles = looks(cells["scenario"], catalogue)
    title = "Kubernetes API response time per scenario"
    return canvas.draw("fig3-api", title, partial(_means, cells, runs, styles))


def api_distribution(api: pl.LazyFrame, catalogue: Catalogue) -> str:
    """The share of requests answered within a time, per scenario."""
    cells = _cells(api, _STEPS)
    styles = looks(cells["scenario"], catalogue)
    title = "Distribution of API response times"
    return canvas.draw("distribution-api", title, partial(_ecdf, cells, styles))


def _in_ms(api: pl.LazyFrame) -> pl.LazyFrame:
    return api.filter("ok").with_columns(ms=pl.col("response_s") * 1000)


def _cells(api: pl.LazyFrame, quantiles: Sequence[float]) -> pl.DataFrame:
    """A row per scenario, condition and mode: the mean and a list of quantiles, both in milliseconds."""
    steps = [pl.col("ms").quantile(float(step)) for step in quantiles]
    grouped = _in_ms(api).group_by("scenario", "condition", "mode")
    return (
        grouped.agg(pl.col("ms").mean().alias("mean"), pl.concat_list(steps).alias("quantiles"))
        .sort("scenario")
        .collect()
    )


def _panels(cells: pl.DataFrame) -> list[tuple[str, str]]:
    found = set(cells.select("condition", "mode").iter_rows())
    return [
        (c, m)
        for c in conditions_in_order(cells["condition"])
        for m in (HEY, PAPER, OPEN_LOOP)
        if (c, m) in found
    ]


def _here(frame: pl.DataFrame, panel: tuple[str, str]) -> pl.DataFrame:
    return frame.filter(pl.col("condition") == panel[0], pl.col("mode") == panel[1])


def _title(panel: tuple[str, str]) -> str:
    return f"{condition_title(panel[0])}, {panel[1]}"


def _means(cells: pl.DataFrame, runs: pl.DataFrame, styles: Mapping[str, ScenarioLook]) -> Figure:
    scenarios, wanted = tuple(styles), _panels(cells)
    columns = 1 if len(wanted) == 1 else 2
    figure, axes = canvas.panels(len(wanted), columns, (7.5 / columns, 0.8 + 0.3 * len(scenarios)), 0.05)
    canvas.make_room(figure, scenarios)
    for number, (panel, key) in enumerate(zip(axes, wanted, strict=True)):
        here, mine = _here(cells, key), _here(runs, key)
        canvas.rows(panel, scenarios)
        for row, scenario in enumerate(scenarios):
            for cell in here.filter(pl.col("scenario") == scenario).to_dicts():
                of_runs = mine.filter(pl.col("scenario") == scenario)["ms"].to_numpy()
                _response(panel, row, styles[scenario], cell, of_runs)
        panel.set_title(_title(key))
        panel.set_xlabel(f"response time, ms ({MARKS})" if columns == 1 else "response time, ms")
        panel.set_xlim(0, panel.get_xlim()[1] * (1.15 if columns == 1 else 1.4))
        # the scenarios are the same in every panel: beside the left ones is enough
        panel.tick_params(labelleft=number % columns == 0)
    return figure


def _response(panel: Axes, row: int, style: ScenarioLook, cell: dict[str, object], runs: np.ndarray) -> None:
    low, first, median, third, high = np.asarray(cell["quantiles"], dtype=float)
    panel.plot([low, high], [row, row], color=style.colour, linewidth=1.2)
    panel.barh(row, third - first, left=first, height=0.5, facecolor=style.colour, edgecolor=style.colour,
               alpha=0.45, hatch=style.hatch)  # fmt: skip
    panel.plot([median, median], [row - 0.3, row + 0.3], color=INK, linewidth=1.3)
    panel.plot(runs, np.full(len(runs), row), style.marker, color=style.colour, markerfacecolor=style.face,
               markeredgecolor=INK, markeredgewidth=0.6, markersize=4)  # fmt: skip
    canvas.label(panel, high, row, f"mean {cell['mean']:.0f} ms")


def _ecdf(cells: pl.DataFrame, styles: Mapping[str, ScenarioLook]) -> Figure:
    wanted = _panels(cells)
    columns = 1 if len(wanted) == 1 else 2
    figure, axes = canvas.panels(len(wanted), columns, (7.5 / columns, 3.4), 0.6)
    for panel, key in zip(axes, wanted, strict=True):
        for cell in _here(cells, key).to_dicts():
            style = styles[cell["scenario"]]
            panel.plot(cell["quantiles"], np.asarray(_STEPS) * 100, color=style.colour,
                       linewidth=1.5, linestyle=(0, style.dashes))  # fmt: skip
        panel.set_title(_title(key))
        panel.set_xlabel("response time, ms (up to the 99.5th percentile)")
        panel.set_ylabel("requests answered, %")
        panel.set_ylim(0, 100)
        panel.set_xlim(left=0)
    canvas.legend(figure, styles, lines=True)
    return figure
