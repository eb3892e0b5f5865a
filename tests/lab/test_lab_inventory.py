"""The lab's own reading of the YAML inventory agrees with Nornir's, and bad files are one sentence."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from inventory.load import load
from vpnmesh.errors import InputError
from vpnmesh.lab.__main__ import main
from vpnmesh.lab.inventory_files import read_testbed

INVENTORY = Path(__file__).parents[2] / "inventory" / "lab"


def test_the_lab_reads_what_nornir_reads() -> None:
    """One inventory, one testbed, whoever asks."""
    assert load(str(INVENTORY))[1] == read_testbed(INVENTORY)


def _copy(folder: Path, **texts: str) -> Path:
    for name in ("hosts", "groups", "defaults"):
        (folder / f"{name}.yaml").write_text(texts.get(name, (INVENTORY / f"{name}.yaml").read_text()))
    return folder


def test_a_group_inside_a_group_passes_its_data_on(tmp_path: Path) -> None:
    """As in Nornir: the host's own data win, then the first group's, then those groups' groups'."""
    groups = (INVENTORY / "groups.yaml").read_text()
    groups += "outer: {data: {management_interface: outer0, kind: vm}}\n"
    groups = groups.replace(
        "site__lab: {}", "site__lab: {groups: [outer], data: {management_interface: site0}}"
    )
    folder = _copy(tmp_path, groups=groups)
    assert read_testbed(folder).node("worker1").management_interface == "site0"
    assert load(str(folder))[1] == read_testbed(folder)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({"hosts": "a: [1]\n"}, "hosts.yaml: a: is not a mapping"),
        ({"hosts": "a: {groups: x}\n"}, "hosts.yaml: a: groups: 'x' is not a list"),
        ({"hosts": "a: {groups: [nowhere]}\n"}, "hosts.yaml: a: groups: unknown group 'nowhere'"),
        ({"groups": "{"}, "groups.yaml: no YAML"),
        ({"defaults": "- x\n"}, "defaults.yaml: the file: is not a mapping"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, texts: dict[str, str], sentence: str) -> None:
    """It names the file and the entry."""
    with pytest.raises(InputError) as caught:
        read_testbed(_copy(tmp_path, **texts))
    assert sentence in str(caught.value)


def test_a_missing_folder_is_exit_code_2(tmp_path: Path) -> None:
    """One sentence on stderr, no traceback."""
    result = CliRunner().invoke(main, ["up", "--inventory", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "hosts.yaml: missing" in result.stderr


def test_up_without_root_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what for, and what to do."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["up", "--inventory", str(INVENTORY)])
    assert result.exit_code == 2
    assert (
        result.stderr == "error: lab: needs root, for namespaces and links; run it as root, e.g. with sudo\n"
    )


@pytest.mark.parametrize("rate", ["fast", "0", "nan"])
def test_a_rate_that_is_none_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    """Refused before anything is touched."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    result = CliRunner().invoke(main, ["up", "--inventory", str(INVENTORY), "--port-rate", rate])
    assert result.exit_code == 2


def test_status_without_a_lab_is_exit_code_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And says where it looked."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path / "none"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 3
    assert f"no lab is up in {tmp_path / 'none'}" in result.stdout.replace("\n", "")
