"""docs/add-a-solution.md ends with a green contract: its package, installed, is put through every rule of it."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests import pages
from tests.conftest import ROOT
from tests.solutions import test_contract, walk_through
from vpnmesh.model import Path as Way
from vpnmesh.model import Testbed
from vpnmesh.solutions.protocol import Mesh

# one is about scenarios, not about solutions
RULES = {name for name in vars(test_contract) if name.startswith("test_")} - {
    "test_every_scenario_has_a_solution"
}
_READ = """
import dataclasses, json, sys
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import BUILT_IN
more = BUILT_IN.with_file(sys.stdin.buffer.read(), "my-scenarios.yaml")
print(json.dumps([list(SOLUTIONS), dataclasses.asdict(more.named("plainvxlan-direct"))]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As after step 2: the package on the path of Python, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    walk_through.install(folder)
    return folder


def run(folder: Path, *argv: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Python, with that folder's packages installed, leaving nothing in the tree."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        (sys.executable, *argv),
        cwd=ROOT,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def tree() -> dict[str, tuple[int, int]]:
    """Every file of the project that a new VPN could touch, with its size and time of change."""
    files = (file for name in ("vpnmesh", "tasks", "workflows", "inventory", "tests", "docs")
             for file in (ROOT / name).rglob("*"))  # fmt: skip
    return {
        str(file): (file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_package_is_found_and_its_scenario_read(installed: Path) -> None:
    """After the project's own solutions, by its entry point; the page's YAML is the scenario that is tested here."""
    done = run(installed, "-c", _READ, stdin=walk_through.shown("yaml"))
    assert done.returncode == 0, done.stderr
    names, scenario = json.loads(done.stdout)
    assert names[-1] == "plainvxlan"
    assert scenario == json.loads(json.dumps(asdict(walk_through.SCENARIO)))


def test_the_package_keeps_every_rule_and_touches_nothing(installed: Path, tmp_path: Path) -> None:
    """The same functions that judge the project's own solutions, in the command that the page shows."""
    before, told = tree(), tmp_path / "told.xml"
    done = run(
        installed,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={told}", "--durations=0"),
        *("tests/solutions/test_contract.py", "-k", "plainvxlan"),
    )
    assert done.returncode == 0, done.stdout
    cases = ET.parse(told).getroot().iter("testcase")
    passed = {str(case.get("name")).partition("[")[0] for case in cases if not list(case)}
    assert passed == RULES
    assert before == tree()


def test_it_refuses_the_relay(bed: Testbed) -> None:
    """The document's own refusal, and none for the direct scenario."""
    solution = walk_through.solution()
    relayed = replace(walk_through.SCENARIO, path=Way.RELAY)
    assert solution.unbuildable_reason(Mesh(bed, relayed)) == "plain VXLAN has no relay"
    assert solution.unbuildable_reason(Mesh(bed, walk_through.SCENARIO)) == ""


def test_it_is_typed(tmp_path: Path) -> None:
    """mypy --strict takes the module as a solution."""
    check = "ONE: Solution = SOLUTION\n"
    assert pages.mypy_says(tmp_path / "plainvxlan.py", walk_through.shown() + check) == ""
