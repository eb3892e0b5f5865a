"""docs/add-a-solution.md ends with a green contract: its module is put through every rule of it."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.solutions import test_contract, walk_through
from vpnmesh.model import Path as Way
from vpnmesh.model import Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh

RULES = {
    name: rule
    for name, rule in vars(test_contract).items()
    if name.startswith("test_") and name != "test_every_scenario_has_a_solution"
}
VALUES = {
    "exit_code": (0, 1, 2, 22, 124, 127, 255),
    "words": test_contract.UGLY,
    "stdout": ("",),
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after step 2."""
    monkeypatch.setitem(SOLUTIONS, "plainvxlan", walk_through.solution())


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_module_keeps_every_rule(rule: Callable[..., None], bed: Testbed) -> None:
    """The same functions that judge the registered solutions."""
    wanted = inspect.signature(rule).parameters
    known = {"bed": bed, "scenario": walk_through.SCENARIO, "name": "plainvxlan"}
    cases: list[dict[str, object]] = [{name: value for name, value in known.items() if name in wanted}]
    for name in wanted.keys() & VALUES.keys():
        # a status is only promised for nodes that say nothing of success
        values = [value for value in VALUES[name] if "blank_node" not in rule.__name__ or value != 0]
        cases = [{**case, name: value} for case in cases for value in values]
    for case in cases:
        rule(**case)


def test_it_refuses_the_relay(bed: Testbed) -> None:
    """The document's own refusal, and none for the direct scenario."""
    solution = SOLUTIONS["plainvxlan"]
    relayed = replace(walk_through.SCENARIO, path=Way.RELAY)
    assert solution.unbuildable_reason(Mesh(bed, relayed)) == "plain VXLAN has no relay"
    assert solution.unbuildable_reason(Mesh(bed, walk_through.SCENARIO)) == ""


def test_it_is_typed(tmp_path: Path) -> None:
    """mypy --strict takes the module as the protocol's."""
    check = "from vpnmesh.solutions.protocol import Solution\nONE: Solution = PlainVxlan()\n"
    (tmp_path / "plainvxlan.py").write_text(walk_through.shown() + check)
    argv = (
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        str(tmp_path / "plainvxlan.py"),
    )
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
