"""What may run at once while a mesh is deployed, and in which order what must not."""

import pytest

from tests.golden.goldens import answered
from vpnmesh.model import Node, Scenario, Testbed
from vpnmesh.plan import Command, Fact, Plan
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh, Stage
from vpnmesh.stages import side_by_side
from vpnmesh.study.scenarios import SCENARIOS, scenario_named

BESIDE = [one for one in SCENARIOS if SOLUTIONS[one.solution].is_vpn]


def stage(name: str, *nodes: str, beside: bool = False) -> Stage:
    """A stage whose plan and whose published value are its own name."""

    def plan(_mesh: Mesh, _node: Node) -> Fact[Plan]:
        return Fact((), lambda _: Plan((Command((name,)),)))

    return Stage(name, nodes, plan, lambda _mesh, node: Fact((), lambda _: {node.name: name}), beside)


def test_stages_beside_each_other_are_one_where_no_node_is_in_both(bed: Testbed) -> None:
    """Each node plans and publishes what its own stage says; a stage on a node that is busy waits."""
    mesh = Mesh(bed, scenario_named("wireguard-direct"), dry_run=True)
    asked = (
        stage("a", "relay"),
        stage("b", "worker1", "worker2", beside=True),
        stage("c", "relay", beside=True),
        stage("d", "worker1"),
    )
    first, *others = side_by_side(asked)
    assert [one.name for one in (first, *others)] == ["a, b", "c", "d"]
    assert first.nodes == ("relay", "worker1", "worker2")
    for name, wanted in (("relay", "a"), ("worker2", "b")):
        node = bed.node(name)
        assert answered(first.plan(mesh, node)).steps == (Command((wanted,)),)
        assert answered(first.publish(mesh, node)) == {name: wanted}
    assert side_by_side(()) == ()


@pytest.mark.parametrize("scenario", BESIDE, ids=lambda one: one.name)
def test_no_stage_runs_beside_one_that_it_needs(scenario: Scenario, bed: Testbed) -> None:
    """What a stage reads of others was published by stages that had ended when it began."""
    mesh = Mesh(bed, scenario)
    stages = SOLUTIONS[scenario.solution].stages(mesh)
    if not any(one.beside for one in stages):
        return
    for one in side_by_side(stages):
        for name in one.nodes:
            one.plan(mesh, bed.node(name))
        found = {(name, key): "1" for name in one.nodes for key in _published(one, mesh, bed.node(name))}
        mesh = mesh.with_published(found)


def _published(stage: Stage, mesh: Mesh, node: Node) -> tuple[str, ...]:
    """The keys that the stage publishes there."""
    found = answered(stage.publish(mesh, node), 0, _ANSWER)
    return tuple(found)


_ANSWER = '{"key": "k", "publicKey": "k", "Self": {"PublicKey": "k"}}'


def test_one_end_of_each_pair_begins_the_handshake(bed: Testbed) -> None:
    """Two that begin at the same moment both fail: of every pair one end greets, before all are kept alive."""
    wireguard = SOLUTIONS["wireguard"]
    mesh = Mesh(bed, scenario_named("wireguard-direct"), dry_run=True)
    stages = {one.name: one for one in wireguard.stages(mesh)}
    assert list(stages) == ["keys", "interface", "handshakes", "keepalives"]
    greeted = {
        (name, command.argv[-1])
        for name in stages["handshakes"].nodes
        for command in answered(stages["handshakes"].plan(mesh, bed.node(name))).steps
        if isinstance(command, Command) and command.argv[0] == "ping"
    }
    addresses = [(node.name, str(mesh.overlay(node).ip)) for node in mesh.members]
    assert greeted == {
        (name, address) for place, (name, _) in enumerate(addresses) for _, address in addresses[place + 1 :]
    }
    for node in mesh.members:
        plan = answered(stages["keepalives"].plan(mesh, node))
        assert all("ping" not in step.argv for step in plan.steps if isinstance(step, Command))
