"""Makes a Study from files: the paper's published folders, or the directory of a run."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.events import diagnoses, figures_of, setup, stacks
from vpnmesh.frames.imports import failure_notes
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.frames.schemas import FIGURE_COLUMNS, FIGURES, check_figures, check_results, empty
from vpnmesh.reference.data import Published
from vpnmesh.report.adaptive_verdicts import adaptive_verdicts
from vpnmesh.report.figure_tables import described
from vpnmesh.report.identity import identity
from vpnmesh.report.setting import refuse_mixed
from vpnmesh.report.tables import RunTables, Study, build_study
from vpnmesh.report.verdicts import VERDICTS
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, of_kind
from vpnmesh.study.manifest import Manifest, grouped
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.record import frame_of
from vpnmesh.study.scenarios import Catalogue
from workflows.reporting.adopted import adopted_notes
from workflows.reporting.health import health_of_run
from workflows.reporting.published_files import read_imports
from workflows.reporting.run_requests import requests_of_run
from workflows.reporting.series import series_of_run
from workflows.run.requested import read_request
from workflows.run.store import RunFiles


def study_from_imports(
    knb_dir: Path | None = None,
    hey_dir: Path | None = None,
    bench_dir: Path | None = None,
    netperf_dir: Path | None = None,
) -> Study:
    """A study of published results; any of the folders may be missing. InputError when nothing is usable."""
    study = study_of(read_imports(knb_dir, hey_dir, bench_dir, netperf_dir))
    refuse_empty(study, knb_dir, hey_dir, bench_dir, netperf_dir)
    return study


def study_of(published: Published) -> Study:
    """A study of results that have been read already, such as the paper's that ship with the product."""
    study = build_study(published.samples, published.api, published.notes, published.provenance)
    return _with_api_notes(study)


def refuse_empty(study: Study, *folders: Path | None) -> None:
    """InputError with the first reasons when no repetition and no request can be used."""
    usable = study.samples.filter(pl.col("outcome") == "measured").height
    answered = (study.tables["api"]["requests"] - study.tables["api"]["failed"]).sum()
    if usable or answered:
        return
    where = ", ".join(str(folder) for folder in folders if folder)
    reasons = "; ".join(study.notes[:5]) or "there are no result files in it"
    raise InputError(where, "nothing usable was found", reasons)


def _with_api_notes(study: Study) -> Study:
    """The study with a note for every API cell that holds failed requests."""
    notes = [
        f"{row['scenario']} {row['condition']} {row['mode']}: {row['failed']} of {row['requests']} requests"
        " failed:"
        " cut rows, no status, or a status that is not 2xx"
        for row in study.tables["api"].iter_rows(named=True)
        if row["failed"]
    ]
    return replace(study, notes=(*study.notes, *notes))


def study_from_run(run: Path) -> Study:
    """A study of a run's directory: its manifest, its repetitions, and the API requests that these kept."""
    if not run.is_dir():
        raise InputError(
            str(run), "is a file, wanted a run's directory" if run.exists() else "there is no such run"
        )
    files = RunFiles(run)
    manifest, events = files.manifest(), files.events()
    samples, notes = repetitions(files, events)
    requests, lost = requests_of_run(run, events)
    without = [f"unavailable: {sentence}" for sentence in grouped(manifest.unavailable_tests)]
    study = build_study(
        samples,
        requests,
        (*notes, *adopted_notes(manifest, samples), *without, *lost, *failure_notes(samples)),
        identity(manifest.entries()),
        RunTables(
            _figures(files, events, samples),
            setup(events),
            _verdicts(manifest, events, str(run)),
            stacks(events),
            series_of_run(run, samples),
            health_of_run(run, samples),
            diagnoses(events),
        ),
        Catalogue.of_run(manifest.entries(), f"{run}/manifest.json"),
    )
    if study.samples.is_empty() and study.tables["api"].is_empty():
        raise InputError(
            str(run), "holds no repetition and no request", "let the run measure something first"
        )
    return _with_api_notes(study)


def _verdicts(manifest: Manifest, events: list[JournalEvent], place: str) -> pl.DataFrame:
    """What an adaptive run decided; no rows for any other."""
    if not isinstance(manifest.profile, Mapping) or not manifest.profile.get("adaptive"):
        return empty(VERDICTS)
    begun = read_request(manifest, place)
    ended = [one for one in of_kind(events, RepetitionEnded) if one.test in THROUGHPUT_TESTS]
    pairs = list(dict.fromkeys(one.cell.pair for one in ended))
    catalogue = Catalogue.of_run(manifest.entries(), f"{place}/manifest.json")
    return adaptive_verdicts(plan_matrix(begun.profile, pairs, begun.seed, catalogue), events)


def repetitions(files: RunFiles, events: list[JournalEvent]) -> tuple[pl.DataFrame, list[str]]:
    """The repetitions, from the journal wherever there is one: a table may be older than the last attempt.

    Without a journal (an exported table) they come from `results.parquet`, and a note says so.
    """
    path = files.results_path
    if files.journal_path.exists() or not path.exists():
        return refuse_mixed(frame_of(events), str(files.journal_path)), []
    samples = refuse_mixed(check_results(read_table(path), str(path)), str(path))
    return samples, ["no journal.jsonl: read from results.parquet, which nothing here can be held against"]


def _figures(files: RunFiles, events: list[JournalEvent], samples: pl.DataFrame) -> pl.DataFrame:
    """Every figure of every measured repetition, with titles and units (`figure_tables.FIGURES`).

    From the journal; without one from `figures.parquet`, else from the columns of the results table.
    """
    path = files.figures_path
    if files.journal_path.exists():
        rows = figures_of(events)
    elif path.exists():
        rows = check_figures(read_table(path), str(path))
    else:
        rows = _from_columns(samples)
    return described(rows)


def _from_columns(samples: pl.DataFrame) -> pl.DataFrame:
    key = ["scenario", "condition", "test", "pair", "repetition"]
    measured = samples.filter(outcome="measured").select(*key, *FIGURE_COLUMNS)
    rows = measured.unpivot(list(FIGURE_COLUMNS), index=key, variable_name="figure").drop_nulls("value")
    return rows.with_columns(unit=pl.lit("")).select(list(FIGURES))


def read_table(path: Path, rows: int | None = None) -> pl.DataFrame:
    """A parquet file, or its first rows; InputError where it is none, cut off, or cannot be read."""
    try:
        with _without_panic():
            return pl.read_parquet(path, n_rows=rows)
    # in a table with a few bytes changed Polars panics now and then, which is no Exception
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        problem = f"is no parquet file, or a part of one: {str(error).splitlines()[0][:120]}"
        raise InputError(str(path), problem, "take it away, or let whatever made it make it again") from error


@contextlib.contextmanager
def _without_panic() -> Iterator[None]:
    """Keep what Rust itself writes of a panic off the terminal: what it is, is told by the error."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
