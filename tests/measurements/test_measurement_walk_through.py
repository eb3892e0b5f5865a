"""docs/add-a-measurement.md ends with a green contract: its module is put through every rule, and into a package."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests import pages
from tests.conftest import ROOT
from tests.measurements import test_measurement_contract, walk_through
from tests.measurements.cases import ABOUT, HERE, cases
from vpnmesh.errors import ToolError

RULES = {name: rule for name, rule in vars(test_measurement_contract).items() if name.startswith("test_")}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_module_keeps_every_rule(rule: Callable[..., None]) -> None:
    """The same functions that judge the registered ones."""
    rule(measurement=walk_through.measurement())


def test_the_document_shows_the_folder_as_it_is() -> None:
    """Its about.yaml, word for word."""
    held = (HERE / "tcp-connect" / "native-1450" / ABOUT).read_text()
    assert yaml.safe_load(held) == yaml.safe_load(walk_through.shown("yaml"))


def test_a_refused_connection_is_perls_own_words() -> None:
    """No number, and the reason."""
    (case,) = cases("tcp-connect")
    raw = {"connect.txt": "0.312\nConnection refused\n"}
    with pytest.raises(ToolError, match="perl: Connection refused"):
        walk_through.measurement().parse(raw, case.question)


def test_it_is_typed(tmp_path: Path) -> None:
    """mypy --strict takes the module as the protocol's."""
    check = "from vpnmesh.measurements.protocol import Measurement\nONE: Measurement = TcpConnect()\n"
    assert pages.mypy_says(tmp_path / "tcp_connect.py", walk_through.shown() + check) == ""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds the module as a package manager would leave it, with the document's entry point."""
    walk_through.install(tmp_path)
    return tmp_path


def matrix(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that finds the package."""
    path = os.pathsep.join((str(ROOT), str(installed)))
    argv = (sys.executable, "-m", "workflows.full_matrix", *arguments)
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )


@pytest.mark.slow
def test_a_package_of_ones_own_is_a_test_like_any(installed: Path) -> None:
    """The command plans it and its help lists it, with nothing changed in the tree."""
    planned = matrix(installed, "--plan", "--json", "--tests", "tcp-connect", "--scenarios", "native-1450")
    assert planned.returncode == 0, planned.stderr
    assert {cell["test"] for cell in json.loads(planned.stdout)} == {"tcp-connect"}
    assert "tcp-connect" in " ".join(matrix(installed, "--help").stdout.split())


@pytest.mark.slow
def test_a_broken_package_is_one_sentence(installed: Path) -> None:
    """Which entry point, what is wrong, which package; the help still comes."""
    (installed / "my_package" / "tcp_connect.py").write_text("import nothing_like_this\n")
    done = matrix(installed, "--plan")
    assert done.returncode == 2
    assert done.stderr.startswith("error: entry point tcp-connect of vpnmesh.measurements: ")
    assert "No module named 'nothing_like_this'" in done.stderr
    assert "my-package" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert matrix(installed, "--help").returncode == 0
