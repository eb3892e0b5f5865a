"""A growing mesh: its sizes, its smaller testbeds, what processes that came meanwhile have spent, and its page."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from vpnmesh.errors import InputError, ToolError
from vpnmesh.lab.sizes import sized_testbed
from vpnmesh.report import growth as page
from vpnmesh.study.growth import GrowthStep, Spent, parse_members, parse_usage, rows, spent, with_members
from vpnmesh.study.scenarios import BUILT_IN
from workflows.growth import main

INVENTORY = Path(__file__).parents[2] / "inventory" / "lab"


def line(pid: int, name: str, started: int, ticks: int) -> str:
    """A line of /proc/PID/stat with that many ticks in user mode, and ten pages of memory."""
    return f"{pid} ({name}) S 1 " + " ".join(["0"] * 9 + [str(ticks), "5", "0", "0", "20", "0", "1", "0",
                                              str(started), "0", "10"])  # fmt: skip


def test_what_a_scenario_started_is_counted_and_nothing_else() -> None:
    """Not who was there before, nor our own shell; a number that the kernel used again is another process."""
    before = parse_usage("\n".join(["1000", "500", line(1, "tini", 1, 900), line(7, "old", 5, 70)]))
    after = [line(1, "tini", 1, 990), line(7, "server", 80, 145), line(9, "sudo", 90, 300)]
    found = spent(before, parse_usage("\n".join(["2001000", "1000500", *after])))
    assert found == Spent(cpu_s=1.5, ram_mb=10 * 4096 / 1e6, link_mb=3.0)


@pytest.mark.parametrize("text", ["", "12", "a\nb", "1\n2\n12 (cut"])
def test_an_answer_that_is_cut_off_is_no_figure(text: str) -> None:
    """Said, not guessed."""
    with pytest.raises(ToolError):
        parse_usage(text)


def test_a_smaller_mesh_keeps_all_other_nodes() -> None:
    """Relay, hypervisor and firewall stay, and the members are the first ones."""
    large = sized_testbed(INVENTORY, 12)
    small = with_members(large, 4)
    assert [node.name for node in small.k8s] == ["k8s-master", "worker1", "worker2", "worker3"]
    assert len(small.nodes) == 4 + 3
    assert small.pairs == large.pairs


@pytest.mark.parametrize("text", ["", "2", "3,31", "three", "3;6", "-3"])
def test_sizes_that_cannot_be_are_refused(text: str) -> None:
    """One sentence, exit code 2, before anything is brought up."""
    with pytest.raises(InputError, match="--members"):
        parse_members(text, 30)
    done = CliRunner().invoke(main, ["--scenario", "nebula-direct", f"--members={text}"])
    assert done.exit_code == 2
    assert "--members" in done.output


@pytest.mark.slow
def test_a_figure_and_a_line_for_each_cost() -> None:
    """Exponents from eight meshes with an interval; where there is no control plane, nothing is fitted."""
    steps = [
        GrowthStep(scenario, size, number, 0.1 * size**2 * (1 + number / 50), Spent(cost * size, cost, cost))
        for scenario, cost in (("nebula-direct", 1.0), ("wireguard-direct", 0.0))
        for size in (3, 6, 12, 24)
        for number in (1, 2)
    ]
    frame = pl.DataFrame(rows(steps), schema=page.SCHEMA)
    said = page.text(frame)
    assert "nebula-direct: seconds until every pair has its path: 3: 0.927, 6: 3.708" in said
    assert "exponent 2.00 (95 %: 1.99 to 2.01) from 8 meshes" in said
    assert "3: 0, 6: 0, 12: 0, 24: 0; nothing to fit (a figure of zero" in said
    assert ">2.00<" in page.figure(frame, BUILT_IN)
