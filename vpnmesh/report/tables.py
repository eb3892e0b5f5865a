"""Everything a report shows, as one value: the repetitions, the requests, and the tables made from them.

A `Study` is made from files by `workflows.studies` and rendered by `vpnmesh.report.render`; it knows neither
where its rows came from nor how they will look.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

THROUGHPUT: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "protocol": pl.String(),
    "attempted": pl.Int64(),
    "measured": pl.Int64(),
    "mean_mbit_s": pl.Float64(),
    "sd_mbit_s": pl.Float64(),
    "cv": pl.Float64(),
    "ratio_native_1450": pl.Float64(),
    "ratio_native_1230": pl.Float64(),
}

PAIRWISE: dict[str, pl.DataType] = {
    "test": pl.String(),
    "condition": pl.String(),
    "a": pl.String(),
    "b": pl.String(),
    "n_a": pl.Int64(),
    "n_b": pl.Int64(),
    "u": pl.Float64(),
    "p": pl.Float64(),
    "p_holm": pl.Float64(),
    "reject": pl.Boolean(),
    "reject_holm": pl.Boolean(),
    "cliffs_delta": pl.Float64(),
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
}

API_TABLE: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "mode": pl.String(),
    "requests": pl.Int64(),
    "failed": pl.Int64(),
    "mean_s": pl.Float64(),
    "sd_s": pl.Float64(),
    "p50_s": pl.Float64(),
    "p90_s": pl.Float64(),
    "p99_s": pl.Float64(),
    "achieved_rps": pl.Float64(),
    "saturated": pl.Boolean(),
}

RESOURCES: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "protocol": pl.String(),
    "end": pl.String(),
    "n": pl.Int64(),
    "cpu_pct_mean": pl.Float64(),
    "cpu_pct_sd": pl.Float64(),
    "ram_mb_mean": pl.Float64(),
    "ram_mb_sd": pl.Float64(),
}

ENVIRONMENT: dict[str, pl.DataType] = {
    "component": pl.String(),
    "description": pl.String(),
}

CRITERIA: dict[str, pl.DataType] = {
    "name": pl.String(),
    "qualifies": pl.String(),
    "failed": pl.String(),
}

TABLES = {
    "throughput": THROUGHPUT,
    "pairwise": PAIRWISE,
    "api": API_TABLE,
    "resources": RESOURCES,
    "environment": ENVIRONMENT,
    "criteria": CRITERIA,
}
"""The tables of every report and the columns each starts with; further columns and tables may follow."""


@dataclass(frozen=True, slots=True)
class Study:
    """One set of results with everything computed from it; figures and text are made from this alone.

    `samples` has the columns of `schemas.RESULTS`, one row per attempted repetition: statistics use those with
    outcome `measured`. `api` has the columns of `schemas.API`, one row per request, lazily. `tables` holds at
    least the keys of `TABLES`. `notes` say what was dropped or repaired, how often and why.
    """

    samples: pl.DataFrame
    api: pl.LazyFrame
    tables: Mapping[str, pl.DataFrame]
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    scenario_order: tuple[str, ...] = ()

    def measured(self, test: str) -> pl.DataFrame:
        """The repetitions of a test (tcp, udp, idle) that gave figures."""
        return self.samples.filter((pl.col("test") == test) & (pl.col("outcome") == "measured"))
