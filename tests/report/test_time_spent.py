"""What a run's minutes went into, from the attempts alone."""

from datetime import UTC, datetime, timedelta

import polars as pl

from vpnmesh.frames.schemas import API, RESULTS, empty
from vpnmesh.report.tables import Study
from vpnmesh.report.time_spent import time_spent

START = datetime(2026, 1, 1, tzinfo=UTC)


def study(starts_s: list[float], elapsed_s: float = 3.0, **provenance: object) -> Study:
    """TCP repetitions that began at these seconds and were measured."""
    rows = [
        {
            **dict.fromkeys(RESULTS),
            "test": "tcp",
            "outcome": "measured",
            "started_at": START + timedelta(seconds=start),
            "elapsed_s": elapsed_s,
        }
        for start in starts_s
    ]
    return Study(pl.DataFrame(rows, schema=RESULTS), empty(API).lazy(), {}, provenance=provenance)


def test_shares_add_up_over_the_whole_time() -> None:
    """Four repetitions of three seconds with one counted, over twenty seconds from first to last."""
    said = time_spent(study([0, 3, 10, 17], profile={"duration_s": 1}))
    assert said.startswith("0.3 minutes: 20% counted in figures, 40% around them")
    assert said.endswith("40% going to the next scenario and setting conditions")


def test_an_interruption_is_no_part_of_a_run() -> None:
    """A night between two sessions counts for nothing."""
    assert time_spent(study([0, 3, 10, 40_000], profile={"duration_s": 1})).startswith("0.3 minutes: 25% ")


def test_what_was_not_recorded_is_not_told() -> None:
    """Published results have no times, and no profile."""
    assert time_spent(study([0, 3])) == ""
    assert time_spent(study([], profile={"duration_s": 1})) == ""
