"""Whatever is wrong on the command line is one sentence and exit code 2, before anything is touched."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from workflows.full_matrix import main

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments: str) -> Result:
    """full_matrix with these arguments, in this process."""
    return CliRunner().invoke(main, arguments)


CASES = {
    "--scenarios nonsense": "unknown scenario 'nonsense'; known are: native-1450",
    "--conditions loss-3": "unknown condition 'loss-3'; known are: none, loss-1pct",
    "--conditions loss-100pct": "loss 100 % is not in",
    "--tests sctp": "unknown test 'sctp'; known are: api, api-hey, convergence, idle, tcp, udp, ping",
    "--profile slow": "unknown profile 'slow'; known are: adaptive, quick, paper",
    "--inventory nowhere": "built in are: baremetal, lab",
    "--resume {empty}": "not a run",
    "--resume {old}": "a run of schema version 0",
    "--resume {garbled}": "no run that can be resumed",
    "--placement moon": "places: underlay, vxlan, pod, vlan-pair",
    "--repetitions 0": "--repetitions: 0 is less than 1",
    "--duration 0": "--duration: 0 is less than 1",
    "--scenarios ,": "nothing to do",
    "--json": "--json: goes with --plan",
    "--duration soon": "Invalid value for '--duration'",
    "--duration -1": "--duration: -1 is less than 1",
    "--duration 86401": "--duration: 86401 is more than 86400",
    "--repetitions 99999999999": "--repetitions: 99999999999 is more than 10000",
    "--blocks 0": "--blocks: 0 is less than 1",
    "--blocks 99999999999": "--blocks: 99999999999 is more than 10000",
    "--budget 0": "--budget: 0 is no number of minutes above 0",
    "--budget -5": "--budget: -5 is no number of minutes above 0",
    "--budget nan": "--budget: nan is no number of minutes above 0",
    "--margin 0": "--margin: 0 is no percentage between 0 and 100",
    "--margin nan": "--margin: nan is no percentage between 0 and 100",
    "--precision 100": "--precision: 100 is no percentage between 0 and 100",
    "--budget inf": "--budget: inf is no number of minutes above 0",
    "--placement underlay:client:-3": "limit: 1 to 10000000 packets, or auto",
    "--placement underlay:client:0": "limit: 1 to 10000000 packets, or auto",
    "--seed -1": "--seed: -1 is not in 0 to 1000000000",
    "--seed 99999999999999999999": "--seed: 99999999999999999999 is not in 0 to 1000000000",
    "--conditions loss-nanpct": "loss nan % is not in",
    "--conditions delay-infms": "delay inf ms is not in",
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, tmp_path: Path) -> None:
    """The sentence names the place and lists the right ones."""
    folders = {name: tmp_path / name for name in ("empty", "old", "garbled")}
    for folder in folders.values():
        folder.mkdir()
    (folders["old"] / "manifest.json").write_text(json.dumps({"schema_version": 0}))
    (folders["garbled"] / "manifest.json").write_text(
        json.dumps({"schema_version": SCHEMA_VERSION, "profile": 3})
    )
    result = invoke(*case.format(**folders).split(" "))
    assert result.exit_code == 2, result.output
    assert CASES[case] in result.output
    assert "Traceback" not in result.output


def test_no_traceback_from_the_shell_either() -> None:
    """As users call it: exit code 2, the sentence on stderr, nothing on stdout."""
    argv = (sys.executable, "-m", "workflows.full_matrix", "--scenarios", "nonsense")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --scenarios: unknown scenario 'nonsense'")
    assert len(done.stderr.splitlines()) == 1


def test_the_plan_needs_neither_root_nor_lab_nor_binaries() -> None:
    """All twelve scenarios are planned; JSON is only the list, in documented words."""
    names = "native-1450,headscale-relay,netbird-relay,netbird-relay-tcp,zerotier-relay,nebula-relay"
    asked = ("--profile", "paper", "--tests", "tcp,udp")
    result = invoke("--plan", "--json", *asked, "--scenarios", names)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert len(rows) == 6 * 7 * 2
    assert {"scenario", "condition", "test", "pair", "repetitions", "seconds"} == set(rows[0])
    assert str(Pair("worker1", "worker2")) == rows[0]["pair"]
    assert {100, 10} == {row["repetitions"] for row in rows}
    assert all(row["seconds"] > row["repetitions"] * 61 for row in rows)


ALL = ("tcp", "udp", "api", "api-hey")


def test_the_papers_plan_is_the_papers_count() -> None:
    """--profile paper --plan: 2,560 repetitions, and ten of each way to ask the API where it can be had."""
    rows = json.loads(invoke("--plan", "--json", "--profile", "paper").stdout)
    found = {test: sum(row["repetitions"] for row in rows if row["test"] == test) for test in ALL}
    assert found["tcp"] + found["udp"] == 2560
    assert {found["api"], found["api-hey"]} <= {0, 80}


def test_the_plan_says_what_a_budget_leaves_out() -> None:
    """Dropped conditions are named, never silent."""
    result = invoke("--plan", "--profile", "quick", "--budget", "3")
    assert result.exit_code == 0
    assert "left out to stay in 3 minutes: delay-350ms" in result.output
    assert "switching" in result.output


def test_conditions_that_were_asked_for_are_never_dropped() -> None:
    """Neither the profile's own budget nor one that is given takes them away; what cannot be met is said."""
    quick = ("--plan", "--profile", "quick", "--scenarios", "nebula-direct")
    asked = (*quick, "--conditions", "none,loss-10pct", "--duration", "60")
    free = invoke(*asked)
    assert "loss-10pct" in free.output
    assert "left out" not in free.output
    assert "budget" not in free.output
    bound = invoke(*asked, "--budget", "3")
    assert "left out to stay" not in bound.output
    assert "nebula-direct      loss-10pct" in bound.output
    assert (
        "estimated 8.4 minutes are more than the budget of 3; nothing that was asked for is left out"
        in bound.output
    )


