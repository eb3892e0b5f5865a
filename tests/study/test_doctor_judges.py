"""How the doctor judges what nodes said."""

from ipaddress import IPv4Address

import pytest

from vpnmesh.doctor.finding import Check, Finding, Grade, fatal, good, joined, warning, would_fail
from vpnmesh.doctor.judge import (
    Skew,
    features_of,
    judge_alike,
    judge_clock,
    judge_features,
    judge_foreign,
    judge_leftovers,
    judge_load,
    judge_mtu,
    judge_traffic,
)
from vpnmesh.doctor.likeness import differences, untold, versions
from vpnmesh.doctor.questions import LoadAverage, NodeAnswers, Rate, objects, path_mtu, traffic, tunnels
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed
from vpnmesh.study.scenarios import scenario_named

NOTHING: dict[str, list[str]] = {
    "interfaces": [" lo", " eth0"],
    "routes": [],
    "rules": [],
    "qdiscs": ["qdisc tbf 8001: dev eth0 root"],
    "firewall": ["table inet theirs {"],
    "files": [""],
    "namespaces": [""],
}
LIKE = {
    "kernel": "Linux 6.1",
    "memory_kb": "16303416",
    "cores": "4",
    "offloads": "Features for eth0:\ntso: on",
}


def said(text: str) -> list[Completed]:
    """What one command printed."""
    return [Completed((), 0, text, "")]


def nobody(**changes: object) -> NodeAnswers:
    """A node on which nothing foreign is."""
    return NodeAnswers(
        **{
            "traffic": (),
            "load": LoadAverage(0, 1),
            "processes": (),
            "tunnels": (),
            "objects": (),
            "lacks": {},
        }  # type: ignore[arg-type]
        | changes
    )


def test_every_finding_that_is_not_good_says_what_to_do() -> None:
    """One that does not is refused when it is made."""
    with pytest.raises(ValueError, match="nothing to do about it"):
        Finding(Check.CLOCK, Grade.WARNING, "a", "late")


def test_only_a_fatal_finding_stops_a_run() -> None:
    """Warnings alone are no failure."""
    soft, hard = warning(Check.LOAD, "a", "busy", "wait"), fatal(Check.SSH, "a", "no", "look")
    assert [would_fail(found) for found in ([good(Check.SSH, "a", "yes"), soft], [soft, hard])] == [
        False,
        True,
    ]


def test_the_same_of_several_nodes_is_one_row_in_the_order_of_checks() -> None:
    """Nodes are named, and all of them are `all nodes`; one of one stays that one."""
    found = [good(Check.MTU, "a", "x"), good(Check.SSH, "a", "y"), good(Check.SSH, "b", "y")]
    assert [(one.check, one.where) for one in joined(found, ["a", "b"])] == [
        ("ssh", "all nodes"),
        ("mtu", "a"),
    ]
    assert [one.where for one in joined(found, ["a", "b", "c"])] == ["a, b", "a"]


@pytest.mark.parametrize(
    ("ahead_s", "within_s", "grade"),
    [
        (0.9, 0.01, Grade.GOOD),
        (-1.5, 0.01, Grade.WARNING),
        (1.5, 0.6, Grade.GOOD),
        (-61, 0.01, Grade.FATAL),
        (61, 2.0, Grade.WARNING),
    ],
)
def test_a_clock_is_judged_by_what_is_sure(ahead_s: float, within_s: float, grade: Grade) -> None:
    """A slow round trip proves no skew; a minute is more than certificates bear."""
    assert judge_clock("a", Skew(ahead_s, within_s)).grade is grade


NATIVE, SMALL = ("native-1450", "native-1230"), ("native-1230",)
VPNS = ("native-1230", "wireguard-direct", "nebula-relay")


