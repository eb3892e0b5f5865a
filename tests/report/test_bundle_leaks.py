"""A whole run packed by the command, with all that must not leave planted in it."""

import io
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from vpnmesh.model import Cell, Pair, Testbed
from vpnmesh.study.outcome import Failed, Measured, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record
from workflows.report import main
from workflows.run import provenance
from workflows.run.store import Store

# a whole report is drawn for each
pytestmark = pytest.mark.slow

CELL = Cell("native-1450", "none", "tcp", Pair("worker1", "worker2"))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLANTED = (
    "Tr0ub4dor",  # a password with a quote and a backslash, in the output of a tool
    "SetupKeyOfOurs",
    "T0kenInTheUrl",
    "198.18.213.",  # management addresses, of all nodes
    "jane-doe",  # a home folder
    "RulesOfTheFirewall",
    "KeptBesideTheRun",
    "OutOfTheFolder",
    "HiddenFile",
    "PrivateKeyBytes",
    "EnvironmentOfTheUser",
)


@pytest.fixture
def run(bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two repetitions, and everything planted."""
    monkeypatch.setenv("VPNMESH_TEST_SECRET", "EnvironmentOfTheUser")
    monkeypatch.setattr(
        "sys.argv", ["/home/jane-doe/vpnmesh/full_matrix.py", "--out", "/home/jane-doe/runs/x"]
    )
    store = Store.create(tmp_path / "run", provenance.request(PROFILES["quick"], 1, "lab", bed))
    said = json.dumps({"password": 'x"\\Tr0ub4dor'}) + "\nup --setup-key 'SetupKeyOfOurs'\n"
    raw = store.keep_raw("native-1450/none/tcp/1.txt", f"{said}https://u:T0kenInTheUrl@198.18.213.11/\n")
    store.append(Record(CELL, 1, Measured((Sample("rate_mbit_s", 10.0),)), AT, raw=raw))
    reason = "198.18.213.12 said: token=T0kenInTheUrl; see /home/jane-doe/log"
    store.append(Record(CELL, 2, Failed("tool", reason), AT))
    store.update_manifest(sessions=[{"argv": ["/home/jane-doe/x"], "nodes": {}}])
    store.write_results()
    plant(store.directory, tmp_path)
    return store.directory


def plant(directory: Path, outside: Path) -> None:
    """Files that are none of the run's, links that lead out of it, a key by its name."""
    (directory / "firewall").mkdir()
    (directory / "firewall" / "x@fw.json").write_text("RulesOfTheFirewall")
    (directory / "notes.txt").write_text("KeptBesideTheRun")
    (directory / "raw" / ".env").write_text("HiddenFile")
    (directory / "raw" / "id_ed25519").write_text("PrivateKeyBytes")
    (outside / "secret.txt").write_text("OutOfTheFolder")
    (outside / "folder").mkdir()
    (outside / "folder" / "inside.txt").write_text("OutOfTheFolder")
    (directory / "raw" / "link.txt").symlink_to(outside / "secret.txt")
    (directory / "raw" / "more").symlink_to(outside / "folder")
    os.mkfifo(directory / "raw" / "pipe")


def packed(run: Path, *more: str) -> tuple[dict[str, str], str]:
    """The archive's files as text, tables by their columns, and what the command said."""
    done = CliRunner().invoke(main, [str(run), "--bundle", *more])
    assert done.exit_code == 0, done.output
    out = Path(more[1]) if more else run / "report"
    texts = {}
    with zipfile.ZipFile(out / "bundle.zip") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            is_table = name.endswith(".parquet")
            texts[name] = str(pl.read_parquet(io.BytesIO(content)).rows()) if is_table else content.decode()
    return texts, done.output


def test_nothing_planted_leaves(run: Path) -> None:
    """In no file and no name; what was left out is named with the reason, and the results are there."""
    texts, said = packed(run)
    leaked = [
        (word, name) for name, text in texts.items() for word in PLANTED if word in text or word in name
    ]
    assert leaked == []
    assert {
        "run/manifest.json",
        "run/journal.jsonl",
        "run/results.parquet",
        "report/report.html",
    } <= texts.keys()
    assert "192.88.99.10" in texts["run/manifest.json"]
    assert "10.0" in texts["run/results.parquet"]
    for name, why in (
        ("firewall/x@fw.json", "no file of a run"),
        ("raw/link.txt", "leads out of the folder"),
    ):
        assert f"run/{name}: left out of the bundle: it" in said
        assert why in said
    assert [json.loads(texts[name]) for name in ("run/manifest.json", "provenance.json")]


def test_a_report_beside_other_files_packs_only_itself(run: Path, tmp_path: Path) -> None:
    """`--out` may be any folder, with anything in it."""
    out = tmp_path / "somebodys"
    out.mkdir()
    (out / "diary.md").write_text("KeptBesideTheRun")
    (out / "figures").mkdir()
    (out / "figures" / "photo.svg.txt").write_text("KeptBesideTheRun")
    texts, said = packed(run, "--out", str(out))
    assert [name for name, text in texts.items() if "KeptBesideTheRun" in text] == []
    assert "report/diary.md: left out" in said
