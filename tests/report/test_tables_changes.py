"""Two runs side by side, and the gate between two releases."""

import json
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import RESULTS, SCHEMA_VERSION
from vpnmesh.report.changes import Gate, changes, gate_failures, unjudged_cells
from workflows.report import main
from workflows.reporting.comparing import read_gate
from workflows.reporting.studies import study_from_run

MANIFEST = {"substrate": "namespaces", "kernel": "6.1", "machine": "m1", "versions": {"x": "1.0"}}


def run(
    folder: Path,
    rates: dict[str, float],
    n: int = 12,
    sd: float = 0.01,
    failed: tuple[str, ...] = (),
    manifest: Mapping[str, object] | None = None,
) -> Path:
    """A run's directory with n repetitions per scenario around the given means."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True)
    known = {"schema_version": SCHEMA_VERSION, **MANIFEST, **(manifest or {})}
    (folder / "manifest.json").write_text(json.dumps(known))
    rows = [
        {
            "scenario": name,
            "condition": "none",
            "test": "tcp",
            "repetition": i,
            "sequence": i,
            "outcome": "failed" if name in failed else "measured",
            "stage": "path" if name in failed else None,
            "reason": "no relay" if name in failed else None,
            "rate_mbit_s": None if name in failed else float(mean * abs(rng.normal(1, sd))),
        }
        for name, mean in rates.items()
        for i in range(1, n + 1)
    ]
    pl.DataFrame(rows, schema=RESULTS, orient="row").write_parquet(folder / "results.parquet")
    return folder


def compare(a: Path, b: Path, *more: object) -> Result:
    return CliRunner().invoke(main, ["--compare", str(a), str(b), *map(str, more)])


BEFORE = {"native-1450": 900.0, "headscale-direct": 300.0, "zerotier-direct": 250.0}


def test_the_cell_that_changed_is_found(tmp_path: Path) -> None:
    """One cell 10 % slower, the others the same: only that one changed, by about that much."""
    a = study_from_run(run(tmp_path / "a", BEFORE))
    b = study_from_run(run(tmp_path / "b", BEFORE | {"headscale-direct": 270.0}))
    found = {row["scenario"]: row for row in changes(a, b).iter_rows(named=True)}
    assert {name: row["change"] for name, row in found.items()} == {
        "native-1450": "none seen",
        "headscale-direct": "slower",
        "zerotier-direct": "none seen",
    }
    row = found["headscale-direct"]
    assert row["b_over_a"] == pytest.approx(0.9, abs=0.01)
    assert row["low"] < row["b_over_a"] < row["high"] < 1


def test_another_machine_is_compared_by_its_own_baseline(tmp_path: Path) -> None:
    """On a machine half as fast, nothing changed but what changed against its own baseline."""
    a = study_from_run(run(tmp_path / "a", BEFORE))
    half = {name: rate / 2 for name, rate in BEFORE.items()} | {"zerotier-direct": 60.0}
    b = study_from_run(run(tmp_path / "b", half, manifest={"machine": "m2"}))
    found = {row["scenario"]: (row["basis"], row["change"]) for row in changes(a, b).iter_rows(named=True)}
    assert found == {
        "headscale-direct": ("own baseline", "none seen"),
        "zerotier-direct": ("own baseline", "slower"),
    }


def test_a_gate_stops_what_got_slower(tmp_path: Path) -> None:
    """Exit 1 where a cell lost more than the margin for certain, 0 where it did not."""
    a = run(tmp_path / "a", BEFORE)
    gate = tmp_path / "gate.yaml"
    gate.write_text("margin_pct: 5\ncertainty: 0.99\n")
    slower = compare(a, run(tmp_path / "b", BEFORE | {"headscale-direct": 240.0}), "--gate", gate)
    assert slower.exit_code == 1, slower.output
    assert "gate: headscale-direct none tcp: 0.8" in slower.output
    little = compare(a, run(tmp_path / "c", BEFORE | {"headscale-direct": 294.0}), "--gate", gate)
    assert little.exit_code == 0, little.output
    faster = compare(a, run(tmp_path / "d", BEFORE | {"headscale-direct": 400.0}), "--gate", gate)
    assert faster.exit_code == 0, faster.output


def test_a_gate_stops_what_broke(tmp_path: Path) -> None:
    """A cell that no longer gives a figure fails the gate, whatever its mean was."""
    a = study_from_run(run(tmp_path / "a", BEFORE))
    b = study_from_run(run(tmp_path / "b", BEFORE, failed=("zerotier-direct",)))
    assert gate_failures(a, b, Gate()) == ["zerotier-direct none tcp: none of 12 repetitions was measured"]


def test_a_noisy_cell_does_not_fail_by_chance(tmp_path: Path) -> None:
    """A mean 10 % lower in figures that scatter by 60 % is not certain, so the gate lets it pass."""
    a = study_from_run(run(tmp_path / "a", BEFORE, n=6, sd=0.6))
    b = study_from_run(run(tmp_path / "b", {k: v * 0.9 for k, v in BEFORE.items()}, n=6, sd=0.6))
    assert gate_failures(a, b, Gate(margin_pct=5, certainty=0.99)) == []


def test_a_gate_on_another_machine_goes_by_the_baseline(tmp_path: Path) -> None:
    """Half as fast throughout on another machine passes; slower against its own baseline fails with exit 1."""
    gate = tmp_path / "gate.yaml"
    gate.write_text("margin_pct: 5\n")
    half = {name: rate / 2 for name, rate in BEFORE.items()}
    a, other = run(tmp_path / "a", BEFORE), {"machine": "m2"}
    same = compare(a, run(tmp_path / "b", half, manifest=other), "--gate", gate)
    assert (same.exit_code, "note: machine: m1 against m2" in same.stderr) == (0, True), same.output
    slower = half | {"zerotier-direct": 100.0}
    worse = compare(a, run(tmp_path / "c", slower, manifest=other), "--gate", gate)
    assert (worse.exit_code, "gate: zerotier-direct none tcp: 0.8" in worse.stdout) == (1, True), worse.output


def test_cells_of_one_run_alone_are_named(tmp_path: Path) -> None:
    """A scenario that the second run has not, and one that it has more, are told: nothing falls out in silence."""
    a = run(tmp_path / "a", BEFORE)
    b = run(tmp_path / "b", {"native-1450": 900.0, "headscale-direct": 300.0, "nebula-direct": 90.0})
    told = compare(a, b)
    assert told.exit_code == 0
    assert "note: 1 cells only in the first run: zerotier-direct none tcp" in told.stderr
    assert "note: 1 cells only in the second run: nebula-direct none tcp" in told.stderr


def test_a_gate_that_can_judge_nothing_is_no_pass(tmp_path: Path) -> None:
    """One figure per cell has no spread: exit 2 in words; a single such cell among others is named."""
    gate = tmp_path / "gate.yaml"
    gate.write_text("")
    single = compare(run(tmp_path / "a", BEFORE, n=1), run(tmp_path / "b", BEFORE, n=1), "--gate", gate)
    assert (single.exit_code, "no cell can be judged" in single.stderr) == (2, True), single.output
    no_baseline = {"headscale-direct": 300.0}
    elsewhere = run(tmp_path / "d", no_baseline, manifest={"machine": "m2"})
    without = compare(run(tmp_path / "c", no_baseline), elsewhere, "--gate", gate)
    assert (without.exit_code, "of a baseline" in without.stderr) == (2, True), without.output


def test_the_cells_a_gate_cannot_judge_are_named(tmp_path: Path) -> None:
    """Of three cells one was measured once: the gate judges two and says which it leaves out."""
    a, b = (run(tmp_path / name, BEFORE) for name in "ab")
    frame = pl.read_parquet(b / "results.parquet")
    once = (pl.col("scenario") != "zerotier-direct") | (pl.col("repetition") == 1)
    frame.filter(once).write_parquet(b / "results.parquet")
    assert unjudged_cells(study_from_run(a), study_from_run(b)) == ["zerotier-direct none tcp"]


def test_a_gate_without_two_runs_is_refused(tmp_path: Path) -> None:
    """A gate that would be left out in silence is an error."""
    told = CliRunner().invoke(main, [str(run(tmp_path / "a", BEFORE)), "--gate", str(tmp_path / "gate.yaml")])
    assert (told.exit_code, "nothing to hold it against" in told.stderr) == (2, True)


def test_nothing_in_common(tmp_path: Path) -> None:
    """Two runs of different scenarios cannot be compared, and that is said with exit code 2."""
    result = compare(run(tmp_path / "a", {"x": 1.0}), run(tmp_path / "b", {"y": 1.0}))
    assert result.exit_code == 2
    assert "no cell in common" in result.output


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("margin_pct: fast", "margin_pct"),
        ("margin_pct: 120", "margin_pct 120"),
        ("certainty: 0.2", "certainty 0.2"),
        ("[1, 2]", "gate"),
        ("certainity: 0.99", "certainity"),
        ("{", "no YAML"),
    ],
)
def test_gates_that_are_none(tmp_path: Path, text: str, word: str) -> None:
    """A gate that cannot be is refused with the field that is wrong."""
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="--gate") as caught:
        read_gate(path)
    assert word in str(caught.value)


def test_an_empty_gate_is_the_usual_one(tmp_path: Path) -> None:
    """An empty file means 5 % with certainty 0.95."""
    path = tmp_path / "gate.yaml"
    path.write_text("")
    assert read_gate(path) == Gate(5.0, 0.95)


def test_the_gate_is_written_as_junit_too(tmp_path: Path) -> None:
    """A test case per cell: one slower, one broken, one that cannot be judged is skipped, the baseline passes."""
    a = run(tmp_path / "a", BEFORE | {"netbird-direct": 200.0})
    b = run(
        tmp_path / "b",
        BEFORE | {"headscale-direct": 200.0, "netbird-direct": 200.0},
        failed=("zerotier-direct",),
    )
    few = pl.read_parquet(b / "results.parquet")
    kept = few.filter((pl.col("scenario") != "netbird-direct") | (pl.col("repetition") < 4))
    kept.write_parquet(b / "results.parquet")
    (tmp_path / "gate.yaml").write_text("margin_pct: 5\ncertainty: 0.95\n")
    result = compare(a, b, "--gate", tmp_path / "gate.yaml", "--junit", tmp_path / "junit.xml")
    assert result.exit_code == 1, result.output
    cases = {
        case.get("name"): case for case in fromstring((tmp_path / "junit.xml").read_text()).iter("testcase")
    }
    found = {name: [part.tag for part in case if part.tag != "system-out"] for name, case in cases.items()}
    assert found == {
        "native-1450 none tcp": [],
        "headscale-direct none tcp": ["failure"],
        "zerotier-direct none tcp": ["failure"],
        "netbird-direct none tcp": ["skipped"],
    }
    broken = cases["zerotier-direct none tcp"].find("failure")
    assert broken is not None
    assert "none of 12 repetitions was measured" in str(broken.get("message"))
