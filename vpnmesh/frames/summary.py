"""The numbers that the end of a run shows: rate per scenario, condition and test, with what was attempted."""

import polars as pl

from vpnmesh.study.outcome import UNAVAILABLE


def summarize(results: pl.DataFrame) -> pl.DataFrame:
    """Mean and sample standard deviation of `rate_mbit_s` with attempted and measured counts per cell.

    Columns: scenario, condition, test, attempted, measured, mean_mbit_s, sd_mbit_s, data_plane, reason. Mean and
    deviation are null where nothing (or one repetition only) was measured; `reason` is the first failure's.
    """
    failed = pl.col("outcome") == "failed"
    unavailable = failed & (pl.col("stage") == UNAVAILABLE)
    return (
        results.lazy()
        # an interrupted run that was resumed holds an unavailable row beside later attempts
        .group_by("scenario", "condition", "test", maintain_order=True)
        .agg(
            attempted=(~unavailable).sum().cast(pl.Int64),
            measured=(~failed).sum().cast(pl.Int64),
            mean_mbit_s=pl.col("rate_mbit_s").mean(),
            sd_mbit_s=pl.col("rate_mbit_s").std(),
            data_plane=pl.col("data_plane").filter(~unavailable).drop_nulls().first(),
            reason=pl.col("reason").filter(failed).first(),
        )
        .collect()
    )
