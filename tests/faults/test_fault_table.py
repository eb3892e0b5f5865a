"""docs/faults.md is what the tests hold: every row has its test, every test of a fault has its row."""

import ast
import os

import pytest

from tests.faults import table
from tests.faults.table import FAULTS, PAGE, ROOT, Fault, page
from vpnmesh.study.journal import RepetitionEnded


def names_in(function: ast.FunctionDef) -> set[str]:
    """Every name that the test uses, its decorators' too."""
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}


def those_of(file: str) -> list[ast.FunctionDef]:
    """The tests of a file."""
    body = ast.parse((ROOT / file).read_text()).body
    return [one for one in body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")]


def names_of(fault: Fault) -> list[str]:
    """What the fault is called in the table's module."""
    return [name for name, value in vars(table).items() if value is fault]


def test_every_row_is_held_by_the_test_that_it_names() -> None:
    """The test is there, and it uses the row."""
    for fault in FAULTS:
        file, _, wanted = fault.test.partition("::")
        (found,) = [one for one in those_of(file) if one.name == wanted]
        assert set(names_of(fault)) & names_in(found), fault.what


def test_every_test_of_a_fault_has_its_row() -> None:
    """No test of these files breaks something that the page keeps silent about."""
    named = {fault.test for fault in FAULTS}
    for file in {fault.test.partition("::")[0] for fault in FAULTS}:
        assert [one.name for one in those_of(file) if f"{file}::{one.name}" not in named] == []


def test_the_page_is_the_tables() -> None:
    """With VPNMESH_REGOLD=1 it is written anew."""
    if os.environ.get("VPNMESH_REGOLD") == "1":
        PAGE.write_text(page())
    assert page() == PAGE.read_text(), "python -m tests.faults.table writes docs/faults.md"


def test_no_cell_of_the_page_breaks_its_table() -> None:
    """A bar in a reason would end its cell."""
    for fault in FAULTS:
        cells = (fault.what, fault.when, fault.outcome, fault.reason, fault.way_out)
        assert not any("|" in cell or "\n" in cell for cell in cells)


@pytest.mark.parametrize(
    ("stage", "reason", "fails"),
    [
        ("node", "look_at_node: worker2: no SSH: refused", True),
        ("path", "look_at_node: worker2: no SSH: refused", False),
        ("node", "look_at_node: relay: no SSH: refused", False),
        ("node", "worker2: no SSH", False),
    ],
)
def test_a_row_is_held_to_stage_and_reason(stage: str, reason: str, fails: bool) -> None:  # noqa: FBT001
    """Whatever stands for what differs, the words beside it must be there."""
    row = RepetitionEnded(
        scenario="native-1450",
        condition="none",
        test="ping",
        pair="a>b",
        repetition=1,
        outcome="failed",
        stage=stage,
        reason=reason,
    )
    assert table.SSHD.failed(row) is fails
