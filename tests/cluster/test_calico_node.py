"""Calico's programs on a node: refused where they are not what they are called, started once, taken away whole."""

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.golden.goldens import answered, golden, rendered
from vpnmesh.cluster.calico import Calico, conflist
from vpnmesh.cluster.calico_node import STARTED, felix, kubeconfig, left, prepared, registered, whole_programs
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import PodNetwork, pod_network
from vpnmesh.host.service import running
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile

PLUGIN = "Calico CNI plugin v3.32.1"
IPAM = "Calico CNI IPAM v3.32.1"


def network(bed: Testbed, mtu: int = 1450) -> PodNetwork:
    """Over the underlay."""
    return pod_network(bed, mtu, {node.name: (node.leg.interface, node.underlay) for node in bed.k8s})


@pytest.fixture
def cluster(bed: Testbed) -> Cluster:
    """With what the master publishes of Calico's account."""
    published: dict[tuple[str, str], Text] = {
        ("k8s-master", "calico-token"): Secret("t"),
        ("k8s-master", "calico-authority"): "Q0E=",
    }
    return Cluster(bed, network(bed), published)


def saying(fact: Fact[Plan], *said: str) -> Plan:
    """The plan where the programs say this of themselves, on stderr as CNI plugins do."""
    return fact.parse(
        [Completed(command.argv, 0, "", text) for command, text in zip(fact.commands, said, strict=True)]
    )


def on_a_node(fact: Fact[Plan], **answers: tuple[int, str]) -> Plan:
    """The plan where commands whose words hold a key are answered so, all others with success and nothing."""

    def answer(command: Command) -> Completed:
        found = next((value for key, value in answers.items() if key in " ".join(command.argv)), (0, ""))
        return Completed(command.argv, *found, "")

    return fact.parse([answer(command) for command in fact.commands])


def test_programs_that_are_what_they_are_called() -> None:
    """Two programs, or one that goes by its name."""
    assert saying(whole_programs(), PLUGIN, IPAM) == Plan()


def test_a_copy_of_the_plugin_as_its_address_manager_is_refused() -> None:
    """It would call itself without end."""
    with pytest.raises(CheckError, match="calico-ipam is a copy of calico and would call itself without end"):
        saying(whole_programs(), PLUGIN, PLUGIN)


@pytest.mark.parametrize(
    ("said", "name"), [(("", IPAM), "calico"), ((PLUGIN, "sh: calico-ipam: not found"), "calico-ipam")]
)
def test_another_program_is_refused_by_name(said: Sequence[str], name: str) -> None:
    """What it said of itself, and where the right one goes."""
    with pytest.raises(CheckError, match=rf"{name} says '.*' of itself.*/opt/cni/bin"):
        saying(whole_programs(), *said)


def test_files_of_a_blank_node(cluster: Cluster) -> None:
    """Folders, a kubeconfig that nobody else reads, the CNI's list, and a route to the gateway."""
    node = cluster.members[1]
    plan = answered(Calico().node_stages(cluster, ("kubectl",))[1].plan(cluster, node))
    # masks differ with every process
    text = re.sub(r"<secret \w+>", "<secret>", rendered(plan))
    assert golden("calico/files-worker1.plan", text) == text


def test_the_token_is_not_in_a_diff(cluster: Cluster) -> None:
    """Only that it changes."""
    node = cluster.members[1]
    file = WriteFile("/k", kubeconfig(cluster, "Q0E=", Secret("very-secret")))
    plan = answered(prepared(node, (file,)))
    assert "very-secret" not in plan.diff
    assert "<secret " in plan.diff


def test_a_node_with_a_default_route_gets_no_route_of_ours(cluster: Cluster) -> None:
    """The kernel answers for the gateway then."""
    assert on_a_node(prepared(cluster.members[1], ())) == Plan()
    [step] = on_a_node(prepared(cluster.members[1], ()), route=(2, "")).steps
    assert isinstance(step, Command)
    assert step.argv == ("ip", "route", "replace", "169.254.1.1/32", "dev", "eth0")


def test_startup_and_felix(cluster: Cluster) -> None:
    """What all of Calico's programs are told, in the order they are run."""
    node = cluster.members[1]
    plan = answered(registered(cluster, node)) + answered(running(felix(cluster, node)))
    assert golden("calico/programs-worker1.plan", rendered(plan)) == rendered(plan)


def test_a_registered_node_is_left_alone_until_its_address_changes(cluster: Cluster) -> None:
    """Another underlay is registered anew, by another interface."""
    node = cluster.members[1]
    fact = registered(cluster, node)
    [note] = [step for step in answered(fact).steps if isinstance(step, WriteFile)]
    assert note.path == STARTED
    assert answered(fact, 0, str(note.content)) == Plan()
    over = {one.name: ("vmwg0", IPv4Address(f"10.213.0.{n}")) for n, one in enumerate(cluster.members, 1)}
    moved = replace(cluster, network=pod_network(cluster.testbed, 1450, over))
    plan = answered(registered(moved, node), 0, str(note.content))
    assert "+IP_AUTODETECTION_METHOD=interface=^vmwg0$" in plan.diff


def test_another_mtu_changes_the_list_and_starts_felix_anew(cluster: Cluster) -> None:
    """Two stages on each node, nothing in the API: the node is not registered again."""
    node = cluster.members[1]
    narrow = replace(cluster, network=network(cluster.testbed, 1230))
    assert [stage.name for stage in Calico().change_of_mtu(narrow)] == ["calico files", "calico felix"]
    assert conflist(narrow, node) != conflist(cluster, node)
    assert answered(running(felix(narrow, node)), 0, felix(cluster, node).spec())
    assert answered(registered(narrow, node)) == answered(registered(cluster, node))


def test_felix_asks_nobody_for_a_newer_version(cluster: Cluster) -> None:
    """The vendor's default is to report to its server."""
    assert felix(cluster, cluster.members[0]).environment["FELIX_USAGEREPORTINGENABLED"] == "false"


def test_a_clean_node_has_nothing_to_take_away() -> None:
    """Neither where the tools are missing."""
    assert answered(left(), 0, "") == Plan()
    assert answered(left(), 127, "") == Plan()


def test_what_is_taken_away() -> None:
    """Felix first, else it would make anew what is removed."""
    plan = on_a_node(left(), ls=(0, "cali12345\n"))
    assert golden("calico/left.plan", rendered(plan)) == rendered(plan)
