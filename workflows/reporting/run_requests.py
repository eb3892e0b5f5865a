"""The API requests of a run, read lazily from the rows that its repetitions kept below raw/."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.requests import RunFile, scan_requests
from vpnmesh.frames.schemas import API, empty
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, of_kind
from vpnmesh.tools import api_requests
from workflows.reporting.raw_files import raw_file


def requests_of_run(run: Path, events: Sequence[JournalEvent]) -> tuple[pl.LazyFrame, list[str]]:
    """Every request of the run's measured repetitions, and notes on those that are no longer there.

    A run of another tool may have them in `api.parquet` instead.
    """
    files, notes = _kept(run, events)
    parts = [scan_requests(files[mode], mode) for mode in sorted(files)]
    found = _table(run)
    parts += [] if found is None else [found]
    return (pl.concat(parts) if parts else empty(API).lazy()), notes


def _kept(run: Path, events: Sequence[JournalEvent]) -> tuple[dict[str, list[RunFile]], list[str]]:
    """The files by mode; a repetition is a run of them."""
    files: dict[str, list[RunFile]] = defaultdict(list)
    lost, root = Counter[str](), run.resolve()
    for one in of_kind(events, RepetitionEnded):
        mode = api_requests.MODES.get(one.test)
        if mode is None or one.outcome != "measured":
            continue
        path = raw_file(root, one.raw, api_requests.FILE)
        if path is not None and path.stat().st_size:
            files[mode].append(RunFile(str(path), one.scenario, one.condition, one.repetition))
        else:
            lost[one.test] += 1
    notes = [
        f"{test}: the requests of {count} repetitions are not in raw/ any more: Figure 3 lacks them"
        for test, count in sorted(lost.items())
    ]
    return dict(files), notes


def _table(run: Path) -> pl.LazyFrame | None:
    """The requests of `api.parquet`, lazily, for there may be millions; None where there is no such file."""
    path = run / "api.parquet"
    if not path.exists():
        return None
    try:
        found = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = f"is no parquet file, or a part of one: {str(error).splitlines()[0][:120]}"
        raise InputError(str(path), problem, "take it away, or let whatever made it make it again") from error
    for name, dtype in API.items():
        if found.get(name) != dtype:
            raise InputError(str(path), f"column {name} is {found.get(name, 'missing')}, wanted {dtype}")
    return pl.scan_parquet(path).select(list(API))
