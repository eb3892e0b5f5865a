"""The tables of a run: a row per repetition (`results.parquet`), and a row per figure (`figures.parquet`)."""

from collections.abc import Iterator

import polars as pl

from vpnmesh.errors import InputError

SCHEMA_VERSION = 2

ENDS = ("client", "server", "relay")
"""The nodes whose load is recorded; the relay goes beyond the paper."""

_LOAD = ("cpu_pct", "cpu_user_pct", "cpu_system_pct", "ram_mb", "solution_cpu_pct", "solution_ram_mb")

# CPU figures are percent of ONE core summed over the node (200 = two cores busy); RAM is in 10^6 bytes
# RTTs are of a pod-to-pod ping under the condition, before and after the repetition
RESULTS: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "pair": pl.String(),
    "repetition": pl.Int64(),
    "outcome": pl.String(),
    "stage": pl.String(),
    "reason": pl.String(),
    "rate_mbit_s": pl.Float64(),
    "rtt_ms_before": pl.Float64(),
    "rtt_ms_after": pl.Float64(),
    "visit": pl.Int64(),
    "sequence": pl.Int64(),
    "started_at": pl.Datetime("us", "UTC"),
    "elapsed_s": pl.Float64(),
    "data_plane": pl.String(),
    "sent_mbit_s": pl.Float64(),
    "lost_pct": pl.Float64(),
    "retransmits": pl.Float64(),
    "relay_share": pl.Float64(),
    **{f"{end}_{figure}": pl.Float64() for end in ENDS for figure in _LOAD},
    "machine_cpu_pct": pl.Float64(),
    "machine_softirq_pct": pl.Float64(),
    # the figure is that of the impairment's queue, not of the VPN (`vpnmesh.stats.caps`)
    "near_cap": pl.Boolean(),
    # how much later than asked packets left the impairment on average: an engine that shares the CPU can fall behind
    "impairment_late_ms": pl.Float64(),
    # where the impairment is, PLACE:END:LIMIT as on the command line, and what makes it: figures of different
    # places or engines are never pooled
    "placement": pl.String(),
    "engine": pl.String(),
    "raw": pl.String(),
    # how many pairs were measured at that time, this one among them
    "at_once": pl.Int64(),
    # whether the session that made it went on in surroundings that are not the first session's (`--adopt`)
    "adopted": pl.Boolean(),
}
LATER = ("adopted",)
"""Columns that tables of earlier versions lack: nobody could say then, so they are null."""

FIGURE_COLUMNS = ("rate_mbit_s", "sent_mbit_s", "lost_pct", "retransmits")
"""The figures that have a column of their own in `RESULTS`; all figures are rows of `FIGURES`."""

# a row per figure of a measured repetition, whichever test gave it: written as `figures.parquet` beside the results.
# `unit` is how people write it; the end of `figure` is the same unit
FIGURES: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "test": pl.String(),
    "pair": pl.String(),
    "repetition": pl.Int64(),
    "figure": pl.String(),
    "unit": pl.String(),
    "value": pl.Float64(),
}

# a row per HTTP request; `ok` = it has a status of the 2xx class and a response time, so it is in the sample
API: dict[str, pl.DataType] = {
    "scenario": pl.String(),
    "condition": pl.String(),
    "mode": pl.String(),
    "run": pl.Int64(),
    "response_s": pl.Float64(),
    "offset_s": pl.Float64(),
    "status": pl.Int64(),
    "ok": pl.Boolean(),
}

API_MODES = ("hey", "open-loop")
"""Closed loop of workers as in the paper, or requests sent by the clock whatever the answers do."""


def empty(schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """A frame of that schema without rows."""
    return pl.DataFrame(schema=schema)


def check_results(frame: pl.DataFrame, place: str) -> pl.DataFrame:
    """Return the frame, with columns that came later; InputError names the first column or value that is not right."""
    lacking = [pl.lit(None, RESULTS[name]).alias(name) for name in LATER if name not in frame.columns]
    return _check_values(_check(frame.with_columns(lacking), RESULTS, place), place)


def check_figures(frame: pl.DataFrame, place: str) -> pl.DataFrame:
    """As `check_results`, for `figures.parquet`."""
    return _check(frame, FIGURES, place)


def _check(frame: pl.DataFrame, schema: dict[str, pl.DataType], place: str) -> pl.DataFrame:
    found = dict(frame.schema)
    for name, dtype in schema.items():
        if found.get(name) != dtype:
            raise InputError(place, f"column {name} is {found.get(name, 'missing')}, wanted {dtype}")
    return frame


_ALWAYS = ("scenario", "condition", "test", "repetition", "outcome")
"""What every row has."""


def _check_values(frame: pl.DataFrame, place: str) -> pl.DataFrame:
    """InputError for a row without its cell, an outcome that is none, and a figure that nothing can have."""
    for name, found, what in _wrong_values():
        if rows := frame.filter(found).height:
            raise InputError(place, f"column {name}: {rows} rows {what}")
    return frame


def _wrong_values() -> Iterator[tuple[str, pl.Expr, str]]:
    """A column, the rows of it that cannot be, and what they are."""
    measured = pl.col("outcome") == "measured"
    for name in _ALWAYS:
        yield name, pl.col(name).is_null(), "without a value"
    for name in (name for name, dtype in RESULTS.items() if dtype == pl.Float64()):
        yield name, ~pl.col(name).is_finite() & pl.col(name).is_not_null(), "with no finite number"
    yield "outcome", ~pl.col("outcome").is_in(["measured", "failed"]), "are neither measured nor failed"
    for name in FIGURE_COLUMNS:
        yield name, pl.col(name) < 0, "below zero"
    yield "rate_mbit_s", measured & (pl.col("rate_mbit_s") == 0), "measured nothing, which is a failure"
