"""Netmaker: not evaluated, with what is missing, before anything is touched."""

import pytest

from tests.golden.goldens import answered
from tests.solutions.meshes import mesh_of
from vpnmesh.errors import UnavailableError
from vpnmesh.model import Testbed
from vpnmesh.plan import Plan
from vpnmesh.solutions import solution_named

SCENARIOS = ("netmaker-direct", "netmaker-relay")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_refusal_names_what_is_missing_and_where(scenario: str, bed: Testbed) -> None:
    """The verdict is "not evaluated", with programs by node and the code that is missing with them."""
    reason = solution_named("netmaker").refuse(mesh_of(bed, scenario))
    assert reason.startswith("not evaluated: missing are netmaker on hypervisor and netclient on k8s-master,")
    assert "enrollment key, gateway" in reason


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_can_be_joined_or_asked(scenario: str, bed: Testbed) -> None:
    """Whoever goes past the refusal gets the same reason, and leaving is nothing to do."""
    solution, mesh = solution_named("netmaker"), mesh_of(bed, scenario)
    with pytest.raises(UnavailableError, match="not evaluated"):
        solution.stages(mesh)
    with pytest.raises(UnavailableError, match="not evaluated"):
        solution.status(mesh, bed.node("worker1"))
    assert answered(solution.leave(mesh, bed.node("worker1"))) == Plan()
