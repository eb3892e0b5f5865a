"""What every solution's stages would do on blank nodes, reviewed: a golden folder per solution.

A new solution needs no line here: VPNMESH_REGOLD=1 writes its folder, for a person to review.
"""

import re

import pytest

from tests.golden.goldens import answered, golden, rendered
from vpnmesh.model import Scenario, Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import SCENARIOS

# a baseline has no stage
JOINED = [one for one in SCENARIOS if SOLUTIONS[one.solution].is_vpn]


@pytest.mark.parametrize("scenario", JOINED, ids=lambda one: one.name)
def test_the_plans_of_all_stages(scenario: Scenario, bed: Testbed) -> None:
    """Stage by stage and node by node, with placeholders for what earlier stages would have published."""
    mesh = Mesh(bed, scenario, dry_run=True)
    text = "".join(
        f"===== {stage.name} on {name}\n{rendered(answered(stage.plan(mesh, bed.node(name))))}"
        for stage in SOLUTIONS[scenario.solution].stages(mesh)
        for name in stage.nodes
    )
    # a secret's mask is another one in every process
    text = re.sub(r"<secret [0-9a-f]+>", "<secret>", text)
    assert golden(f"{scenario.solution}/{scenario.name}.plans", text) == text
