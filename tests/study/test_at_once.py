"""How many pairs at once: what the inventory declares, and when figures say that pairs disturb each other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from vpnmesh.errors import InputError
from vpnmesh.lab.sizes import sized_testbed
from vpnmesh.model import NodeKind, Role, Testbed
from vpnmesh.study.at_once import MARGIN, declared, disturbance
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.testbed import HostRecord, InventoryRecords, build_testbed

NATIVE = scenario_named("native-1450")


@pytest.fixture(scope="module")
def large() -> Testbed:
    """The lab with 24 members."""
    return sized_testbed(ROOT / "inventory" / "lab", 27)


def metal(
    bed: Testbed, cores: int | None = None, firewall: float | None = None, member: float | None = None
) -> Testbed:
    """The testbed on real machines, with what the inventory says of members and firewall."""
    speeds = {node.name: firewall if Role.FIREWALL in node.roles else member for node in bed.nodes}
    made = (
        replace(node, kind=NodeKind.METAL, cores=cores, link_mbit_s=speeds[node.name]) for node in bed.nodes
    )
    return replace(bed, nodes=tuple(made))


@pytest.mark.parametrize(("cores", "wanted"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (64, 12)])
def test_a_labs_pairs_share_the_machines_cores(large: Testbed, cores: int, wanted: int) -> None:
    """Two for each pair, and never more pairs than members allow."""
    assert wanted == declared(large, NATIVE, cores).count


def test_nodes_that_declare_cores_have_them_for_themselves(large: Testbed) -> None:
    """Then the machine's own number says nothing."""
    own = replace(large, nodes=tuple(replace(node, cores=2) for node in large.nodes))
    assert declared(large, NATIVE, 2).count == 1
    assert declared(own, NATIVE, 2).count == 12


def test_what_is_not_declared_is_one_pair(large: Testbed) -> None:
    """The sentence names the node and the key."""
    silent, known = declared(metal(large), NATIVE, 64), declared(metal(large, cores=4), NATIVE, 64)
    assert (silent.count, known.count) == (1, 1)
    assert "cores k8s-master has (cores)" in silent.why
    assert "link of firewall carries (link_mbit_s)" in known.why


def test_links_divide_what_the_firewall_carries(large: Testbed) -> None:
    """Its link is everybody's."""
    assert declared(metal(large, 4, 2500.0, 1000.0), NATIVE, 2).count == 2
    assert declared(metal(large, 4, 800.0, 1000.0), NATIVE, 2).count == 1


def test_pairs_through_the_relay_share_it(large: Testbed) -> None:
    """Whatever is declared."""
    assert declared(metal(large, 8, 1e5, 10.0), scenario_named("nebula-relay"), 64).count == 1


@pytest.mark.parametrize(
    ("alone", "among", "said"),
    [
        ([100, 100, 100], [99, 99, 99], ""),
        ([100, 104, 102], [98, 99, 99], ""),
        ([100, 100, 100], [97, 97, 97], "among others it is -3.0%"),
        ([100, 100, 100], [104, 104, 104], "among others it is +4.0%"),
        ([100, 115, 102], [101, 101, 101], "too noisy to tell"),
        ([100, 100], [100, 100, 100], "2 figures alone"),
        ([100, 100, 100], [], "0 among others"),
        ([0, 0, 0], [0, 0, 0], "alone it is 0"),
    ],
)
def test_disturbance(alone: list[float], among: list[float], said: str) -> None:
    """Within the noise alone, or the margin of equivalence, pairs do not disturb each other."""
    found = disturbance(alone, among)
    assert said in found
    assert bool(said) == bool(found)


@given(st.lists(st.floats(1, 1000), min_size=3, max_size=5), st.floats(0.5, 2))
def test_a_pair_never_disturbs_more_than_is_seen(alone: list[float], factor: float) -> None:
    """Nothing is accepted that lies further apart than ten per cent, however noisy."""
    if not disturbance(alone, [factor * one for one in alone]):
        assert abs(factor - 1) <= max(MARGIN, 0.1) + 1e-9


@pytest.mark.parametrize("value", [0, -1, "four", True, 1.5, float("nan"), [4]])
def test_cores_that_are_none_are_refused(value: object) -> None:
    """With host and key."""
    host = HostRecord("a", "198.18.0.1", ("role__relay", "vlan__1"), {"kind": "netns", "underlay": "10.0.0.2/24",
                      "interface": "eth0", "cores": value})  # fmt: skip
    records = InventoryRecords(
        "hosts.yaml",
        (host,),
        {"role__relay": {}, "vlan__1": {"prefix": "10.0.0.0/24", "gateway": "10.0.0.1"}},
        {"overlay": "10.1.0.0/24", "pods": "10.2.0.0/16"},
    )
    with pytest.raises(InputError, match=r"hosts\.yaml: a: cores"):
        build_testbed(records)
