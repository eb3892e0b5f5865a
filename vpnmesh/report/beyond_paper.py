"""Figures beyond the paper's: netem's cap, the place of the impairment, failed repetitions, and dependent requests."""

from functools import partial

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from vpnmesh.errors import InputError
from vpnmesh.frames.order import conditions_in_order
from vpnmesh.frames.requests import HEY
from vpnmesh.model import Condition
from vpnmesh.report import canvas
from vpnmesh.report.style import condition_title, looks
from vpnmesh.report.svg import INK
from vpnmesh.report.tables import Study
from vpnmesh.stats.caps import NEAR_CAP
from vpnmesh.study.scenarios import Catalogue


def figures(study: Study) -> dict[str, str]:
    """Those of the four that the study has data for."""
    throughput = study.tables["throughput"]
    drawn: dict[str, str] = {}
    capped = near_cap(throughput)
    if not capped.is_empty():
        drawn["unseen-netem-cap"] = canvas.draw(
            "unseen-netem-cap",
            "Mean throughput as a share of what netem's queue lets through",
            partial(_cap, capped, study.scenarios),
        )
    kept = retention(throughput)
    if not kept.is_empty():
        drawn["unseen-placement"] = canvas.draw(
            "unseen-placement",
            "Share of the undisturbed throughput kept under loss",
            partial(_placement, kept, study.scenarios),
        )
    if not throughput.is_empty():
        drawn["unseen-failed"] = canvas.draw(
            "unseen-failed", "Failed repetitions per cell", partial(_failed, throughput, study.scenarios)
        )
    if not answered(study).filter(condition="none").is_empty():
        runs = api_runs(study.api)
        drawn["unseen-replication"] = canvas.draw(
            "unseen-replication",
            "Intervals of the mean response time: per request and per run",
            partial(_runs, runs, study.scenarios),
        )
    return drawn


def answered(study: Study) -> pl.DataFrame:
    """The rows of the API table with requests that were answered."""
    return study.tables["api"].filter(pl.col("requests") > pl.col("failed"))


def near_cap(throughput: pl.DataFrame) -> pl.DataFrame:
    """Cells with a known cap of netem's queue or of a limited rate, and their mean as a share of it in percent."""
    return throughput.with_columns(share_pct=100 * pl.col("cap_share")).drop_nulls("share_pct")


def _cap(capped: pl.DataFrame, catalogue: Catalogue) -> Figure:
    styles = looks(capped["scenario"].unique(), catalogue)
    scenarios = tuple(styles)
    conditions = conditions_in_order(capped["condition"].unique())
    tests = [name for name in ("tcp", "udp") if name in set(capped["test"])]
    size = (7.5 / len(tests) if len(tests) > 1 else 7.5, 0.9 + 0.3 * len(scenarios))
    figure, axes = canvas.panels(len(tests), len(tests), size, 0.2)
    canvas.make_room(figure, scenarios)
    order = ", ".join(condition_title(name) for name in conditions)
    for panel, test in zip(axes, tests, strict=True):
        # what is the same in both is said at the first: at the second it would lie on the first
        first = panel is axes[0]
        canvas.rows(panel, scenarios, named=first)
        stems, colours = [], []
        for cell in capped.filter(pl.col("test") == test).to_dicts():
            row, style = scenarios.index(cell["scenario"]), styles[cell["scenario"]]
            offset = 0.24 * (conditions.index(cell["condition"]) - (len(conditions) - 1) / 2)
            stems.append(((0.0, row + offset), (cell["share_pct"], row + offset)))
            colours.append(style.colour)
            panel.plot(cell["share_pct"], row + offset, style.marker, color=style.colour,
                       markerfacecolor=style.face, markersize=4.5)  # fmt: skip
        canvas.strokes(panel, stems, colors=colours, linewidths=0.7, alpha=0.5)
        panel.axvline(100, color=INK, linewidth=1)
        panel.axvline(100 * NEAR_CAP, color=INK, linewidth=1, linestyle=(0, (2, 2)), alpha=0.6)
        panel.set_xlim(0, max(105.0, float(panel.get_xlim()[1])))
        panel.set_title(test.upper())
        label = "mean throughput, % of the cap"
        panel.set_xlabel(f"{label}\n(from the top: {order})" if first else label)
    return figure


def retention(throughput: pl.DataFrame) -> pl.DataFrame:
    """Each lossy cell's mean as a share of the same scenario's undisturbed mean, in percent."""
    keys = ["scenario", "test"]
    calm = throughput.filter(pl.col("condition") == "none").select(*keys, calm="mean_mbit_s")
    names = [name for name in throughput["condition"].unique() if _only_loses(name)]
    lossy = throughput.filter(pl.col("condition").is_in(names))
    joined = lossy.join(calm, on=keys).with_columns(kept_pct=100 * pl.col("mean_mbit_s") / pl.col("calm"))
    return joined.drop_nulls("kept_pct")


def _only_loses(name: str) -> bool:
    """Whether a condition is loss and nothing else; not one of another tool's."""
    try:
        condition = Condition.parse(name)
    except InputError:
        return False
    return bool(condition) and condition == Condition(loss_pct=condition.loss_pct)


