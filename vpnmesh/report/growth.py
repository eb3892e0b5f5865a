"""A growing mesh as text and as a figure: each figure against the number of members, with the fitted exponent."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from vpnmesh.report import canvas
from vpnmesh.report.formatting import significant
from vpnmesh.report.style import looks
from vpnmesh.stats.power_law import PowerLaw, power_law
from vpnmesh.study.growth import FIGURES
from vpnmesh.study.scenarios import Catalogue

SCHEMA: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "members": pl.Int64(),
    "repetition": pl.Int64(),
    **{name: pl.Float64() for name in FIGURES},
}
"""A row per mesh that was set up."""


def fits(frame: pl.DataFrame) -> dict[tuple[str, str], PowerLaw | None]:
    """The curve of every scenario and figure; None where there is nothing to fit (no control plane, too few sizes)."""
    return {
        (str(scenario), figure): power_law(rows["members"].to_list(), rows[figure].to_list())
        for (scenario,), rows in frame.group_by(["scenario"], maintain_order=True)
        for figure in FIGURES
    }


def told(fit: PowerLaw | None) -> str:
    """A fit in words: the exponent and, from six meshes, its interval."""
    if fit is None:
        return "nothing to fit (a figure of zero, or fewer than three sizes)"
    if fit.low is None or fit.high is None:
        return f"exponent {fit.exponent:.2f} from {fit.n} meshes, too few for an interval"
    return f"exponent {fit.exponent:.2f} (95 %: {fit.low:.2f} to {fit.high:.2f}) from {fit.n} meshes"


def text(frame: pl.DataFrame) -> str:
    """For each scenario and figure a line with the mean at each size, and the exponent."""
    found = fits(frame)
    lines = []
    for (scenario, figure), fit in found.items():
        means = frame.filter(scenario=scenario).group_by("members").agg(pl.col(figure).mean()).sort("members")
        shown = ", ".join(f"{members}: {significant(mean)}" for members, mean in means.iter_rows())
        lines.append(f"{scenario}: {FIGURES[figure]}: {shown}; {told(fit)}")
    return "\n".join(lines)


def figure(frame: pl.DataFrame, catalogue: Catalogue) -> str:
    """Every figure against the number of members, both axes logarithmic: a power law is a straight line."""
    title = "What a mesh costs as it grows, with fitted exponents"
    return canvas.draw("growth", title, partial(_figure, frame, fits(frame), catalogue))


def _figure(
    frame: pl.DataFrame, found: Mapping[tuple[str, str], PowerLaw | None], catalogue: Catalogue
) -> Figure:
    styles = looks(frame["scenario"].unique(), catalogue)
    drawn, axes = canvas.panels(len(FIGURES), 2, (3.9, 2.9), 0.5)
    sizes = sorted(frame["members"].unique())
    for panel, name in zip(axes, FIGURES, strict=True):
        for scenario, style in styles.items():
            mine = frame.filter((pl.col("scenario") == scenario) & (pl.col(name) > 0))
            fit = found.get((scenario, name))
            panel.plot(mine["members"].to_numpy(), mine[name].to_numpy(), style.marker, color=style.colour,
                       markerfacecolor=style.face, markersize=4.5)  # fmt: skip
            if fit is not None:
                x = np.array([sizes[0], sizes[-1]], dtype=float)
                panel.plot(x, [fit.at(one) for one in x], color=style.colour, linewidth=1)
                canvas.label(panel, x[1], fit.at(x[1]), f"{fit.exponent:.2f}")
        panel.set_title(FIGURES[name], fontsize=7.5)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.set_xticks([], minor=True)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        # written out: powers of ten would be formulas, which figures have none of
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(sizes[0] / 1.1, sizes[-1] * 1.35)
        panel.set_xlabel("members")
    canvas.legend(drawn, styles)
    return drawn
