"""What is decided of every pair of scenarios under a condition: the table that a first screen is made of."""

import polars as pl

VERDICTS: dict[str, pl.DataType] = {
    "test": pl.String(),
    "condition": pl.String(),
    "a": pl.String(),
    "b": pl.String(),
    # differ | equivalent | undecided (`vpnmesh.stats.sequential.PairVerdict`)
    "verdict": pl.String(),
    # mean of a / mean of b with its interval; empty where there are too few figures for one
    "ratio": pl.Float64(),
    "ratio_low": pl.Float64(),
    "ratio_high": pl.Float64(),
    # equivalent means closer than this share of the larger mean
    "margin_pct": pl.Float64(),
    "n_a": pl.Int64(),
    "n_b": pl.Int64(),
    # how many more minutes of measuring would likely decide an open pair; empty where it is decided, or nobody knows
    "minutes_more": pl.Float64(),
    # why a pair is open, in words; empty where it is decided
    "because": pl.String(),
}
"""A row per pair, test and condition, in the order of `pairwise`."""
