"""The lab's network is a pure function of the testbed: golden commands, and sentences for what cannot be."""

from dataclasses import replace
from pathlib import Path

import pytest

from vpnmesh.errors import InputError
from vpnmesh.lab.commands import batches
from vpnmesh.lab.topology import build_steps, controller_steps, node_sysctls, plan_topology, uplink_step
from vpnmesh.model import NodeKind, Testbed

GOLDEN = Path(__file__).parent / "golden"


def _commands(testbed: Testbed, rate_mbit_s: float | None, *, port_isolation: bool) -> str:
    topology = plan_topology(testbed, port_rate_mbit_s=rate_mbit_s)
    steps = (
        *build_steps(topology, port_isolation=port_isolation),
        controller_steps(topology, 4711),
        uplink_step(),
    )
    lines = []
    for step in steps:
        lines += [f"# {step.name}", *(" ".join(command) for command in step.commands)]
    return "\n".join(lines) + "\n"


def test_the_commands_are_the_golden_ones(testbed: Testbed) -> None:
    """Six nodes at 1 Gbit/s become exactly these commands, in this order."""
    expected = (GOLDEN / "six-nodes.commands").read_text()
    assert expected == _commands(testbed, 1000, port_isolation=True)


def test_without_port_isolation_a_bridge_rule_keeps_management_apart(testbed: Testbed) -> None:
    """A kernel that cannot isolate ports gets an nft rule, and no `isolated` is asked of it."""
    expected = (GOLDEN / "six-nodes-nft-isolation.commands").read_text()
    assert expected == _commands(testbed, None, port_isolation=False)


def test_the_settings_are_the_golden_ones(testbed: Testbed) -> None:
    """Only the firewall forwards, and never on its management port."""
    topology = plan_topology(testbed, port_rate_mbit_s=None)
    lines = []
    for node in ("worker1", "firewall"):
        lines += [f"# {node}", *(f"{name} = {value}" for name, value in node_sysctls(topology, node))]
    assert (GOLDEN / "settings").read_text() == "\n".join(lines) + "\n"


def test_an_unshaped_lab_has_no_qdisc(testbed: Testbed) -> None:
    """Rate None leaves every port as the kernel makes it."""
    assert "tc" not in _commands(testbed, None, port_isolation=True).split()


def test_no_node_gets_a_default_route(testbed: Testbed) -> None:
    """Routes lead to the other VLANs only, each through the node's own gateway."""
    topology = plan_topology(testbed, port_rate_mbit_s=None)
    assert {vlan.prefix for vlan in testbed.vlans} == {route.prefix for route in topology.routes}
    for route in topology.routes:
        own = testbed.node(route.node).leg.vid
        assert testbed.vlan(own).gateway == route.via


def test_the_controller_takes_the_lowest_free_management_address(testbed: Testbed) -> None:
    """.1 in the embedded lab, as .11 to .16 are nodes."""
    assert str(plan_topology(testbed, port_rate_mbit_s=None).controller) == "198.18.213.1/24"


def _with_first(testbed: Testbed, **changes: object) -> Testbed:
    return replace(testbed, nodes=(replace(testbed.nodes[0], **changes), *testbed.nodes[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"management": "node.example.org"},
            "host k8s-master, hostname: 'node.example.org' is no IPv4 address",
        ),
        ({"management": "198.18.213.12"}, "host worker1, hostname: 198.18.213.12 is also k8s-master's"),
        ({"management": "198.18.213.255"}, "host k8s-master, hostname: 198.18.213.255 is no host of"),
        ({"name": "a/b"}, "host a/b: is no host name"),
        ({"name": "worker1"}, "host worker1: is there twice"),
        ({"management_interface": "eth0"}, "host k8s-master: interface eth0 is there twice"),
        ({"management_interface": "a-name-too-long-for-linux"}, "is no interface name"),
        ({"kind": NodeKind.METAL}, "host k8s-master, kind: 'metal' is none of a lab"),
    ],
)
def test_what_a_lab_cannot_carry_is_one_sentence(
    testbed: Testbed, changes: dict[str, object], sentence: str
) -> None:
    """The sentence names host and key."""
    with pytest.raises(InputError) as caught:
        plan_topology(_with_first(testbed, **changes), port_rate_mbit_s=None)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("rate_mbit_s", [0, -1, 1e6, float("nan")])
def test_an_impossible_rate_is_refused(testbed: Testbed, rate_mbit_s: float) -> None:
    """NaN included, which compares false with everything."""
    with pytest.raises(InputError, match="port rate"):
        plan_topology(testbed, port_rate_mbit_s=rate_mbit_s)


def test_neighbours_share_a_process_and_keep_their_order() -> None:
    """Words with spaces stay alone; the words that follow the common prefix go to the batch."""
    commands = (
        ("ip", "link", "add", "a"),
        ("ip", "link", "add", "b"),
        ("ip", "-n", "x", "link", "set", "lo", "up"),
        ("ip", "netns", "add", "y"),
        ("ip", "netns", "add", "z"),
        ("nft", "add", "{ two words }"),
        ("tc", "qdisc", "add"),
    )
    expected = [
        (("ip",), commands[0:2]),
        (("ip", "-n", "x"), commands[2:3]),
        (("ip",), commands[3:5]),
        ((), commands[5:6]),
        (("tc",), commands[6:7]),
    ]
    assert expected == list(batches(commands))
