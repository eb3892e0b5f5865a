"""The data that ship with the product: whole, told where from, and the same as a new import of the published files."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import API, RESULTS
from vpnmesh.reference import data
from vpnmesh.reference.data import METADATA, REPETITIONS, REQUESTS, paper_data, paper_metadata
from vpnmesh.report.tables import Study
from workflows.reporting.reference import main
from workflows.reporting.studies import study_from_imports

NUMBERED = ("repetition", "sequence")
"""Columns that number the rows of a whole import, so that a part of it has others."""


def export(folder: Path, out: Path) -> str:
    arguments = ["--import-knb", str(folder / "knb"), "--import-hey", str(folder / "hey"), "--out", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--archive", str(folder / "knb.tar")])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def exported(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (originals / "knb.tar").write_bytes(b"an archive")
    out = tmp_path_factory.mktemp("exported")
    export(originals, out)
    return out


def test_all_that_was_published_is_there() -> None:
    """2,560 throughput repetitions of 112 cells, 1,280 idle readings, ten runs of the API test, failures included."""
    found = paper_data()
    counts = dict(found.samples["test"].value_counts().rows())
    assert counts == {"tcp": 1280, "udp": 1280, "idle": 1280}
    cells = found.samples.filter(pl.col("test") != "idle").group_by("scenario", "condition", "test").len()
    assert (cells.height, set(cells.filter(condition="none")["len"])) == (112, {100})
    assert (found.samples["outcome"] == "failed").sum() == 26
    api = found.api.collect()
    assert (api.height, (~api["ok"]).sum(), api.group_by("scenario", "run").len().height) == (398_849, 4, 80)
    assert (dict(found.samples.schema), dict(api.schema)) == (RESULTS, API)


def test_source_licence_and_checksums_are_told() -> None:
    """Repository, licence, the archives' checksums, and the number of input files are beside the data."""
    known = paper_metadata()
    assert (known["repository"], known["licence"]) == (
        "https://github.com/korvoj/vpn-performance", "Apache-2.0",
    )  # fmt: skip
    assert known["archives"] == {
        "hey-all.tar.xz": "3d94885311d9886ef19f15be9f69ece419b1cbdbdccd0282619d5e79ab96c8fc",
        "knb-all.tar.xz": "62dda4889405caf9bf2735d568b36d9dd04c5edbfb417f5844184bc51b8fe9e5",
    }
    reference = paper_data().provenance["reference"]
    assert isinstance(reference, dict)
    assert {name: found["files"] for name, found in reference["inputs"].items()} == {"knb": 126, "hey": 80}


def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more than what was shipped: named, and no figure comes of it."""
    whole = data._bytes
    monkeypatch.setattr(data, "_bytes", lambda name: whole(name) + b" " * (name == REQUESTS))
    with pytest.raises(InputError, match=r"requests\.parquet: is not the file that was shipped"):
        paper_data()


def test_original_files_give_the_rows_that_are_shipped(originals: Path, paper: Study) -> None:
    """A new import of some published files gives, row by row and figure by figure, what the product holds of them."""
    again = study_from_imports(originals / "knb", originals / "hey")
    files = again.samples.select(file=pl.col("raw").str.split("#").list.first()).unique()
    shipped = paper.samples.with_columns(file=pl.col("raw").str.split("#").list.first())
    mine = shipped.join(files, on="file", how="semi").drop("file", *NUMBERED).sort("raw", "test")
    assert mine.equals(again.samples.drop(NUMBERED).sort("raw", "test"))
    assert (mine.height, set(mine["test"])) == (100, {"tcp", "udp", "idle"})
    assert (mine["outcome"] == "failed").sum() == 6
    keys = ["scenario", "run", "offset_s", "response_s"]
    requests = again.api.collect().sort(keys)
    runs = requests.select("scenario", "run").unique()
    assert paper.api.collect().join(runs, on=["scenario", "run"], how="semi").sort(keys).equals(requests)
    assert (requests.height, runs.height) == (9627, 2)


def test_the_same_files_give_the_same_bytes(originals: Path, exported: Path, tmp_path: Path) -> None:
    """A second export is the first to the byte, so that a change of the data is seen as one."""
    told = export(originals, tmp_path)
    assert f"{REPETITIONS}: 100 rows" in told
    for name in (REPETITIONS, REQUESTS, METADATA):
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes(), name


def test_what_is_exported_is_read_as_it_was_imported(
    originals: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, notes and provenance survive the way through the files, so that a report of either is the same."""
    monkeypatch.setattr(data, "_bytes", lambda name: (exported / name).read_bytes())
    found, imported = paper_data(), study_from_imports(originals / "knb", originals / "hey")
    assert found.samples.equals(imported.samples)
    assert found.notes == imported.notes[: len(found.notes)]
    assert all("requests failed" in note for note in imported.notes[len(found.notes) :])
    known = dict(found.provenance)
    assert known.pop("reference") == {
        name: json.loads((exported / METADATA).read_text())[name]
        for name in ("repository", "licence", "inputs", "archives")
    }
    assert known == imported.provenance


@pytest.mark.parametrize("missing", ["knb", "hey"])
def test_a_folder_that_is_missing_is_a_sentence(missing: str, originals: Path, tmp_path: Path) -> None:
    """Exit code 2, the folder named, nothing written."""
    given = {tool: str(originals / tool) for tool in ("knb", "hey")} | {missing: str(tmp_path / "gone")}
    arguments = [part for tool, folder in given.items() for part in (f"--import-{tool}", folder)]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert (result.exit_code, "gone: there is no such folder" in result.output) == (2, True)
    assert not (tmp_path / "out").exists()


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    """Empty folders make no reference data."""
    arguments = ["--import-knb", str(tmp_path), "--import-hey", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "nothing usable was found" in result.output) == (2, True)
    assert not (tmp_path / "out").exists()
