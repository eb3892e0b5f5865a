"""What nodes print becomes the state that is judged: nft, ss, ethtool, /proc, ip, and the probes' own lines."""

import json
import subprocess
import sys

import pytest

from tests.why.said import DAEMONS, ETHTOOL, LINKS, MACHINE, NFT, PROBED, ROUTES, SS, TCP
from tests.why.seen import BED, DAEMON, MESH, PAIR, SOLUTION
from vpnmesh.doctor.judge import underlay_mtu
from vpnmesh.errors import ToolError
from vpnmesh.plan import Command, Completed
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import SCENARIO_ORDER, scenario_named
from vpnmesh.why import questions
from vpnmesh.why.observed import CpuUse, Daemon, NodeState, UdpSocket
from vpnmesh.why.questions import Watched


def read(*texts: str) -> NodeState:
    """The state of a node that prints these, and has a pod of 1230 bytes."""
    asked = questions.state(Watched(("eth0",), (DAEMON,)))
    pod = json.dumps([{"mtu": 1230}])
    said = [
        Completed(command.argv, 0, text, "")
        for command, text in zip(asked.commands, (*texts, pod), strict=True)
    ]
    return asked.read(said)


def match(protocol: str, field: str, right: object) -> dict[str, object]:
    """A rule's match of a packet's field, as nft tells it."""
    left = {"payload": {"protocol": protocol, "field": field}}
    return {"match": {"op": "==", "left": left, "right": right}}


def test_a_nodes_words_become_its_state() -> None:
    found = read(json.dumps(LINKS), ETHTOOL, json.dumps(NFT), SS, TCP, DAEMONS, ROUTES, MACHINE)
    assert found.links["eth0"].mtu == 1500
    assert [str(one) for one in found.links["eth0"].addresses] == ["192.88.99.10"]
    assert found.offloads == {
        "eth0": {"tcp-segmentation-offload": True, "generic-segmentation-offload": False}
    }
    (rule,) = found.rules
    assert (rule.text, rule.packets) == ("iifname { a, b } udp dport 41641 drop", 12)
    assert found.sockets == (UdpSocket("tailscaled", 41641, 14680064, 17),)
    assert found.listening == {"udp 41641", "udp 4789", "tcp 443", "tcp 22"}
    assert found.lost_services == ("derper",)
    group = "/sys/fs/cgroup/cpu/x"
    tailscaled = Daemon("tailscaled", 7, "S", 19, "0,2-3", replaced=True, quota_pct=2.0, group=group)
    assert found.daemons == (tailscaled,)
    assert found.daemons[0].cores == 3
    assert found.routes == {"192.88.99.18": "eth0"}
    assert found.own_routes == ("192.88.99.18 via 192.88.99.9 dev eth0 metric 5",)
    assert (found.cores, found.load, found.receive_errors, found.pod_mtu) == (4, 1.5, 6, 1230)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([{"xt": {"type": "match", "name": "comment"}}], '{"xt": {"type": "match", "name": "comment"}} drop'),
        ([{"limit": {"rate": 5}}, {"log": {"prefix": "x"}}], '{"limit": {"rate": 5}} drop'),
        ([match("ip", "saddr", {"prefix": {"len": 8}})], 'ip saddr {"prefix": {"len": 8}} drop'),
        ([match("udp", "dport", {"set": [4, {"range": [5, 9]}]})], 'udp dport { 4, {"range": [5, 9]} } drop'),
        ([{"match": {"op": "<", "left": {"payload": {}}, "right": 1}}], '{"payload": {}} < 1 drop'),
        ([match("udp", "dport", 41641)], "udp dport 41641 drop"),
    ],
)  # fmt: skip
def test_nothing_that_narrows_a_rule_is_left_out(parts: list[object], said: str) -> None:
    """What is not written as nft writes it is JSON: its rule is not taken for a wider one."""
    expr = [*parts, {"counter": {"packets": 1}}, {"drop": None}]
    rule = {"family": "ip", "table": "t", "chain": "c", "handle": 3, "expr": expr}
    found = read("", "", json.dumps({"nftables": [{"rule": rule}]}), "", "", "", "", "2\n0.00\n")
    assert [one.text for one in found.rules] == [said]


