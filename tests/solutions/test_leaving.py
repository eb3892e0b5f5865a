"""Leaving takes the same steps whatever of it is found, so that a node can be told in advance how to do it alone."""

from collections.abc import Iterator

import pytest

from tasks.script import unattended
from tests.golden.goldens import blank
from tests.solutions.scenarios import of_every_solution
from vpnmesh.cluster import INSTALLERS
from vpnmesh.host import api_leftovers, pods
from vpnmesh.model import Scenario, Testbed
from vpnmesh.plan import Completed, Fact, Plan, Step, at_most
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh


def one_thing_found(leave: Fact[Plan]) -> Iterator[Plan]:
    """The plan of each node on which a single question finds something."""
    for place, command in enumerate(leave.commands):
        answers = blank(leave.commands, exit_code=1)
        answers[place] = Completed(command.argv, 0, "something\n", "")
        yield leave.parse(answers)


def strays(leave: Fact[Plan]) -> list[Step]:
    """Steps that are taken where one thing is found and not where everything is."""
    most = at_most(leave).steps
    return [step for plan in one_thing_found(leave) for step in plan.steps if step not in most]


@pytest.mark.parametrize("scenario", of_every_solution(), ids=lambda one: one.name)
def test_a_vpn_is_left_by_steps_that_are_known_in_advance(scenario: Scenario, bed: Testbed) -> None:
    """On every node, with nothing secret in them; what is found says only whether they are taken."""
    for node in bed.nodes:
        solution = SOLUTIONS[scenario.solution]
        leave = solution.leave(Mesh(bed, scenario), node)
        assert strays(leave) == []
        assert bool(at_most(leave)) is solution.is_vpn
        unattended(at_most(leave).steps)


@pytest.mark.parametrize("name", INSTALLERS)
def test_so_is_a_cluster(name: str, bed: Testbed) -> None:
    """Whatever brings its pods' network."""
    for node in bed.k8s:
        leave = INSTALLERS[name].leave(bed, node)
        assert strays(leave) == []
        assert at_most(leave)
        unattended(at_most(leave).steps)


def test_so_are_pods_and_what_the_api_test_leaves() -> None:
    """What is found of a pod decides nothing but whether there is anything to do."""
    links = '[{"ifname": "vxlan.calico", "mtu": 1230}]'
    leave = pods.detached()
    answers = blank(leave.commands, exit_code=1)
    assert leave.parse(answers) == Plan()
    answers[0] = Completed(answers[0].argv, 0, links, "")
    assert leave.parse(answers) == Plan(), "another Kubernetes's"
    answers[-1] = Completed(answers[-1].argv, 0, "ours\n", "")
    assert leave.parse(answers).steps == at_most(leave).steps
    assert strays(leave) == strays(api_leftovers.removed()) == []
    assert at_most(api_leftovers.removed())
