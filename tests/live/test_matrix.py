"""full_matrix end to end, as its users run it: results, failures, kill -9, Ctrl-C, and nothing left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.small_disk import mounts
from vpnmesh.frames.schemas import check_results
from vpnmesh.impairment import burst
from vpnmesh.lab.lifecycle import find
from vpnmesh.model import Cell, Condition, Placement
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.outcome import Failed, Measured
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.tools import ping
from workflows.run.impair import choose_engine, impaired
from workflows.run.measure import Attempt, VisitContext, measure
from workflows.run.provision import provisioned
from workflows.run.site import Site
from workflows.run.store import Store

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
MATRIX = (sys.executable, "-m", "workflows.full_matrix")
SHORT = ("--repetitions", "1", "--duration", "1")
DEADLINE_S = 400
"""For a command that ends by itself; only a busy machine comes near it."""


def leftovers() -> dict[str, object]:
    """Links here, mounts, and processes of labs: the same before and after."""
    links = subprocess.run(("ip", "-br", "link"), capture_output=True, text=True, check=True).stdout
    inits = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if os.environ["VPNMESH_LAB_DIR"] in line:
            inits.append(line)
    return {
        "links": sorted(line.split()[0] for line in links.splitlines()),
        "mounts": mounts(),
        "inits": inits,
    }


_started: list[subprocess.Popen[str]] = []


@pytest.fixture
def clean(place: Path) -> Iterator[Path]:
    """A place for one lab; when the test is over nothing of it may be left, and a failed test's run is ended."""
    before = leftovers()
    yield place
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()
    deadline = time.monotonic() + 15
    while leftovers() != before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert before == leftovers()


