"""Going on with a run: never another run under the same name, and nothing of an earlier session is lost."""

import json
import shutil
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from vpnmesh.errors import InputError, UnavailableError
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Cell, Testbed
from vpnmesh.study.journal import SessionStarted, of_kind
from vpnmesh.study.manifest import Surroundings
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record
from workflows import full_matrix
from workflows.full_matrix import main
from workflows.reporting.studies import study_from_run
from workflows.run import provenance, runner, sessions
from workflows.run.progress import RunProgress
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

NODE = {
    "kernel": "Linux 6.1.0-1",
    "iperf3": "iperf 3.12",
    "cores": "2",
    "tcp_congestion": "cubic",
    "nebula -version": "Version: 1.6.1",
    "tailscaled --version": "not known: no such file",
    "firewall": "table inet a",
}
MET: dict[str, Any] = {
    "controller": {"kernel": "Linux-6.1.0-1", "machine": "x86_64"},
    "engine": "netem",
    "cluster": "pods",
    "lab": {"port_rate_mbit_s": 1000.0, "seconds": {"checks": 0.1}},
    "nodes": {"worker1": NODE, "worker2": NODE},
    "node_differences": [],
}


@pytest.fixture
def store(bed: Testbed, tmp_path: Path) -> Store:
    """A run of the quick profile that was begun and interrupted at once."""
    return Store.create(tmp_path / "run", provenance.request(PROFILES["quick"], 1, "lab", bed))


