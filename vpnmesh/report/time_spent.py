"""What a run's minutes went into: figures, what is around each of them, and going from scenario to scenario."""

from datetime import timedelta

import polars as pl

from vpnmesh.documents.numbers import finite
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.report.identity import mapping
from vpnmesh.report.tables import Study

INTERRUPTED_S = 300
"""A longer pause between two attempts is an interruption of the run, no part of it."""


def time_spent(study: Study) -> str:
    """Minutes of the run, with the share that is counted in figures and that of its repetitions; "" if not recorded."""
    duration_s = finite(mapping(study.provenance.get("profile")).get("duration_s"))
    attempts = study.samples.drop_nulls(["started_at", "elapsed_s"]).sort("started_at")
    judged = pl.col("test").is_in(THROUGHPUT_TESTS)
    measured = attempts.filter(judged, outcome="measured").height
    if not measured or not duration_s:
        return ""
    whole_s, repetitions_s = _whole_s(attempts), float(attempts.filter(judged)["elapsed_s"].sum())
    others_s = float(attempts.filter(~judged)["elapsed_s"].sum())
    if whole_s <= 0:
        return ""
    counted, around, others = measured * duration_s / whole_s, repetitions_s / whole_s, others_s / whole_s
    beside = f", {others:.0%} in tests of something else than throughput" if others_s else ""
    return (
        f"{whole_s / 60:.1f} minutes: {counted:.0%} counted in figures, {around - counted:.0%} around them (start,"
        f" warming up, checks), {1 - around - others:.0%} going to the next scenario and setting conditions{beside}"
    )


def _whole_s(attempts: pl.DataFrame) -> float:
    """From the first attempt's start to the last one's end, interruptions left out."""
    ends = attempts["started_at"] + (attempts["elapsed_s"] * 1e6).cast(pl.Duration("us"))
    pauses = attempts["started_at"].shift(-1) - ends
    long = pauses.filter(pauses > timedelta(seconds=INTERRUPTED_S)).sum() or timedelta()
    span = ends.max() - attempts["started_at"].min()  # type: ignore[operator]  # moments, of one attempt at least
    return (span - long).total_seconds()  # type: ignore[operator, union-attr]
