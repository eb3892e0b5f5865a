"""The NAT grid's command without a testbed: what it plans, what it refuses, and with what it goes on."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.reference.nat_promises import products
from vpnmesh.study.nat_grid import Found, NatRecord, line_of
from workflows.nat_grid import main
from workflows.run.nat_grid_files import GridFiles

NAME = next(iter(products()))


def record(found: Found) -> NatRecord:
    """A cell of none and symmetric that ended so."""
    return NatRecord(NAME, products()[NAME].scenario, NatKind.NONE, NatKind.SYMMETRIC, found, "now")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kinds", "cone"), "--kinds: unknown kind of NAT 'cone'"),
        (("--pairs", "none"), "--pairs: 'none' is not KIND>KIND"),
        (("--pairs", "none>none", "--kinds", "none"), "--pairs: stands beside --kinds"),
        (("--solutions", "nobody"), "--solutions: unknown solution of the NAT grid 'nobody'"),
        (("--kinds", ","), "--kinds: names none"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Exit code 2, before anything is touched."""
    done = CliRunner().invoke(main, [*words, "--plan", "--out", str(tmp_path / "grid")])
    assert (done.exit_code, done.stderr.startswith(f"error: {said}")) == (2, True), done.output
    assert not (tmp_path / "grid").exists()


def test_the_plan_counts_what_is_missing(tmp_path: Path) -> None:
    """A cell that was measured is done; one that could not be proven is tried again."""
    files, words = GridFiles(tmp_path), ["--plan", "--solutions", NAME, "--kinds", "none,symmetric"]
    files.prepare()
    for found, planned in (
        (Found.UNPROVEN, "3 cells (0 done before)"),
        (Found.DIRECT, "2 cells (1 done before)"),
    ):
        files.add(record(found))
        done = CliRunner().invoke(main, [*words, "--out", str(tmp_path)])
        assert planned in done.stdout
        assert "none>none, none>symmetric, symmetric>symmetric" in done.stdout
        assert "min" in done.stdout


def test_a_line_that_a_kill_left_half_is_written_over(tmp_path: Path) -> None:
    """The cell is measured again, and no line is lost."""
    files = GridFiles(tmp_path)
    files.prepare()
    files.add(record(Found.DIRECT))
    with (tmp_path / "cells.jsonl").open("a", encoding="utf-8") as file:
        file.write(line_of(record(Found.RELAY))[:30])
    files.add(record(Found.RELAY))
    assert [one.found for one in files.read().values()] == [Found.RELAY]
    assert len((tmp_path / "cells.jsonl").read_text(encoding="utf-8").splitlines()) == 2