def start(*arguments: str) -> subprocess.Popen[str]:
    """full_matrix in the background."""
    process = subprocess.Popen(
        (*MATRIX, *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _started.append(process)
    return process


def journal(run: Path) -> list[dict[str, object]]:
    """The attempts on disk."""
    path = run / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in map(json.loads, lines) if line["type"] == "repetition"]


def await_attempts(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many attempts are on disk."""
    deadline = time.monotonic() + DEADLINE_S
    while len(journal(run)) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_short_matrix_measures_everything_it_says(clean: Path, tmp_path: Path) -> None:
    """Every cell is a row, a scenario that cannot run is a row too, raw output and provenance are kept, exit code 0."""
    run, file = tmp_path / "run", tmp_path / "mine.yaml"
    file.write_text("nebula-ancient: {variant_of: nebula-relay, version: 0.0.1}\n")
    process = start(
        *("--scenario-file", str(file), "--scenarios", "nebula-relay,nebula-ancient"),
        *("--conditions", "none,loss-1pct", "--tests", "tcp,udp,idle,ping", "--out", str(run), *SHORT),
    )
    said = process.communicate(timeout=DEADLINE_S)[0]
    frame = check_results(pl.read_parquet(run / "results.parquet"), str(run))
    ours = frame.filter(pl.col("scenario") == "nebula-relay")
    measured, failed = (ours.filter(pl.col("outcome") == one) for one in ("measured", "failed"))
    assert sorted((c, t) for c in ("none", "loss-1pct") for t in ("tcp", "udp", "idle", "ping")) == sorted(
        ours.select("condition", "test").iter_rows()
    )
    # an opening of a UDP stream may be lost three times over, or a busy machine lose the flow: no other test may fail
    assert set(failed.select("test", "stage").iter_rows()) <= {("udp", "tool")}
    assert process.returncode == (3 if failed.height else 0), said
    assert f"report: python -m workflows.report {run}" in said.splitlines()
    rates = measured.filter(pl.col("test").is_in(["tcp", "udp"]))
    assert rates["rate_mbit_s"].min() > 0  # type: ignore[operator]
    assert rates["relay_share"].min() >= 0.9  # type: ignore[operator]
    assert {"userspace"} == set(measured["data_plane"])
    missing = frame.filter(pl.col("scenario") == "nebula-ancient")
    assert missing.height == 8
    assert all(reason.startswith("unavailable: ") for reason in missing["reason"])
    manifest = json.loads((run / "manifest.json").read_text())
    assert {
        "profile",
        "seed",
        "nodes",
        "node_differences",
        "engine",
        "git_commit",
        "testbed",
        "schema_version",
    } <= set(manifest)
    assert "iperf 3" in manifest["nodes"]["worker1"]["iperf3"]
    raw = run / str(rates["raw"][0])
    files = {"client.json", "server.txt", "load-client.txt", "load-relay.txt", "load-server.txt"}
    files |= {"relay-sent.json"}
    assert files | {"rtt-before.txt", "rtt-after.txt"} == {path.name for path in raw.iterdir()}
    rebuilt_from_raw(run)
    figures = pl.read_parquet(run / "figures.parquet").filter(pl.col("scenario") == "nebula-relay")
    assert {"tcp", "idle", "ping"} <= set(figures["test"])
    assert set(rates["rate_mbit_s"]) == set(figures.filter(figure="rate_mbit_s")["value"])
    assert {"ms"} == set(figures.filter(figure="rtt_ms")["unit"])
    assert "Mbit/s" in said
    assert str(run) in said


def rebuilt_from_raw(run: Path) -> None:
    """What ping printed is kept as printed, and says again what the journal says; the burst is judged again."""
    for line in journal(run):
        for when in ("before", "after"):
            if (said := line.get(f"rtt_ms_{when}")) is not None:
                text = (run / str(line["raw"]) / f"rtt-{when}.txt").read_text()
                assert ping.parse(text).rtt_avg_ms == said
        if line["test"] == "ping" and line["outcome"] == "measured":
            seen = ping.parse((run / str(line["raw"]) / "ping.txt").read_text())
            assert {"rtt_ms": seen.rtt_avg_ms} == line["samples"]
            assert line["lost_pct"] == 100 * (1 - seen.received / seen.sent)
    (kept,) = (run / "raw" / "nebula-relay" / "loss-1pct" / "impairment").iterdir()
    many, clean = (
        ping.parse_all((kept / "burst.txt").read_text()),
        ping.parse((kept / "clean.txt").read_text()),
    )
    burst.check_burst(many, Condition(loss_pct=1), Placement(), clean)
    assert (kept / "burst.txt").stat().st_size < 10_000


def test_kill_9_leaves_nothing_and_resume_repeats_nothing(clean: Path, tmp_path: Path) -> None:
    """The lab dies with its owner; what was measured is there, and only the rest is measured again."""
    run = tmp_path / "run"
    arguments = ("--scenarios", "native-1450", "--conditions", "none,loss-1pct", "--tests", "tcp,udp")
    process = start(*arguments, "--out", str(run), *SHORT)
    await_attempts(run, 1, process)
    process.kill()
    process.communicate(timeout=30)
    before = journal(run)
    assert 1 <= len(before) < 4
    resumed = start("--resume", str(run))
    said = resumed.communicate(timeout=DEADLINE_S)[0]
    after = journal(run)
    # iperf3 may lose its opening datagram at any time: a failed repetition is finished too, and is not repeated
    assert resumed.returncode == (3 if any(line["outcome"] == "failed" for line in after) else 0), said
    assert before == after[: len(before)]
    keys = [(str(line["condition"]), str(line["test"]), line["repetition"]) for line in after]
    assert sorted({(c, t, 1) for c in ("none", "loss-1pct") for t in ("tcp", "udp")}) == sorted(keys)
    assert {1, 2, 3, 4} == {line["sequence"] for line in after}
    manifest = json.loads((run / "manifest.json").read_text())
    assert len(manifest["sessions"]) == 2
    assert manifest["sessions"][0]["nodes"] == manifest["nodes"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_clean_and_resumable(signum: int, code: int, clean: Path, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end within seconds, say how to go on, and leave nothing."""
    run = tmp_path / "run"
    process = start(
        "--scenarios", "nebula-direct", "--conditions", "delay-50ms", "--duration", "30", "--out", str(run)
    )
    deadline = time.monotonic() + DEADLINE_S
    while "standing" not in (run / "journal.jsonl").read_text() if (run / "journal.jsonl").exists() else True:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signum)
    said = process.communicate(timeout=DEADLINE_S)[0]
    assert code == process.returncode, said
    assert f"--resume {run}" in said
    assert "Traceback" not in said


def test_a_node_that_dies_fails_its_cells_and_the_run_goes_on(clean: Path, tmp_path: Path) -> None:
    """A dead relay node is the reason of every cell after it; the run ends by itself, with exit code 3."""
    run = tmp_path / "run"
    process = start(
        *(
            "--scenarios",
            "native-1450",
            "--conditions",
            "none,loss-1pct",
            "--tests",
            "tcp",
            "--out",
            str(run),
        ),
        *("--repetitions", "2", "--duration", "1"),
    )
    await_attempts(run, 1, process)
    lab = find()
    assert lab is not None
    os.kill(lab.node_pid("relay"), signal.SIGKILL)
    said = process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 3, said
    rows = journal(run)
    assert len(rows) == 4
    assert rows[0]["outcome"] == "measured"
    assert {"node"} == {row["stage"] for row in rows if row["outcome"] == "failed"}
    assert "relay" in str(rows[-1]["reason"])


def test_the_wrong_path_is_a_failed_repetition(site: Site, tmp_path: Path) -> None:
    """Packets that go direct where the scenario says relay: Failed("path"), not a figure."""
    store = Store.create(tmp_path / "run")
    wanted = scenario_named("nebula-relay")
    pair = site.testbed.pairs[0]
    with (
        provisioned(site, scenario_named("nebula-direct")) as standing,
        impaired(site, choose_engine(site), Condition(), Placement()) as nothing,
    ):
        right = Attempt(Cell("nebula-direct", "none", "tcp", pair), 1, 1, 1)
        record, _ = measure(VisitContext(site, standing, PROFILES["quick"], store), right, nothing)
        assert isinstance(record.outcome, Measured), record.outcome
        mesh = Mesh(site.testbed, wanted, standing.mesh.published)
        claimed = replace(standing, scenario=wanted, mesh=mesh)
        wrong = Attempt(Cell(wanted.name, "none", "tcp", pair), 1, 1, 2)
        record, _ = measure(VisitContext(site, claimed, PROFILES["quick"], store), wrong, nothing)
    assert isinstance(record.outcome, Failed)
    assert record.outcome.stage == "path"
    assert record.row()["rate_mbit_s"] is None
