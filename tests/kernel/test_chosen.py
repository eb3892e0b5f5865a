"""The tests that are chosen for the stock kernel are there, and so is every piece that only it has."""

import ast
from pathlib import Path

import pytest

from tests.kernel.chosen import CHOSEN, SLOW, Group, node_ids
from tests.kernel.guest import ROOT
from tests.kernel.inside import script
from tests.kernel.told import Told, read_told, summary
from tests.needs import KERNEL, UNSERVED

PIECES = [piece for piece, why in UNSERVED.items() if why == KERNEL]


def functions(file: str) -> set[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("group", [*CHOSEN, *SLOW], ids=lambda group: Path(group.file).stem)
def test_every_chosen_test_is_there(group: Group) -> None:
    """A test that was renamed or taken away would make the selection smaller without a word."""
    assert group.tests
    assert {test.partition("[")[0] for test in group.tests} <= functions(group.file)
    assert all(identity.startswith(f"{group.file}::test_") for identity in node_ids(group))


@pytest.mark.parametrize("piece", PIECES)
def test_what_only_another_kernel_has_is_tested_there(piece: str) -> None:
    """Each such piece is asked for by a chosen file."""
    assert any(f'missing("{piece}"' in (ROOT / group.file).read_text() for group in CHOSEN)


def test_the_guest_is_told_what_to_run(tmp_path: Path) -> None:
    """Names with brackets and blanks reach pytest as they are; results go to the share."""
    text = script(["a.py::test_x[b c]"], tmp_path)
    assert "'a.py::test_x[b c]'" in text
    assert f"--junitxml {tmp_path}/junit.xml" in text
    assert "export VPNMESH_STOCK_KERNEL=1" in text


JUNIT = """<testsuites><testsuite><testcase name="a"><properties>
<property name="netem" value="pod|client|loss-5pct|2000|100|0.5|0.6"/>
<property name="netem" value="pod|client|delay-50ms|2000|0|0.5|50.75"/></properties></testcase>
<testcase name="b"><skipped/></testcase><testcase name="c"><failure/></testcase><testcase name="d"><error/></testcase>
</testsuite></testsuites>"""


def test_outcomes_and_netems_figures_are_read(tmp_path: Path) -> None:
    """One passed, one skipped, two failed; a row per place and condition; no file is no test."""
    path = tmp_path / "junit.xml"
    assert read_told(path) == Told(0, 0, 0)
    path.write_text(JUNIT)
    told = read_told(path)
    assert (told.passed, told.skipped, told.failed) == (1, 1, 2)
    assert summary(told, 61.2) == [
        "| place | end | condition | pings | lost, % | added delay, ms |",
        "| --- | --- | --- | --- | --- | --- |",
        "| pod | client | loss-5pct | 2000 | 5.00 | 0.10 |",
        "| pod | client | delay-50ms | 2000 | 0.00 | 50.25 |",
        "stock kernel: 1 passed, 2 failed, 1 skipped in 61 s",
    ]
