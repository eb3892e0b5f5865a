"""Folders say which hosts their figures are of, and commands go on with no others."""

import shutil
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner

from inventory.load import BUILT_IN, load
from vpnmesh.errors import InputError
from workflows import fallback, nat_grid
from workflows.run.measured_hosts import FILE, MeasuredHosts


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An inventory that differs from the lab's in one address."""
    place = shutil.copytree(BUILT_IN / "lab", tmp_path / "elsewhere")
    hosts = (place / "hosts.yaml").read_text(encoding="utf-8")
    (place / "hosts.yaml").write_text(hosts.replace("192.88.99.18/29", "192.88.99.19/29"), encoding="utf-8")
    return place


@pytest.mark.parametrize(("command", "option"), [(nat_grid.main, "--out"), (fallback.main, "--resume")])
def test_what_was_measured_elsewhere_is_not_gone_on_with(
    command: Command, option: str, elsewhere: Path, tmp_path: Path
) -> None:
    """The same hosts are taken, by whatever name they are known; others are refused, also on a plan."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "fallback.jsonl").touch()
    MeasuredHosts.of("lab", load("lab")[1]).keep(folder)
    for inventory, code in (("lab", 0), (str(elsewhere), 2)):
        done = CliRunner().invoke(command, [option, str(folder), "--inventory", inventory, "--plan"])
        assert done.exit_code == code, done.output
    assert f"error: {option}: {folder} holds what was measured on other hosts or addresses" in done.stderr
    assert "of the inventory lab" in done.stderr


def test_a_folder_says_it_once(elsewhere: Path, tmp_path: Path) -> None:
    """Going on does not change whose figures it holds; what does not say it is refused, and a folder without is not."""
    lab, other = (MeasuredHosts.of(name, load(name)[1]) for name in ("lab", str(elsewhere)))
    other.refuse_others(tmp_path, "--out")
    lab.keep(tmp_path)
    other.keep(tmp_path)
    lab.refuse_others(tmp_path, "--out")
    (tmp_path / FILE).write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="does not say which hosts were measured"):
        lab.refuse_others(tmp_path, "--out")
