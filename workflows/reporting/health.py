"""Reads what the watchers of a run's clusters printed, from its raw/ folder."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from vpnmesh.errors import ToolError
from vpnmesh.report.health import TEST, HealthTables, Key, health_tables
from vpnmesh.study.health import Health
from vpnmesh.study.health_raw import FILES, health_of
from workflows.reporting.raw_files import raw_file

_KEY = ("scenario", "condition", "pair", "repetition")


def health_of_run(run: Path, samples: pl.DataFrame) -> HealthTables:
    """The health of every measured repetition whose texts are there."""
    return health_tables(list(_found(run.resolve(), samples.filter(test=TEST, outcome="measured"))))


def _found(root: Path, rows: pl.DataFrame) -> Iterator[tuple[Key, Health]]:
    for scenario, condition, pair, repetition, raw in rows.drop_nulls("raw").select(*_KEY, "raw").iter_rows():
        paths = {name: path for name in FILES if (path := raw_file(root, raw, name))}
        texts = {name: path.read_text(encoding="utf-8", errors="replace") for name, path in paths.items()}
        try:
            yield (scenario, condition, pair, repetition), health_of(texts)
        except ToolError:
            # its raw/ was taken away or cut: the figures are in the journal, a picture there is none
            continue
