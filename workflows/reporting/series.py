"""Reads the receiver's series of a run's TCP flows, from what the tool's server printed into raw/."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from vpnmesh.measurements.iperf3 import SERVER_FILE
from vpnmesh.report.ramp import SERIES
from vpnmesh.tools.iperf3_series import series_of
from workflows.reporting.raw_files import raw_file

_KEY = ("scenario", "condition", "test", "pair", "repetition")


def series_of_run(run: Path, samples: pl.DataFrame) -> pl.DataFrame:
    """Every interval of every measured TCP flow whose text is there (`report.ramp.SERIES`).

    Runs made before iperf3's series were kept, and those whose raw/ was taken away, have none.
    """
    flows = samples.filter(test="tcp", outcome="measured").drop_nulls("raw")
    return pl.DataFrame(list(_rows(run, flows)), schema=SERIES, orient="row")


def _rows(run: Path, flows: pl.DataFrame) -> Iterator[tuple[object, ...]]:
    root = run.resolve()
    for *key, raw in flows.select(*_KEY, "raw").iter_rows():
        if (path := raw_file(root, raw, SERVER_FILE)) is None:
            continue
        for one in series_of(path.read_text(encoding="utf-8", errors="replace")):
            yield (*key, one.start_s, one.end_s, one.rate_mbit_s)
