"""A machine that changes while a run goes on is told; one that does not is not."""

import numpy as np
import pytest

from tests.virtual_run import VirtualRun
from vpnmesh.model import Cell, Condition, Pair
from vpnmesh.study.matrix import MatrixPlan, plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.watch import deviations, drift_sentence


@pytest.fixture(scope="module")
def plan() -> MatrixPlan:
    """The default run."""
    return plan_matrix(PROFILES["adaptive"], [Pair("worker1", "worker2")], seed=1)


def run(plan: MatrixPlan, slope: float, seed: int) -> VirtualRun:
    """Three rounds of figures that scatter by 5 %, on a machine that changes by that share over ten minutes."""
    random = np.random.default_rng(seed)

    def draw(cell: Cell, second: float) -> float:
        level = 100.0 if Condition.parse(cell.condition) else 300.0
        return float(level * np.exp(0.05 * random.standard_normal() + slope * second / 600))

    return VirtualRun(plan, draw, budget_min=14).go()


@pytest.mark.slow
def test_a_steady_machine_is_seldom_said_to_drift(plan: MatrixPlan) -> None:
    """The test errs in one run of a hundred; three or more of twenty would be a fault of its own."""
    told = sum(bool(drift_sentence(run(plan, 0.0, seed).events)) for seed in range(20))
    assert told <= 2


def test_a_machine_that_slows_down_is_told(plan: MatrixPlan) -> None:
    """By how much, and in which direction."""
    said = drift_sentence(run(plan, -0.2, 1).events)
    assert said.startswith("the machine drifts: rates of all cells together are 1")
    assert "% lower in the last third of the run than in the first" in said


def test_a_cell_with_few_figures_says_nothing(plan: MatrixPlan) -> None:
    """After one round no cell has a mean that its figures could be far from."""
    begun = VirtualRun(plan, lambda _cell, _second: 100.0, budget_min=0.01).go()
    assert deviations(begun.events).size == 0
    assert drift_sentence(begun.events) == ""
