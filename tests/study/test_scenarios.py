"""The scenarios are the paper's eight and those beyond it, in the order of every table."""

import pytest

from vpnmesh.errors import UnknownNameError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.host.pods import VXLAN
from vpnmesh.model import Path
from vpnmesh.study.scenarios import (
    BUILT_IN,
    PAPER_SCENARIOS,
    SCENARIO_ORDER,
    SCENARIOS,
    scenario_named,
)

TABLE = [
    # scenario, solution, path, pod MTU, tunnel MTU, policy
    ("native-1450", "native", "direct", 1450, None, "allow-all"),
    ("native-1230", "native", "direct", 1230, None, "allow-all"),
    ("headscale-direct", "headscale", "direct", 1230, 1280, "allow-all"),
    ("headscale-relay", "headscale", "relay", 1230, 1280, "block-udp"),
    ("netbird-direct", "netbird", "direct", 1230, 1280, "allow-all"),
    ("netbird-relay", "netbird", "relay", 1230, 1280, "block-udp-k8s"),
    ("zerotier-direct", "zerotier", "direct", 1230, 1280, "allow-all"),
    ("zerotier-relay", "zerotier", "relay", 1230, 1280, "block-udp"),
    ("netbird-relay-tcp", "netbird", "relay", 1230, 1280, "block-udp"),
    ("wireguard-direct", "wireguard", "direct", 1230, 1280, "allow-all"),
    ("nebula-direct", "nebula", "direct", 1230, 1280, "allow-all"),
    ("nebula-relay", "nebula", "relay", 1230, 1280, "block-udp-k8s"),
    ("netmaker-direct", "netmaker", "direct", 1230, 1280, "allow-all"),
    ("netmaker-relay", "netmaker", "relay", 1230, 1280, "block-udp-k8s"),
    ("headscale-peer-relay", "headscale", "relay", 1230, 1280, "block-udp-k8s"),
    ("headscale-direct-2023", "headscale", "direct", 1230, 1280, "allow-all"),
    ("headscale-relay-2023", "headscale", "relay", 1230, 1280, "block-udp"),
    ("headscale-direct-no-gro", "headscale", "direct", 1230, 1280, "allow-all"),
    ("headscale-direct-mtu-1500", "headscale", "direct", 1450, 1500, "allow-all"),
]


def test_the_table() -> None:
    """Names, order, MTUs and policies as section 3.3 has them, then those beyond the paper, then variants of them."""
    found = [(s.name, s.solution, str(s.path), s.pod_mtu, s.tunnel_mtu, s.policy) for s in SCENARIOS]
    assert found[: len(TABLE)] == TABLE
    assert [row[0] for row in found] == list(SCENARIO_ORDER)
    names = {row[0] for row in TABLE}
    assert [one.name for one in SCENARIOS[len(TABLE) :] if one.variant_of not in names] == []
    assert [row[0] for row in TABLE[:8]] == list(PAPER_SCENARIOS)


def test_pods_over_a_tunnel_leave_room_for_vxlan() -> None:
    """50 bytes of VXLAN fit between the pod's and the tunnel's MTU."""
    assert {50} == {s.tunnel_mtu - s.pod_mtu for s in SCENARIOS if s.tunnel_mtu is not None}
    assert VXLAN == "vxlan.calico"


def test_every_policy_is_known_and_fits_the_path() -> None:
    """Direct needs everything allowed; a relayed scenario has UDP blocked between members."""
    for scenario in SCENARIOS:
        assert policy_named(scenario.policy).name == scenario.policy
        assert (scenario.policy == "allow-all") is (scenario.path is Path.DIRECT)


def test_netbirds_relays_differ_by_their_options() -> None:
    """The paper's coturn over UDP, and NetBird's own relay over TCP, are two scenarios."""
    assert scenario_named("netbird-relay").options == {"relay": "turn"}
    assert scenario_named("netbird-relay-tcp").options == {"relay": "own"}


@pytest.mark.parametrize("name", ["", "native", "Native-1450", "nebula-relay ", "innernet-direct"])
def test_an_unknown_scenario_lists_the_right_ones(name: str) -> None:
    """All of them are in the message."""
    with pytest.raises(UnknownNameError) as caught:
        scenario_named(name)
    assert list(SCENARIO_ORDER) == caught.value.known
    assert all(known in str(caught.value) for known in SCENARIO_ORDER)


@pytest.mark.parametrize(
    ("name", "solution", "path"),
    [
        ("netbird-relay-tcp", "netbird", Path.RELAY),
        ("headscale-direct", "headscale", Path.DIRECT),
        ("native-1450", "native", Path.DIRECT),
        ("tinc-relay", "tinc", Path.RELAY),
        ("my-own-vpn", "my-own-vpn", None),
    ],
)
def test_a_scenario_says_its_own_path(name: str, solution: str, path: Path | None) -> None:
    """What is declared is looked up; only what nobody declared is told by its name, and says nothing else."""
    assert (BUILT_IN.solution_of(name), BUILT_IN.path_of(name)) == (solution, path)
