"""Makes a Study from files: the paper's published folders, or the directory of a run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.imports import Imported, failure_notes, import_knb
from vpnmesh.frames.names import Source, scenario_of
from vpnmesh.frames.requests import RunFile, scan_hey
from vpnmesh.frames.schemas import API, RESULTS, check_results, empty
from vpnmesh.model import Condition
from vpnmesh.reference.data import Published
from vpnmesh.report.environment import differing, environment_of
from vpnmesh.report.identity import identity
from vpnmesh.report.setting import refuse_mixed
from vpnmesh.report.tables import Study, build_study
from vpnmesh.stats.caps import NETEM_DEFAULT_LIMIT
from vpnmesh.study.journal import JournalEvent
from vpnmesh.study.record import frame_of
from vpnmesh.study.scenarios import Catalogue
from vpnmesh.tools import hey, knb
from workflows.run.store import RunFiles


def study_from_imports(knb_dir: Path | None = None, hey_dir: Path | None = None) -> Study:
    """A study of published results; either folder may be missing. InputError when nothing is usable."""
    study = study_of(read_imports(knb_dir, hey_dir))
    refuse_empty(study, knb_dir, hey_dir)
    return study


def study_of(published: Published) -> Study:
    """A study of results that have been read already, such as the paper's that ship with the product."""
    study = build_study(published.samples, published.api, published.notes, published.provenance)
    return _with_api_notes(study)


def read_imports(knb_dir: Path | None = None, hey_dir: Path | None = None) -> Published:
    """What published files hold and what was dropped or repaired in reading them; either folder may be missing."""
    imported = _read_knb(knb_dir) if knb_dir else Imported(empty(RESULTS))
    runs, api_notes = find_hey(hey_dir) if hey_dir else ([], [])
    provenance = _import_provenance(imported, knb_dir, hey_dir)
    notes = (*imported.notes, *differing(imported.facts), *api_notes)
    return Published(imported.samples, scan_hey(runs), notes, provenance)


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


def _import_provenance(imported: Imported, knb_dir: Path | None, hey_dir: Path | None) -> dict[str, object]:
    mtu = {s: int(v) for s, facts in imported.facts.items() for k, v in facts if k == "mtu" and v.isdigit()}
    return {
        "kind": "import",
        "tools": [name for name, folder in (("k8s-bench-suite", knb_dir), ("hey", hey_dir)) if folder],
        "cpu_unit": knb.CPU_UNIT,
        "ram_unit": "MiB",
        "pod_mtu": mtu,
        # the authors' scripts leave netem's queue at its default
        "netem_limit": NETEM_DEFAULT_LIMIT,
        "environment": environment_of(imported.facts),
    }


def _read_knb(folder: Path) -> Imported:
    skipped = _Skipped()
    sources = list(_sources(folder, ".json", skipped))
    texts = ((source, Path(source.path).read_text(encoding="utf-8", errors="replace")) for source in sources)
    imported = import_knb(texts)
    return Imported(imported.samples, (*skipped.notes, *imported.notes), imported.facts)


def find_hey(folder: Path) -> tuple[list[RunFile], list[str]]:
    """The runs of hey in a folder, and what was left out. InputError where there is no such folder."""
    skipped = _Skipped()
    runs = []
    for index, source in enumerate(_sources(folder, ".csv", skipped), start=1):
        try:
            with Path(source.path).open(encoding="utf-8", errors="replace") as file:
                hey.check_header(file.readline())
            condition = (knb.condition_of(source.name) or Condition()).name
        except (ToolError, InputError) as error:
            skipped.notes.append(f"{source.name}: not usable: {error}")
            continue
        runs.append(RunFile(source.path, source.scenario, condition, hey.run_of(source.file_name) or index))
    return runs, skipped.notes


class _Skipped:
    """Collects what a walk through a folder did not read."""

    def __init__(self) -> None:
        self.notes: list[str] = []


def _sources(folder: Path, ending: str, skipped: _Skipped) -> Iterator[Source]:
    """The files of a folder per scenario, or of one scenario's folder itself; other files become notes."""
    if not folder.is_dir():
        problem = "is a file, wanted a folder" if folder.exists() else "there is no such folder"
        raise InputError(str(folder), problem)
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    owners: dict[str, str] = {}
    for place in [folder, *folders]:
        files = sorted(path for path in place.iterdir() if path.is_file())
        wanted = [path for path in files if path.suffix == ending]
        skipped.notes += [
            f"{place.name}/{path.name}: left out: not {ending}" for path in files if path not in wanted
        ]
        if place != folder:
            inner = sorted(path.name for path in place.iterdir() if path.is_dir())
            skipped.notes += [
                f"{place.name}/{name}: left out: a folder inside a scenario's" for name in inner
            ]
        scenario = scenario_of(place.resolve().name)
        if wanted and owners.setdefault(scenario, place.name) != place.name:
            skipped.notes.append(f"{place.name}: left out: {owners[scenario]} is scenario {scenario} already")
            continue
        for path in wanted:
            yield Source(f"{place.name}/{path.name}", scenario, str(path))


def study_from_run(run: Path) -> Study:
    """A study of a run's directory: its manifest, its repetitions, and its requests in `api.parquet`.

    The matrix has no API test yet, so no run writes the latter: whoever measures requests may put it there.
    """
    if not run.is_dir():
        raise InputError(
            str(run), "is a file, wanted a run's directory" if run.exists() else "there is no such run"
        )
    files = RunFiles(run)
    manifest, events = files.manifest(), files.events()
    samples, notes = _results(files, events)
    notes += failure_notes(samples)
    catalogue = Catalogue.of_run(manifest.entries(), f"{run}/manifest.json")
    study = build_study(samples, _requests(run), notes, identity(manifest.entries()), events, catalogue)
    if study.samples.is_empty() and study.tables["api"].is_empty():
        raise InputError(
            str(run), "holds no repetition and no request", "let the run measure something first"
        )
    return _with_api_notes(study)


def _results(files: RunFiles, events: list[JournalEvent]) -> tuple[pl.DataFrame, list[str]]:
    """The repetitions, from the journal wherever there is one: a table may be older than the last attempt.

    Without a journal (a table that somebody exported) `results.parquet` stands in, and a note says so.
    """
    path = files.results_path
    if files.journal_path.exists() or not path.exists():
        return refuse_mixed(frame_of(events), str(files.journal_path)), []
    samples = refuse_mixed(check_results(_read(path), str(path)), str(path))
    return samples, ["no journal.jsonl: read from results.parquet, which nothing here can be held against"]


def _requests(run: Path) -> pl.LazyFrame:
    """The requests of `api.parquet`, lazily, for there may be millions; none where there is no such file."""
    path = run / "api.parquet"
    if not path.exists():
        return empty(API).lazy()
    found = _read(path, rows=0).schema
    for name, dtype in API.items():
        if found.get(name) != dtype:
            raise InputError(str(path), f"column {name} is {found.get(name, 'missing')}, wanted {dtype}")
    return pl.scan_parquet(path).select(list(API))


def _read(path: Path, rows: int | None = None) -> pl.DataFrame:
    """A parquet file, or its first rows; InputError where it is none, cut off, or cannot be read."""
    try:
        return pl.read_parquet(path, n_rows=rows)
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = f"is no parquet file, or a part of one: {str(error).splitlines()[0][:120]}"
        raise InputError(str(path), problem, "take it away, or let whatever made it make it again") from error