def test_a_control_group_that_cannot_be_changed_is_none() -> None:
    """A quota of version 2 is seen, and has no folder."""
    line = DAEMONS.splitlines()[1].replace("/sys/fs/cgroup/cpu/x", "-")
    (found,) = read("", "", "", "", "", f"{line}\n", "", "2\n0.00\n").daemons
    assert (found.quota_pct, found.group) == (2.0, "")


def test_a_node_without_these_tools_has_an_empty_state() -> None:
    """Neither nft nor ethtool nor ss: nothing is known, and nothing is found."""
    found = read("", "", "", "", "", "", "", "2\n0.00\n")
    assert (found.links, found.rules, found.daemons, found.sockets) == ({}, (), (), ())


def test_what_the_program_is_told() -> None:
    """Both ends size packets and ask what they need; others only answer and look."""
    names = questions.participants(MESH, PAIR)
    assert names == ("worker1", "worker2", "relay", "hypervisor")
    client = questions.asked_of(MESH, SOLUTION, PAIR, "worker1", names, "100.64.0.2")
    relay = questions.asked_of(MESH, SOLUTION, PAIR, "relay", names, "")
    assert (client["sized"], client["burst"], client["overlay_sizes"]) == (["worker2"], True, [1280])
    assert client["tcp"] == [f"{BED.relay.underlay}:443", f"{BED.control_plane.underlay}:443"]
    assert list(client["stun"]) == [f"{BED.relay.underlay}:3478"]
    assert (relay["sized"], relay["burst"], relay["tcp"], relay["overlay"]) == ([], False, [], "")
    assert set(relay["targets"]) == {"worker1", "worker2", "hypervisor"}


@pytest.mark.parametrize("name", SCENARIO_ORDER)
def test_the_size_that_is_judged_is_one_that_was_sent(name: str) -> None:
    """A path that carries just what its tunnel needs is not told to be too small by the next size that passes."""
    mesh = Mesh(BED, scenario_named(name))
    solution = solution_named(mesh.scenario.solution)
    asked = questions.asked_of(mesh, solution, PAIR, "worker1", ("worker1", "worker2"), "")
    assert underlay_mtu(mesh.scenario) in asked["sizes"]


def test_what_the_program_prints() -> None:
    found = questions.probe({"seconds": 1}).read([Completed(("python3",), 0, json.dumps(PROBED), "")])
    assert found.mapped == {"relay": ("192.88.99.10", 40000)}
    assert (found.burst, found.sizes) == ((640, 640), {"worker2": (500, 1500)})
    assert found.cpu["tailscaled 7"].waited == pytest.approx(0.05)


def test_a_program_that_did_not_run_says_why() -> None:
    fact = questions.probe({"seconds": 1})
    with pytest.raises(ToolError, match="No module named"):
        fact.read([Completed(("python3",), 1, "", "No module named json")])


@pytest.mark.slow
def test_the_program_itself_on_loopback() -> None:
    """It answers itself, finds a closed port, gets its bursts back, and ends before its time."""
    asked = {
        "name": "a", "seconds": 30, "port": 33997, "interface": "lo", "targets": {"a": "127.0.0.1"},
        "data": {"a": 4242}, "sized": ["a"], "sizes": [1500, 500], "overlay": "127.0.0.1",
        "overlay_sizes": [1280], "tcp": ["127.0.0.1:33996"], "stun": {}, "processes": ["python3"], "burst": True,
    }  # fmt: skip
    (command,) = questions.probe(asked).commands
    assert isinstance(command, Command)
    argv = (sys.executable, *command.argv[1:])
    done = subprocess.run(
        argv, input=str(command.stdin), capture_output=True, text=True, check=True, timeout=60
    )
    found = questions.probe(asked).read([Completed(argv, 0, done.stdout, done.stderr)])
    assert found.mapped["a"][0] == "127.0.0.1"
    assert found.sizes == {"a": (500, 1500)}
    assert found.overlay_sizes == (1280,)
    assert found.tcp == {"127.0.0.1:33996": "Connection refused"}
    assert found.burst == (640, 640)
    assert found.seconds < 30


def test_a_share_of_no_time_is_none() -> None:
    assert CpuUse(1.0, 1.0, 0.0).waited == 0.0