@pytest.mark.parametrize(
    ("reached", "scenarios", "grades", "words"),
    [
        ((1500, 1500), NATIVE, [Grade.GOOD], "1500 bytes get to every other node"),
        ((1500, 1400), NATIVE, [Grade.FATAL], "packets of 1400 bytes, not 1500, get to relay"),
        ((1500, 1400), VPNS, [Grade.GOOD], "1400 bytes get to every other node"),
        ((1500, 1280), VPNS, [Grade.FATAL], "packets of 1280 bytes, not 1360, get to relay"),
        ((1280, 1280), SMALL, [Grade.GOOD], "1280 bytes get to every other node"),
        ((None, 1500), SMALL, [Grade.FATAL], "nothing gets to worker2 (192.88.99.18) and back"),
    ],
)
def test_the_packets_of_the_scenarios_must_reach_every_node(
    bed: Testbed,
    reached: tuple[int | None, int | None],
    scenarios: tuple[str, ...],
    grades: list[Grade],
    words: str,
) -> None:
    """A smaller path is fatal for those scenarios only whose packets do not fit; one that carries nothing always."""
    answered = dict(zip((bed.server.underlay, bed.relay.underlay), reached, strict=True))
    found = list(judge_mtu(bed, bed.client, answered, [scenario_named(name) for name in scenarios]))
    assert [one.grade for one in found] == grades
    assert words in found[0].said


def test_a_small_mtu_says_what_could_be_left_out(bed: Testbed) -> None:
    """The way out names the scenarios that cannot work, and those that can."""
    scenarios = [scenario_named(name) for name in ("native-1450", "wireguard-direct")]
    (found,) = judge_mtu(bed, bed.client, {bed.relay.underlay: 1400}, scenarios)
    assert found.do == (
        "set MTU 1500 on nodes, switch and router: native-1450 cannot work below;"
        " or leave it out: --scenarios wireguard-direct"
    )


def test_path_mtu_is_read_from_ping_sizes() -> None:
    """Sizes are payloads: 28 bytes of headers more are the packet; `none` is no answer."""
    read = path_mtu([IPv4Address("10.0.0.1")]).parse(said("10.0.0.1 1472\n10.0.0.2 none\n"))
    assert {str(address): mtu for address, mtu in read.items()} == {"10.0.0.1": 1500, "10.0.0.2": None}


def test_traffic_is_what_counters_gained_in_a_second(bed: Testbed) -> None:
    """250,000 bytes in a second are 2 Mbit/s; every leg of the firewall has its own rate."""
    assert traffic(bed.client).parse(said("eth0 1000 50\neth0 251000 50\n")) == (Rate("eth0", 2.0, 0.0),)
    text = "vlan10 0 0\nvlan20 0 0\nvlan30 0 0\nvlan40 0 0\nvlan50 0 0\n"
    assert [rate.interface for rate in traffic(bed.firewall).parse(said(text * 2))] == text.split()[::3]


def test_traffic_and_load_of_others_are_warnings() -> None:
    """A run would work; its figures would be of the others too."""
    assert [one.grade for one in judge_traffic("a", [Rate("eth0", 0.6, 0.6), Rate("eth1", 0, 0)])] == [
        "warning"
    ]
    assert [one.grade for one in judge_traffic("a", [Rate("eth0", 0.5, 0.4)])] == ["good"]
    assert [judge_load("a", LoadAverage(average, 4)).grade for average in (2.0, 2.1)] == ["good", "warning"]


def test_features_are_asked_by_role(bed: Testbed) -> None:
    """Only nodes with pods need VXLAN, only the firewall nftables, a relay neither."""
    asked = [features_of(node, ("nftables",)) for node in (bed.client, bed.firewall, bed.relay)]
    assert asked == [("namespaces", "vxlan", "tun"), ("nftables",), ()]


def test_a_missing_feature_is_fatal_with_the_kernels_words() -> None:
    """What is there is not named when something is missing."""
    (found,) = judge_features("a", {"vxlan": "Operation not supported", "tun": ""})
    assert (found.grade, found.said) == (Grade.FATAL, "no vxlan: Operation not supported")


def test_foreign_services_overlays_and_pods_are_named() -> None:
    """Calico's own device and those of solutions are not foreign: they are leftovers."""
    there = nobody(
        processes=("bash", "kubelet", "tailscaled"),
        tunnels=("vxlan.calico (vxlan)", "wg0 (wireguard)"),
        objects=("Pod default/web",),
    )
    found = [one.said for one in judge_foreign("a", there, frozenset({"vxlan.calico"}))]
    assert found == [
        "service kubelet (Kubernetes)",
        "service tailscaled (another VPN)",
        "overlay wg0 (wireguard)",
        "Pod default/web",
    ]
    assert [one.grade for one in judge_foreign("a", nobody(processes=("bash",)), frozenset())] == ["good"]


