"""The runs of a history as a partitioned Parquet data set: `STORE/run=ID/rows.parquet`, read lazily.

A run is known by its content, so one that is there already is not read again, and one that went on measuring is. Files
of runs that are not asked for stay where they are and are not read.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import API, empty
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.report.history_rows import HISTORY, check_history, history_rows
from vpnmesh.report.identity import identity
from vpnmesh.report.tables import Study
from vpnmesh.study.scenarios import Catalogue
from workflows.reporting.studies import repetitions
from workflows.run.store import RunFiles

_HEAD = 4096
_ROWS = "rows.parquet"


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows of the runs that were asked for, lazily, and how many of the runs had to be read."""

    rows: pl.LazyFrame
    runs: int
    read: int


def runs_in(folders: Iterable[Path]) -> list[Path]:
    """The runs that are named, and those inside a folder that is none itself; InputError where one holds none."""
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(str(folder), "is a file" if folder.exists() else "there is no such folder")
        own = [folder] if _is_run(folder) else sorted(filter(_is_run, folder.iterdir()))
        if not own:
            raise InputError(str(folder), "is no run and holds none", "name runs, or a folder of runs")
        found |= {run.resolve(): run for run in own}
    return list(found.values())


def _is_run(folder: Path) -> bool:
    return RunFiles(folder).manifest_path.is_file()


def take(runs: Sequence[Path], store: Path) -> Taken:
    """Keep the rows of these runs below `store` and scan them; InputError names the run or file that is not usable."""
    named: dict[str, Path] = {}
    for run in runs:
        named.setdefault(_identity(run), run)
    lacking = {key: run for key, run in named.items() if not _file(store, key).exists()}
    for key, run in lacking.items():
        _keep(history_rows(_study(run), run.resolve().name), _file(store, key))
    return Taken(_scan([_file(store, key) for key in named]), len(named), len(lacking))


def _identity(run: Path) -> str:
    """A name for what is in the run now: manifest, the beginning of its repetitions, and how many bytes they are."""
    files, digest = RunFiles(run), hashlib.sha256(str(list(HISTORY)).encode())
    try:
        digest.update(files.manifest_path.read_bytes())
        for path in (files.journal_path, files.results_path):
            if path.exists():
                with path.open("rb") as file:
                    digest.update(file.read(_HEAD))
                digest.update(f" {path.stat().st_size}".encode())
    except OSError as error:
        raise InputError(str(run), f"cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:16]


def _file(store: Path, key: str) -> Path:
    return store / f"run={key}" / _ROWS


def _study(run: Path) -> Study:
    """The run without its tables: a history needs repetitions and circumstances only."""
    files = RunFiles(run)
    manifest, events = files.manifest(), files.events()
    known, samples = manifest.entries(), repetitions(files, events)[0]
    catalogue = Catalogue.of_run(known, f"{run}/manifest.json")
    order = catalogue.in_order(samples["scenario"])
    return Study(samples, empty(API).lazy(), {}, (), identity(known), order, catalogue)


def _keep(rows: pl.DataFrame, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # whole or not at all: a file that was cut off would never be read again from its run
        write_atomic(path, _parquet(rows))
    except OSError as error:
        raise InputError("--out", f"{path} cannot be written: {error.strerror}") from error


def _parquet(rows: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    rows.write_parquet(stream)
    return stream.getvalue()


def _scan(files: Sequence[Path]) -> pl.LazyFrame:
    for file in files:
        try:
            found = pl.read_parquet_schema(file)
        except (pl.exceptions.PolarsError, OSError) as error:
            problem = f"is no parquet file, or a part of one: {str(error).splitlines()[0][:120]}"
            raise InputError(str(file), problem, "take it away: it is made again from its run") from error
        check_history(found, str(file))
    return pl.scan_parquet(list(files), hive_partitioning=True, hive_schema={"run": pl.String()})
