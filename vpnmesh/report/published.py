"""A run compared with the paper's Tables A1 and A2, by the ratio to its own baseline, since machines differ.

Where the data plane differs (the paper's NetBird ran in the kernel), a ratio says nothing about the ranking
of solutions; such rows are marked and no verdict is given on them.
"""

import polars as pl

from vpnmesh.reference import DATA_PLANES, paper_tables
from vpnmesh.report.throughput import ratio_column
from vpnmesh.study.scenarios import Catalogue

PUBLISHED: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "baseline": pl.String(),
    "published_ratio": pl.Float64(),
    "own_ratio": pl.Float64(),
    "own_low": pl.Float64(),
    "own_high": pl.Float64(),
    "own_over_published": pl.Float64(),
    "published_data_plane": pl.String(),
    "own_data_plane": pl.String(),
    "comparable": pl.Boolean(),
    "agrees": pl.Boolean(),
}
_ROUNDING = 0.005
_CELL = ["scenario", "condition", "test"]


def published(
    samples: pl.DataFrame, throughput: pl.DataFrame, pairs: pl.DataFrame, catalogue: Catalogue
) -> pl.DataFrame:
    """A row per published cell that the run has too, and per baseline that the run has.

    `agrees`: the published ratio, rounded to two digits as it is, meets the own ratio's 95 % interval; null
    where there is no interval or the data planes are known to differ.
    """
    planes, printed = own_planes(samples), paper_tables().columns
    known = [name for name in catalogue.baselines if ratio_column(name) in printed]
    parts = [_against(name, throughput, pairs, planes) for name in known]
    return pl.concat(parts).select(list(PUBLISHED)) if parts else pl.DataFrame(schema=PUBLISHED)


def own_planes(samples: pl.DataFrame) -> pl.DataFrame:
    """Each scenario's data plane as the run recorded it, several joined by a slash."""
    return (
        samples.filter(pl.col("data_plane") != "")
        .group_by("scenario")
        .agg(pl.col("data_plane").unique().sort().str.join("/").alias("own_data_plane"))
        .sort("scenario")
    )


def _against(
    baseline: str, throughput: pl.DataFrame, pairs: pl.DataFrame, planes: pl.DataFrame
) -> pl.DataFrame:
    column = ratio_column(baseline)
    own = throughput.select(*_CELL, own_ratio=pl.col(column))
    bounds = pairs.filter(pl.col("a") == baseline).select(
        scenario="b", condition="condition", test="test", own_low="ratio_low", own_high="ratio_high"
    )
    rows = (
        paper_tables()
        .select(*_CELL, published_ratio=pl.col(column))
        .join(own, on=_CELL, maintain_order="left")
        .filter(pl.col("own_ratio").is_not_null())
        .join(bounds, on=_CELL, how="left", maintain_order="left")
        .join(planes, on="scenario", how="left", maintain_order="left")
    )
    plane = pl.col("scenario").replace_strict(DATA_PLANES, return_dtype=pl.String, default=None)
    same = pl.col("own_data_plane") == plane
    near = (pl.col("published_ratio") - _ROUNDING <= pl.col("own_high")) & (
        pl.col("published_ratio") + _ROUNDING >= pl.col("own_low")
    )
    return rows.with_columns(
        baseline=pl.lit(baseline),
        own_over_published=pl.col("own_ratio") / pl.col("published_ratio"),
        published_data_plane=plane,
        comparable=same,
        agrees=pl.when(same.fill_null(value=True)).then(near),
    )