def met(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """The next session meets these surroundings."""
    monkeypatch.setattr(provenance, "surroundings", lambda *_: Surroundings(**{**deepcopy(MET), **changes}))


def begin(store: Store, bed: Testbed) -> list[str]:
    """A session begins."""
    return sessions.begin(Store.open(store.directory), Site(None, bed), None, NetemEngine())  # type: ignore[arg-type]


def resume(store: Store, *arguments: str) -> Result:
    """`full_matrix --resume RUN` with these arguments, up to the plan."""
    return CliRunner().invoke(main, ("--resume", str(store.directory), "--plan", *arguments))


CHANGING = {
    "--profile": "paper",
    "--inventory": "nowhere",
    "--scenarios": "netbird-relay",
    "--scenario-file": "/nonexistent/mine.yaml",
    "--conditions": "none",
    "--tests": "tcp",
    "--repetitions": "3",
    "--duration": "3",
    "--blocks": "2",
    "--requests": "50",
    "--budget": "5",
    "--margin": "5",
    "--precision": "5",
    "--placement": "vxlan",
    "--pairs": "full-mesh",
    "--cluster": "kubernetes",
    "--seed": "99",
    "--out": "/nonexistent",
}


@pytest.mark.parametrize("option", CHANGING)
def test_an_option_that_would_change_the_run_is_refused_by_name(option: str, store: Store) -> None:
    """Also where it says what the run has anyway: it would be ignored in silence otherwise."""
    result = resume(store, option, CHANGING[option])
    assert result.exit_code == 2, result.output
    assert f"--resume: the run has its own {option}; leave these out" in result.output
    assert len(result.output.splitlines()) == 1


def test_all_refused_options_are_named_at_once(store: Store) -> None:
    """One sentence for all."""
    result = resume(store, "--scenarios", "netbird-relay", "--seed", "99", "--out", "/nonexistent")
    assert "the run has its own --scenarios, --seed, --out" in result.output


def test_options_that_only_look_stay_allowed(store: Store) -> None:
    """--plan, --json, --require-all and --dry-run change nothing of the run."""
    result = resume(store, "--json", "--require-all")
    assert result.exit_code == 0, result.output
    throughput = [row for row in json.loads(result.stdout) if row["test"] in ("tcp", "udp")]
    assert len(throughput) == 8 * 7 * 2
    assert "dry_run" in sessions.WITH_RESUME


def test_every_option_is_either_refused_or_only_looks() -> None:
    """A new option has to say which it is."""
    names = {str(parameter.name) for parameter in main.params}
    assert names - sessions.WITH_RESUME == {
        option.removeprefix("--").replace("scenario-file", "scenario_files") for option in CHANGING
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "nfqueue"}, "impairment engine was netem, is nfqueue"),
        ({"cluster": "kubernetes"}, "cluster was pods, is kubernetes"),
        ({"lab": {"port_rate_mbit_s": 100.0}}, "lab was ports at 1000 Mbit/s, is ports at 100 Mbit/s"),
        ({"lab": {"port_rate_mbit_s": None}}, "lab was ports at 1000 Mbit/s, is ports unshaped"),
        ({"lab": None}, "lab was ports at 1000 Mbit/s, is none, real machines"),
        (
            {"controller": {"kernel": "Linux-6.9.0-1", "machine": "x86_64"}},
            "kernel was Linux-6.1.0-1, is Linux-6.9.0-1 (controller)",
        ),
        (
            {"nodes": {name: {**NODE, "kernel": "Linux 6.9.0-1"} for name in ("worker1", "worker2")}},
            "kernel was Linux 6.1.0-1, is Linux 6.9.0-1 (worker1, worker2)",
        ),
        (
            {"nodes": {"worker1": NODE, "worker2": {**NODE, "nebula -version": "Version: 1.9.5"}}},
            "nebula -version was Version: 1.6.1, is Version: 1.9.5 (worker2)",
        ),
        (
            {"nodes": {"worker1": {**NODE, "iperf3": "iperf 3.16"}, "worker2": NODE}},
            "iperf3 was iperf 3.12, is iperf 3.16 (worker1)",
        ),
        (
            {"nodes": {"worker1": {**NODE, "tcp_congestion": "bbr"}, "worker2": NODE}},
            "tcp_congestion was cubic, is bbr (worker1)",
        ),
    ],
    ids=[
        *("engine", "cluster", "rate", "unshaped", "no lab", "controller", "kernels", "program"),
        *("measuring tool", "setting"),
    ],
)
def test_other_surroundings_are_refused_and_nothing_is_overwritten(
    changes: dict[str, Any], said: str, store: Store, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has old, new, whose, and the way out; manifest and journal are as before."""
    met(monkeypatch)
    begin(store, bed)
    kept = [(store.directory / name).read_bytes() for name in ("manifest.json", "journal.jsonl")]
    met(monkeypatch, **changes)
    with pytest.raises(InputError) as caught:
        begin(store, bed)
    assert said in str(caught.value)
    assert "start a new run" in str(caught.value)
    assert kept == [(store.directory / name).read_bytes() for name in ("manifest.json", "journal.jsonl")]


def test_adopted_surroundings_are_noted_and_mark_every_row(
    store: Store, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --adopt the run goes on: manifest and journal say in what they differ, and rows since then are marked."""
    cell, good = Cell("native-1450", "none", "tcp", bed.pairs[0]), Measured((Sample("rate_mbit_s", 1.0),))
    met(monkeypatch)
    begin(store, bed)
    first = Store.open(store.directory)
    first.append(Record(cell, 1, good, datetime.now(UTC), sequence=1))
    met(monkeypatch, engine="nfqueue")
    adopting = Store.open(store.directory, adopts=True)
    said = sessions.begin(adopting, Site(None, bed), None, NetemEngine())  # type: ignore[arg-type]
    assert said[0].endswith("every row from now on: impairment engine was netem, is nfqueue")
    adopting.append(Record(cell, 2, good, datetime.now(UTC), sequence=2))
    met(monkeypatch)
    begin(store, bed)
    last = Store.open(store.directory)
    last.append(Record(cell, 3, good, datetime.now(UTC), sequence=3))
    assert [one.row()["adopted"] for one in last.repetitions] == [False, True, False]
    assert [len(one.adopted) for one in store.manifest().sessions] == [0, 1, 0]
    assert [len(one.adopted) for one in of_kind(last.events, SessionStarted)] == [0, 1, 0]
    notes = study_from_run(store.directory).notes
    assert any("session 2 went on in other surroundings" in note for note in notes)
    assert any(
        "1 of 3 repetitions are marked as adopted: means of native-1450 none tcp" in one for one in notes
    )
    (row,) = study_from_run(store.directory).tables["throughput"].to_dicts()
    assert "1 of 3 measured in adopted surroundings" in row["warning"]


def test_adopt_takes_another_inventory_and_version(store: Store) -> None:
    """Both are looked at before any node is asked."""
    testbed: Any = deepcopy(store.manifest().testbed)
    testbed["nodes"][1]["legs"][0]["interface"] = "enp3s0"
    store.update_manifest(testbed=testbed, vpnmesh="0.0.1")
    assert resume(store).exit_code == 2
    assert resume(store, "--adopt").exit_code == 0


def test_adopt_alone_is_refused() -> None:
    """A new run has nothing to adopt."""
    done = CliRunner().invoke(main, ("--adopt", "--plan"))
    assert (done.exit_code, "--adopt: goes with --resume" in done.output) == (2, True)


def test_what_says_nothing_of_the_figures_may_change(
    store: Store, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds of the lab's start, firewall rules left by others, and a program that was installed since."""
    met(monkeypatch)
    begin(store, bed)
    node = {**NODE, "firewall": "", "tailscaled --version": "1.58.2"}
    met(
        monkeypatch, lab={"port_rate_mbit_s": 1000.0, "seconds": {}}, nodes={"worker1": node, "worker2": NODE}
    )
    assert begin(store, bed) == []


def test_every_session_is_kept_and_the_first_is_the_runs_own(
    store: Store, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first session met stays where readers look for it; each session has its own entry."""
    met(monkeypatch)
    begin(store, bed)
    sessions.note(store, sysctls_before={"worker1": {"net.core.rmem_max": "212992"}})
    met(monkeypatch, node_differences=["firewall: other"])
    begin(store, bed)
    sessions.note(store, sysctls_before={"worker1": {"net.core.rmem_max": "26214400"}})
    manifest = store.manifest()
    assert manifest.node_differences == []
    assert manifest.sysctls_before == {"worker1": {"net.core.rmem_max": "212992"}}
    first, second = manifest.sessions
    assert (first.node_differences, second.node_differences) == ([], ["firewall: other"])
    assert second.sysctls_before == {"worker1": {"net.core.rmem_max": "26214400"}}
    assert {"started_at", "argv", "vpnmesh", "git_commit", "nodes", "engine"} <= set(first.entries())
    numbers = [one.number for one in of_kind(Store.open(store.directory).events, SessionStarted)]
    assert numbers == [1, 2]


def test_other_code_is_said(store: Store, bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another commit of the same version goes on, and a reader is told."""
    met(monkeypatch)
    monkeypatch.setattr(provenance, "git_commit", lambda: "abc-dirty")
    assert "the code is abc-dirty now" in begin(store, bed)[0]


def test_another_version_of_vpnmesh_is_refused(store: Store) -> None:
    """It may plan, measure or parse in another way."""
    store.update_manifest(vpnmesh="0.0.1")
    result = resume(store)
    assert result.exit_code == 2
    assert "vpnmesh was 0.0.1, is" in result.output


def test_an_inventory_that_changed_is_refused(store: Store) -> None:
    """Another address, interface or order of nodes is another testbed, and is named."""
    testbed: Any = deepcopy(store.manifest().testbed)
    testbed["nodes"][1]["legs"][0]["interface"] = "enp3s0"
    store.update_manifest(testbed=testbed)
    result = resume(store)
    assert result.exit_code == 2
    assert "testbed nodes worker1 legs 20 interface was enp3s0, is eth0" in result.output


def test_sets_in_another_order_are_no_change(store: Store) -> None:
    """A node's roles have no order."""
    testbed: Any = deepcopy(store.manifest().testbed)
    for node in testbed["nodes"]:
        node["roles"].reverse()
    store.update_manifest(testbed=testbed)
    assert resume(store).exit_code == 0


def test_numbers_go_on_after_rows_of_every_outcome(store: Store, bed: Testbed) -> None:
    """`sequence` is unique in a run: unavailable and failed rows have theirs too."""
    cell = Cell("nebula-direct", "none", "tcp", bed.pairs[0])
    outcomes: tuple[Outcome, ...] = (
        Measured((Sample("rate_mbit_s", 1.0),)),
        Failed("tool", "no"),
        Failed(UNAVAILABLE, "unavailable: x"),
    )
    for number, outcome in enumerate(outcomes, start=1):
        store.append(Record(cell, number, outcome, datetime.now(UTC), sequence=number))
    plan = plan_matrix(PROFILES["quick"], bed.pairs, 1)
    matrix = MatrixRun(Site(None, bed), plan, Store.open(store.directory), NetemEngine(), 1)  # type: ignore[arg-type]
    assert matrix._next() == 4


def test_the_whole_journal_counts_though_the_parquet_is_older(store: Store, bed: Testbed) -> None:
    """A kill between a repetition's line and the table: the line counts, once, and the table is made anew."""
    cell = Cell("nebula-direct", "none", "tcp", bed.pairs[0])
    good = Measured((Sample("rate_mbit_s", 1.0),))
    store.append(Record(cell, 1, good, datetime.now(UTC), sequence=1))
    store.write_results()
    store.append(Record(cell, 2, good, datetime.now(UTC), sequence=2))
    again = Store.open(store.directory)
    assert again.finished == {(cell.key, 1), (cell.key, 2)}
    again.write_results()
    assert len(again.repetitions) == 2


def test_a_scenario_that_was_missing_once_is_not_missing_for_ever(store: Store, bed: Testbed) -> None:
    """--require-all judges what could not be attempted in the end."""
    cell = Cell("nebula-direct", "none", "tcp", bed.pairs[0])
    store.append(
        Record(cell, 0, Failed(UNAVAILABLE, "unavailable: no nebula"), datetime.now(UTC), sequence=1)
    )
    assert full_matrix._missing(store) == {"nebula-direct": "unavailable: no nebula"}
    store.append(Record(cell, 1, Failed("tool", "no"), datetime.now(UTC), sequence=2))
    assert full_matrix._missing(store) == {}


def test_a_resumed_run_numbers_unavailable_rows_apart(
    store: Store, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sessions in which nothing could be attempted: no row twice, no number twice."""

    def unavailable(*_: object) -> Any:
        raise UnavailableError("no binary")

    monkeypatch.setattr(runner, "provisioned", unavailable)
    plan = plan_matrix(PROFILES["quick"], bed.pairs, 1)
    for _ in range(2):
        again = Store.open(store.directory)
        matrix = MatrixRun(Site(None, bed), plan, again, NetemEngine(), 1)  # type: ignore[arg-type]
        with RunProgress(Console(quiet=True), plan, matrix.done) as progress:
            matrix.run(progress)
    numbers = [row.sequence for row in again.repetitions]
    assert numbers == list(range(1, len(plan.cells) + 1))


def test_a_run_directory_can_be_moved(store: Store, tmp_path: Path) -> None:
    """Nothing in it names its own place."""
    shutil.move(store.directory, tmp_path / "elsewhere")
    assert resume(Store(tmp_path / "elsewhere")).exit_code == 0