def test_overlays_and_objects_are_read_from_the_tools() -> None:
    """`ip -json` and kubectl's columns; a node without kubectl says nothing."""
    links = '[{"ifname": "eth0"}, {"ifname": "wg0", "linkinfo": {"info_kind": "wireguard"}}]'
    assert tunnels().parse(said(links)) == ("wg0 (wireguard)",)
    assert objects().parse(said("Pod   default   web\nService kube-system dns\n")) == (
        "Pod default/web",
        "Service kube-system/dns",
    )
    assert objects().parse(said("")) == ()


def test_leftovers_of_a_run_are_fatal_and_others_things_are_not() -> None:
    """Interfaces, files, pod namespaces, tables and netem of ours; foreign tables and qdiscs are no leftovers."""
    left = {
        **NOTHING,
        "interfaces": [" eth0", " wt0", " cali0"],
        "files": ["/run/vpnmesh/nebula.pid"],
        "namespaces": ["vpnmesh-pod (id: 0)"],
        "firewall": ["table inet vpnmesh {", "table inet theirs {"],
        "qdiscs": ["qdisc netem 1: dev eth0 root refcnt 2 limit 1000 loss 5%"],
    }
    found = list(judge_leftovers("a", left, ["wt0"], "mine"))
    assert [one.said.split()[0] for one in found] == [
        "interface", "interface", "file", "namespace", "firewall", "impairment",
    ]  # fmt: skip
    assert {one.do for one in found} == {"python -m workflows.teardown --inventory mine"}
    assert [one.grade for one in judge_leftovers("a", NOTHING, ["wt0"], "mine")] == ["good"]


def test_what_cannot_be_read_is_not_nothing() -> None:
    """A node that does not answer to a question of its leftovers is a warning, not a clean node."""
    found = list(
        judge_leftovers("a", {**NOTHING, "firewall": ["could not be read: denied"]}, ["wt0"], "mine")
    )
    assert [(one.grade, one.said) for one in found] == [("warning", "firewall: could not be read: denied")]


def test_nodes_alike_have_no_differences() -> None:
    """Memory that only the kernel's own share makes unlike, and another port's name, are no differences."""
    other = {**LIKE, "memory_kb": "16299000", "offloads": "Features for ens3:\ntso: on"}
    assert differences({"a": LIKE, "b": other}) == []


def test_what_no_node_tells_is_not_called_alike() -> None:
    """Nodes that all fail to say a thing are equal in nothing; the finding names what was not compared."""
    mute = {"kernel": "Linux 6.1", "nic": "not known: exit 127", "speed": "not known: Invalid argument"}
    nodes = {"a": mute, "b": {**mute, "nic": "not known: no ethtool"}}
    assert differences(nodes) == []
    (found,) = judge_alike(differences(nodes), untold(nodes))
    assert found.said.startswith(
        "kernel, offloads and versions; no node could tell: os, cpu, cores, memory, nic, speed"
    )


def test_differences_say_who_has_what() -> None:
    """Kernel, memory, offloads and versions; a program that a node lacks is no difference."""
    a = {**LIKE, "nebula -version": "1.6", "wg --version": "not known: 127"}
    b = {
        **LIKE,
        "kernel": "Linux 6.6",
        "offloads": "tso: off [fixed]",
        "nebula -version": "1.9",
        "wg --version": "1",
    }
    c = {**LIKE, "memory_kb": "8000000"}
    assert differences({"a": a, "b": b, "c": c}) == [
        "kernel: Linux 6.1 (a, c); Linux 6.6 (b)",
        "memory: 16 GB (a, b); 8 GB (c)",
        "offload tso: on (a, c); off (b)",
        "nebula -version: 1.6 (a); 1.9 (b)",
    ]
    assert versions({"a": a, "b": b}) == ["nebula 1.6", "nebula 1.9", "wg 1"]
