"""What a live check puts on nodes for a while: made once, removed, and removed by a node that knows nothing else."""

from ipaddress import IPv4Address

from tests.solutions.meshes import said
from vpnmesh.host import provisional
from vpnmesh.plan import Command, Plan, at_most

GATEWAY = IPv4Address("192.88.99.9")
OURS = f"default via {GATEWAY} dev eth0 metric 4278"


def argvs(plan: Plan) -> list[str]:
    return [" ".join(step.argv) for step in plan.steps if isinstance(step, Command)]


def test_a_default_route_is_made_only_where_there_is_none() -> None:
    made = provisional.default_route(GATEWAY)
    assert argvs(made.parse(said(""))) == [f"ip route add default via {GATEWAY} metric 4278"]
    assert not made.parse(said(OURS))
    assert not made.parse(said("default via 10.0.0.1 dev eth0"))


def test_only_our_default_route_is_taken_away() -> None:
    """Asked for by its metric; a node that undoes without being asked takes the same step."""
    removed = provisional.no_default_route(GATEWAY)
    assert removed.commands[0].argv[-2:] == ("metric", "4278")
    assert not removed.parse(said(""))
    wanted = [f"ip route del default via {GATEWAY} metric 4278"]
    assert argvs(removed.parse(said(OURS))) == argvs(at_most(removed)) == wanted


def test_a_network_behind_a_node_is_made_once_and_removed() -> None:
    assert provisional.network_behind().parse(said("", exit_code=1))
    assert not provisional.network_behind().parse(said(""))
    removed = provisional.no_network_behind()
    assert not removed.parse(said("", exit_code=1))
    assert "ip netns delete" in argvs(at_most(removed))[0]
