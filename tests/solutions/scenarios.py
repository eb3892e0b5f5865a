"""The scenarios that the contract of solutions goes through: the project's, and one of every other solution found."""

from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import SCENARIOS


def of_every_solution() -> tuple[Scenario, ...]:
    """All of the project, then a direct one of each solution that has none there (a package's, say)."""
    known = {one.solution for one in SCENARIOS}
    others = (Scenario(f"{name}-direct", name, Path.DIRECT, 1230, 1280, "allow-all") for name in SOLUTIONS)
    return (*SCENARIOS, *(one for one in others if one.solution not in known))
