"""--scenario-file and --profile FILE, as a user meets them: what is run, in which order, and what wrong files say."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from vpnmesh.model import Testbed
from vpnmesh.study.manifest import Manifest
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from workflows import doctor, full_matrix
from workflows.run import provenance
from workflows.run.options import KnownScenarios, MatrixOptions
from workflows.run.store import Store

MINE = """
wireguard-1420:
  variant_of: wireguard-direct
  tunnel_mtu: 1420
  pod_mtu: 1370
nebula-nat:
  variant_of: nebula-direct
  policy: nat-endpoint-independent
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A user's file."""
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return str(path)


def plan(*arguments: str) -> Result:
    """full_matrix up to the plan."""
    return CliRunner().invoke(full_matrix.main, ("--plan", "--json", *arguments))


def scenarios(result: Result) -> list[str]:
    """In the order of the plan."""
    assert result.exit_code == 0, result.output
    return list(dict.fromkeys(row["scenario"] for row in json.loads(result.stdout)))


def test_a_file_alone_is_what_is_run(mine: str) -> None:
    """Each variant together with the scenario that it varies, in the order of every table."""
    assert scenarios(plan("--scenario-file", mine)) == [
        *("wireguard-direct", "nebula-direct"),
        *("wireguard-1420", "nebula-nat"),
    ]


def test_scenarios_may_name_those_of_the_file(mine: str) -> None:
    """Then these are run, and nothing is added."""
    found = plan("--scenario-file", mine, "--scenarios", "nebula-nat,native-1230")
    assert scenarios(found) == ["native-1230", "nebula-nat"]


def test_several_files(mine: str, tmp_path: Path) -> None:
    """A later file may vary the scenarios of an earlier one."""
    (tmp_path / "more.yaml").write_text("nebula-nat2: {variant_of: nebula-nat, policy: nat-symmetric}\n")
    found = plan("--scenario-file", mine, "--scenario-file", str(tmp_path / "more.yaml"))
    assert scenarios(found)[-1] == "nebula-nat2"


def test_the_quick_budget_is_that_of_the_scenarios_run(mine: str) -> None:
    """Two and a half minutes for each of the four."""
    options = MatrixOptions("quick", scenario_files=(mine,))
    assert options.build(options.known()).budget_min == 10


def test_a_profile_of_a_file(tmp_path: Path, mine: str) -> None:
    """It may name the scenarios of a file; those that nobody knows are told with the profile's name."""
    path = tmp_path / "nightly.yaml"
    path.write_text(
        "nightly: {variant_of: quick, scenarios: [nebula-nat], tests: [tcp], conditions: [none]}\n"
    )
    assert scenarios(plan("--profile", str(path), "--scenario-file", mine)) == ["nebula-nat"]
    other = plan("--profile", str(path), "--scenario-file", mine, "--scenarios", "wireguard-1420")
    assert scenarios(other) == ["wireguard-1420"]
    refused = plan("--profile", str(path))
    assert refused.exit_code == 2
    assert (
        "profile nightly: scenarios: unknown scenario 'nebula-nat'; known are: native-1450" in refused.output
    )


def test_a_run_keeps_its_scenarios(mine: str, bed: Testbed, tmp_path: Path) -> None:
    """The manifest has all of them written out, so a run goes on without the file; it is even gone by then."""
    options = MatrixOptions(scenario_files=(mine,))
    known = options.known()
    request = provenance.request(options.build(known), 1, "lab", bed, known.catalogue)
    store = Store.create(tmp_path / "run", request)
    Path(mine).unlink()
    assert Catalogue.of_run(store.manifest().entries(), "manifest.json") == known.catalogue
    assert scenarios(plan("--resume", str(store.directory))) == [
        *("wireguard-direct", "nebula-direct"),
        *("wireguard-1420", "nebula-nat"),
    ]


def test_a_run_from_before_knows_what_ships(bed: Testbed, tmp_path: Path) -> None:
    """Its manifest has no such entry."""
    request = provenance.request(MatrixOptions().build(), 1, "lab", bed)
    written = {key: value for key, value in request.entries().items() if key != "scenarios"}
    store = Store.create(tmp_path / "run", Manifest.model_validate(written))
    assert len(scenarios(plan("--resume", str(store.directory)))) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {variant_of: nope}", "a: variant_of: unknown scenario 'nope'; known are: native-1450"),
        ("a: {variant_of: nebula-relay, mtu: 3}", "a: unknown key 'mtu'; known are: variant_of"),
        ("a: [", "no YAML: "),
        ("\x00", "no text: a NUL byte"),
    ],
)
@pytest.mark.parametrize("command", [full_matrix.main, doctor.main], ids=["full_matrix", "doctor"])
def test_a_wrong_file_is_one_sentence_and_exit_code_2(
    command: click.Command, text: str, said: str, tmp_path: Path
) -> None:
    """Before anything is touched, whoever reads it."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    result = CliRunner().invoke(command, ("--scenario-file", str(path)))
    assert result.exit_code == 2, result.output
    assert f"error: {path}: " in result.output
    assert said in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("option", ["--scenario-file", "--profile"])
def test_a_file_that_is_not_there(option: str, tmp_path: Path) -> None:
    """Named, with exit code 2; a folder likewise."""
    for path in (tmp_path / "none.yaml", tmp_path):
        result = plan(option, f"{path}/" if path == tmp_path else str(path))
        assert result.exit_code == 2
        assert f"error: {path}" in result.output


def test_without_files_only_what_ships_is_known() -> None:
    """And nothing is added."""
    assert KnownScenarios(BUILT_IN) == KnownScenarios.of_files(())