def _placement(kept: pl.DataFrame, catalogue: Catalogue) -> Figure:
    styles = looks(kept["scenario"].unique(), catalogue)
    tests = [name for name in ("tcp", "udp") if name in set(kept["test"])]
    figure, axes = canvas.panels(len(tests), len(tests), (7.5 / len(tests), 3.3), 0.6)
    for panel, test in zip(axes, tests, strict=True):
        for scenario, style in styles.items():
            mine = kept.filter(pl.col("test") == test, pl.col("scenario") == scenario)
            rows = sorted(
                (Condition.parse(row["condition"]).loss_pct, row["kept_pct"]) for row in mine.to_dicts()
            )
            panel.plot([0.0, *(loss for loss, _ in rows)], [100.0, *(share for _, share in rows)],
                       marker=style.marker, markersize=4.5, color=style.colour, markerfacecolor=style.face,
                       linestyle=(0, style.dashes), linewidth=1.3)  # fmt: skip
        panel.set_title(test.upper())
        panel.set_xlabel("loss, %")
        panel.set_ylabel("throughput kept, % of undisturbed")
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
    canvas.legend(figure, styles)
    return figure


def _failed(throughput: pl.DataFrame, catalogue: Catalogue) -> Figure:
    scenarios = catalogue.in_order(throughput["scenario"])
    conditions = conditions_in_order(throughput["condition"].unique())
    tests = [name for name in ("tcp", "udp") if name in set(throughput["test"])]
    height = 0.75 + 0.28 * len(scenarios)
    figure, axes = canvas.panels(len(tests), 1, (8.6, height), 0.05)
    canvas.make_room(figure, scenarios)
    for panel, test in zip(axes, tests, strict=True):
        canvas.rows(panel, scenarios)
        panel.set_xlim(-0.5, len(conditions) - 0.5)
        panel.set_xticks(range(len(conditions)), [condition_title(name) for name in conditions])
        panel.grid(visible=False)
        panel.set_title(f"{test.upper()}: failed of attempted")
        for cell in throughput.filter(pl.col("test") == test).to_dicts():
            place = (conditions.index(cell["condition"]), scenarios.index(cell["scenario"]))
            if not cell["attempted"]:
                panel.text(
                    *place, "not run", ha="center", va="center", fontsize=7.5, style="italic", alpha=0.55
                )
                continue
            failed = cell["attempted"] - cell["measured"]
            if failed:
                panel.barh(place[1], 0.94, left=place[0] - 0.47, height=0.86, facecolor="#c8453b", alpha=0.3)
            panel.text(*place, f"{failed} of {cell['attempted']}", ha="center", va="center", fontsize=7.5,
                       weight="bold" if failed else "normal", alpha=1 if failed else 0.55)  # fmt: skip
    return figure


def api_runs(api: pl.LazyFrame) -> pl.DataFrame:
    """Per scenario of the undisturbed requests: the mean (ms), and half the 95 % interval by requests and by runs.

    Of those that were asked as in the paper, where there are any.
    """
    calm = api.filter(pl.col("ok") & (pl.col("condition") == "none"))
    modes = set(calm.select(pl.col("mode").unique()).collect()["mode"])
    good = calm.filter(pl.col("mode") == (HEY if HEY in modes else min(modes))).with_columns(
        ms=pl.col("response_s") * 1000
    )
    single = good.group_by("scenario").agg(
        mean=pl.col("ms").mean(), by_request=1.96 * pl.col("ms").std() / pl.len().sqrt(), requests=pl.len()
    )
    runs = (
        good.group_by("scenario", "mode", "run")
        .agg(pl.col("ms").mean())
        .group_by("scenario")
        .agg(pl.col("ms").sort())
    )
    return single.join(runs, on="scenario").sort("scenario").collect()


def _runs(runs: pl.DataFrame, catalogue: Catalogue) -> Figure:
    styles = looks(runs["scenario"], catalogue)
    scenarios = tuple(styles)
    figure, (panel,) = canvas.panels(1, 1, (7.5, 0.9 + 0.32 * len(scenarios)), 0.05)
    figure.subplots_adjust(left=2.5 / figure.get_figwidth())
    ordered = sorted(runs.to_dicts(), key=lambda cell: scenarios.index(cell["scenario"]))
    for row, cell in enumerate(ordered):
        style, of_runs = styles[cell["scenario"]], np.asarray(cell["ms"])
        panel.plot(of_runs, np.full(len(of_runs), row + 0.14), style.marker, color=style.colour,
                   markerfacecolor=style.face, markersize=4.5)  # fmt: skip
        panel.plot([of_runs.min(), of_runs.max()], [row + 0.14] * 2, color=style.colour, linewidth=0.8)
        low, high = cell["mean"] - cell["by_request"], cell["mean"] + cell["by_request"]
        panel.plot([low, high], [row - 0.18] * 2, color=INK, linewidth=4, solid_capstyle="butt")
    named = [f"{row['scenario']}  ({row['requests']:,} in {len(row['ms'])} runs)" for row in ordered]
    canvas.rows(panel, named)
    panel.set_xlabel("mean response time, ms (bar: 95 % interval of all requests; points: runs)")
    return figure
