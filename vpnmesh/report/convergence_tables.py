"""What a run measured beside throughput, as tables: falling back and returning, and RTTs of pings."""

import polars as pl

from vpnmesh.frames.aggregate import sort_cells, unavailable
from vpnmesh.study.scenarios import Catalogue

CONVERGENCE: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "attempted": pl.Int64(),
    "measured": pl.Int64(),
    "figure": pl.String(),
    "n": pl.Int64(),
    "seconds_mean": pl.Float64(),
    "seconds_sd": pl.Float64(),
    "seconds_max": pl.Float64(),
}
"""A row per scenario and change (`to_relay_s`, `to_direct_s`, `restart_s`, ...); `figure` is null where none came."""

PING: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "attempted": pl.Int64(),
    "measured": pl.Int64(),
    "rtt_ms_mean": pl.Float64(),
    "rtt_ms_sd": pl.Float64(),
    "lost_pct_mean": pl.Float64(),
}

_CELL = ["scenario", "condition"]
_MEASURED = pl.col("outcome") == "measured"


def convergence(samples: pl.DataFrame, further: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """How long paths took to change, of how many attempts; an attempt that never settled failed, with its reason."""
    figures = (
        further.filter(test="convergence")
        .group_by(*_CELL, "figure", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("value").mean().alias("seconds_mean"),
            pl.col("value").std().alias("seconds_sd"),
            pl.col("value").max().alias("seconds_max"),
        )
    )
    rows = _counts(samples, "convergence").join(figures, on=_CELL, how="left", maintain_order="left_right")
    return _sorted(rows, catalogue).select(*CONVERGENCE)


def ping(samples: pl.DataFrame, further: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """RTT and loss of the ping test; without a journal, the RTTs are those of the checks before and after."""
    rtts = further.filter(test="ping", figure="rtt_ms").select(*_CELL, "repetition", rtt_ms="value")
    tried = samples.filter((pl.col("test") == "ping") & _MEASURED)
    figures = (
        tried.join(rtts, on=[*_CELL, "repetition"], how="left")
        .with_columns(
            rtt_ms=pl.coalesce("rtt_ms", pl.mean_horizontal("rtt_ms_before", "rtt_ms_after")),
        )
        .group_by(_CELL)
        .agg(
            pl.col("rtt_ms").mean().alias("rtt_ms_mean"),
            pl.col("rtt_ms").std().alias("rtt_ms_sd"),
            pl.col("lost_pct").mean().alias("lost_pct_mean"),
        )
    )
    rows = _counts(samples, "ping").join(figures, on=_CELL, how="left")
    return _sorted(rows, catalogue).select(*PING)


def _counts(samples: pl.DataFrame, test: str) -> pl.DataFrame:
    return (
        samples.filter((pl.col("test") == test) & ~unavailable())
        .group_by(_CELL)
        .agg(pl.len().cast(pl.Int64).alias("attempted"), _MEASURED.sum().cast(pl.Int64).alias("measured"))
    )


def _sorted(frame: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    return sort_cells(frame.with_columns(test=pl.lit("")), catalogue)