def test_a_budget_that_even_the_undisturbed_condition_exceeds_is_said() -> None:
    """What the profile chose goes as far as it can; the rest is a sentence."""
    result = invoke("--plan", "--profile", "quick", "--budget", "0.5")
    assert result.exit_code == 0
    assert "left out to stay in 0.5 minutes: loss-1pct" in result.output
    assert "are more than the budget of 0.5" in result.output


def test_the_plan_says_that_one_visit_confounds_scenario_and_time() -> None:
    """With one visit to each scenario, whatever the machine did meanwhile looks like the scenario's doing."""
    said, quick = "each scenario is visited once", ("--plan", "--profile", "quick")
    assert said in invoke(*quick).output
    assert said not in invoke(*quick, "--blocks", "2").output
    assert said not in invoke(*quick, "--scenarios", "nebula-direct").output
    assert said in invoke(*quick, "--blocks", "2", "--repetitions", "1").output


def test_remarks_do_not_spoil_the_json() -> None:
    """They go to stderr."""
    result = invoke("--plan", "--profile", "quick", "--json", "--budget", "3")
    assert json.loads(result.stdout)
    assert "left out to stay in 3 minutes" in result.stderr


def test_a_cell_has_one_key() -> None:
    """The key is what resuming goes by."""
    cell = Cell("a", "none", "tcp", Pair("x", "y"))
    assert cell.key == "a/none/tcp/x>y"


def test_the_plan_says_how_an_adaptive_run_goes_on() -> None:
    """What the rounds are for, when they end, and that a budget may be too small for the first of them."""
    result = invoke("--plan", "--budget", "3", "--margin", "5")
    assert result.exit_code == 0
    assert "every scenario is visited 3 times; then only for pairs that are not decided yet" in result.output
    assert "(equal means within 5 %), until 3 minutes are over" in result.output
    assert "more than the budget of 3: the run ends with the budget, and says what is open" in result.output
    precise = invoke("--plan", "--precision", "4")
    assert "pairs whose ratio is not known to 4 % yet, without a budget" in precise.output
