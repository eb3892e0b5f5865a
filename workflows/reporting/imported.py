"""An import's report folder as one side of a comparison: `results.parquet` and what was known of it."""

import json
from pathlib import Path

from vpnmesh.documents.json_text import parse_json
from vpnmesh.errors import NO_JSON, InputError
from vpnmesh.frames.schemas import API, check_results, empty
from vpnmesh.report.tables import Study, build_study
from workflows.reporting.studies import read_table, study_from_run

_KNOWN = "provenance.json"
_RESULTS = "results.parquet"


def write_import(study: Study, out: Path) -> None:
    """Keep beside the tables what `--compare` needs to read them again."""
    path = out / _KNOWN
    try:
        path.write_text(json.dumps(study.provenance, indent=1, default=str, sort_keys=True), encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{path} cannot be written: {error.strerror}") from error


def run_or_import(folder: Path) -> Study:
    """The study of a run, or of the report folder that an import wrote."""
    if not (folder / _KNOWN).is_file() or (folder / "manifest.json").exists():
        return study_from_run(folder)
    path = folder / _KNOWN
    try:
        known = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, *NO_JSON) as error:
        raise InputError(str(path), f"no JSON: {error}", "import the results again") from error
    if not isinstance(known, dict):
        raise InputError(str(path), "is no mapping", "import the results again")
    samples = check_results(read_table(folder / _RESULTS), str(folder / _RESULTS))
    return build_study(samples, empty(API).lazy(), (), known)
