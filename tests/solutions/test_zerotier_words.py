"""ZeroTier: the world file, the refusal of private underlays, and what is read from its own words."""

import json
import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from tests.golden.goldens import answered
from tests.solutions.meshes import RELAY, mesh_of, said
from vpnmesh.errors import CheckError
from vpnmesh.firewall.policy import Protocol
from vpnmesh.model import Path as Way
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, WriteFile
from vpnmesh.solutions import zerotier, zerotier_networks
from vpnmesh.solutions.protocol import Mesh, Peer


def recorded(bed: Testbed, captured: Path, scenario: str) -> tuple[Mesh, str]:
    """A mesh with the identities of the captured run, and what worker1 said in it."""
    folder = captured / "zerotier"
    identities = json.loads((folder / f"{scenario}-identities.json").read_text())
    mesh = mesh_of(bed, scenario, {(name, "identity"): text for name, text in identities.items()})
    return mesh, (folder / f"{scenario}-worker1.json").read_text()


@pytest.mark.parametrize(
    ("scenario", "peers"),
    [
        (
            "zerotier-direct",
            (
                Peer("k8s-master", Way.DIRECT, IPv4Address("192.88.99.2")),
                Peer("worker2", Way.DIRECT, IPv4Address("192.88.99.18")),
            ),
        ),
        (
            "zerotier-relay",
            (
                Peer("k8s-master", Way.RELAY, IPv4Address("192.88.99.26"), "TCP proxy"),
                Peer("worker2", Way.RELAY, IPv4Address("192.88.99.26"), "TCP proxy"),
            ),
        ),
    ],
)
def test_peers_are_read_from_captured_words(
    scenario: str, peers: tuple[Peer, ...], bed: Testbed, captured: Path
) -> None:
    """ZeroTier calls a path through the proxy its own; the address it goes to says what it is."""
    mesh, text = recorded(bed, captured, scenario)
    assert peers == zerotier.parse_peers(mesh, bed.node("worker1"), text)


def test_a_member_without_a_path_is_relayed_by_the_root(bed: Testbed, captured: Path) -> None:
    """ZeroTier has no word for it: a known member with no path is reached through the root, over UDP."""
    mesh, text = recorded(bed, captured, "zerotier-direct")
    entries = json.loads(text)
    for entry in entries:
        if entry["address"] == zerotier_networks.address_of(mesh, bed.node("worker2")):
            entry["paths"] = []
        if entry["address"] == zerotier_networks.address_of(mesh, bed.node("k8s-master")):
            entry.update(paths=[], versionMajor=-1)
    assert (
        Peer("k8s-master", None, None),
        Peer("worker2", Way.RELAY, IPv4Address("192.88.99.26"), "root"),
    ) == zerotier.parse_peers(mesh, bed.node("worker1"), json.dumps(entries))


def test_a_root_is_where_zerotier_says_it_is(bed: Testbed, captured: Path) -> None:
    """Relayed by the root, a member's endpoint is the root's used path; where the root has none, it is not known."""
    mesh, text = recorded(bed, captured, "zerotier-direct")
    for paths, endpoint in (
        (
            [{"active": True, "preferred": True, "address": "198.18.213.14/9993"}],
            IPv4Address("198.18.213.14"),
        ),
        ([], None),
    ):
        entries = json.loads(text)
        for entry in entries:
            entry["paths"] = paths if entry["role"] == "PLANET" else []
        found = zerotier.parse_peers(mesh, bed.node("worker1"), json.dumps(entries))
        assert [(peer.path, peer.endpoint) for peer in found] == [(Way.RELAY, endpoint)] * 2


@pytest.mark.parametrize("text", ["", "[", "{}", "null", '[{"no": "address"}]', "200 info"])
def test_a_daemon_that_says_nothing_has_no_peers(text: str, bed: Testbed) -> None:
    """No answer is no path, and nothing is raised."""
    nobody = (Peer("k8s-master", None, None), Peer("worker2", None, None))
    assert nobody == zerotier.parse_peers(mesh_of(bed, "zerotier-direct"), bed.node("worker1"), text)


def test_a_moon_becomes_a_planet() -> None:
    """The type changes and the tail goes; anything else is refused."""
    assert zerotier.planet(b"\x7fworld\x00\x00") == b"\x01world"
    with pytest.raises(CheckError, match="made no moon"):
        zerotier.planet(b"\x01world")
    with pytest.raises(CheckError, match="made no moon"):
        zerotier.planet(b"")


@pytest.mark.parametrize(
    "address",
    ["10.0.0.2/29", "172.20.1.2/29", "192.168.7.2/24", "100.64.1.2/24", "198.18.0.2/29", "203.0.113.2/29"],
)
def test_a_private_underlay_refuses_the_relay(address: str, bed: Testbed) -> None:
    """The reason names the node, its address and a range that works; the direct scenario is not refused."""
    worker = bed.node("worker2")
    moved = replace(worker, legs=(replace(worker.leg, address=IPv4Interface(address)),))
    private = replace(bed, nodes=tuple(moved if node == worker else node for node in bed.nodes))
    reason = zerotier.ZeroTier().unbuildable_reason(mesh_of(private, "zerotier-relay"))
    assert "worker2 has " + address.split("/", maxsplit=1)[0] in reason
    assert "192.88.99.0/24" in reason
    assert zerotier.ZeroTier().unbuildable_reason(mesh_of(private, "zerotier-direct")) == ""
    assert zerotier.ZeroTier().unbuildable_reason(mesh_of(bed, "zerotier-relay")) == ""


def test_relay_scenarios_force_the_proxy_on_all_but_the_root(bed: Testbed) -> None:
    """The root's node has the proxy itself; interfaces of Calico and management are never used."""

    def settings(scenario: str, node: str) -> dict[str, object]:
        found = zerotier.local_config(mesh_of(bed, scenario), bed.node(node))["settings"]
        assert isinstance(found, dict)
        return found

    assert [
        settings("zerotier-relay", "worker1")["forceTcpRelay"],
        settings("zerotier-relay", "hypervisor")["forceTcpRelay"],
        settings("zerotier-relay", RELAY)["forceTcpRelay"],
        settings("zerotier-direct", "worker1")["forceTcpRelay"],
    ] == [True, True, False, False]
    assert settings("zerotier-relay", "worker1")["interfacePrefixBlacklist"] == [
        "cali",
        "vxlan.calico",
        "mgmt0",
    ]
    assert settings("zerotier-direct", "worker1")["tcpFallbackRelay"] == "192.88.99.26/443"


def test_the_network_has_the_tunnels_mtu(bed: Testbed) -> None:
    """1280 instead of ZeroTier's 2800, and a private network of our addresses."""
    config = zerotier_networks.network_config(mesh_of(bed, "zerotier-direct"))
    assert (
        config["mtu"],
        config["private"],
        config["routes"],
    ) == (1280, True, [{"target": "10.213.0.0/24", "via": None}])


@pytest.mark.parametrize("paths", [3, [None], [{"active": True, "preferred": True}], "x"])
def test_ugly_paths_are_no_direct_path(paths: object, bed: Testbed, captured: Path) -> None:
    """Paths of another shape, or without an address: never direct, nothing raised."""
    mesh, text = recorded(bed, captured, "zerotier-direct")
    entries = json.loads(text)
    for entry in entries:
        entry["paths"] = paths
    found = zerotier.parse_peers(mesh, bed.node("worker1"), json.dumps(entries))
    assert Way.DIRECT not in {peer.path for peer in found}


def test_a_running_daemon_cannot_miss_a_new_blacklist(bed: Testbed) -> None:
    """It looks every ten seconds for a file of at most ten seconds: the plan keeps it young for longer than that."""
    mesh = mesh_of(bed, "zerotier-direct")
    fact = zerotier.ZeroTier().blacklist(mesh, bed.node("worker1"))
    write, notice = answered(fact).steps
    assert isinstance(write, WriteFile)
    assert isinstance(notice, Command)
    assert notice.argv[-2:] == ("/run/vpnmesh/zerotier-one.pid", write.path)
    assert re.search(r"-lt (\d+) \]; do sleep 1; touch", notice.argv[2])[1] == "12"  # type: ignore[index]
    assert not fact.parse(said(str(write.content)))


@pytest.mark.parametrize(
    "scenario", ["zerotier-direct", "zerotier-relay", "zerotier-relay-unforced", "zerotier-relay-udp"]
)
def test_only_the_forced_relay_is_forced(scenario: str, bed: Testbed) -> None:
    """By local.conf, on members and controller; never on the root's node, which is beside the relay."""
    mesh = mesh_of(bed, scenario)
    for node in (*bed.k8s, bed.control_plane, bed.relay):
        settings = zerotier.local_config(mesh, node)["settings"]
        assert settings["forceTcpRelay"] is (  # type: ignore[index]
            scenario == "zerotier-relay" and node.name != RELAY
        )


def test_a_member_that_nothing_forces_is_waited_for(bed: Testbed) -> None:
    """Its start is over when it has connected to the relay; the others are ready when they answer."""
    alone, *others = (
        zerotier.member(mesh_of(bed, name)).ready
        for name in ("zerotier-relay-unforced", "zerotier-relay", "zerotier-direct")
    )
    assert alone is not None
    assert "tcpFallbackActive" in " ".join(alone.argv)
    assert alone.timeout_s == zerotier.ALONE_S
    assert [one is not None and "tcpFallbackActive" in " ".join(one.argv) for one in others] == [False, False]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ('"status": "OK"', 0, ""),
        ('"status": "ACCESS_DENIED"', 1, "the controller refuses this member: ACCESS_DENIED\n"),
    ],
)
def test_a_member_that_is_refused_says_so(
    words: str, code: int, told: str, bed: Testbed, tmp_path: Path
) -> None:
    """By what its own daemon says of the network, once it runs: a refusal is no silence."""
    program = tmp_path / "zerotier-cli"
    program.write_text(f"#!/bin/sh\necho '{words}'\n")
    program.chmod(0o755)
    identities = {("hypervisor", "identity"): "0000000001:0:public"}
    mesh = mesh_of(bed, "zerotier-direct", identities)
    members = zerotier.ZeroTier().stages(mesh)[-1]
    ask = answered(members.plan(mesh, bed.node("worker1"))).steps[-1]
    assert isinstance(ask, Command)
    ran = subprocess.run(
        ask.argv,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert (ran.returncode, ran.stderr) == (code, told)


def test_the_root_relays_over_udp_also_on_a_private_underlay(bed: Testbed) -> None:
    """Nothing is forced, the relay is the root itself, and no probe looks for a TCP relay."""
    mesh = mesh_of(bed, "zerotier-relay-udp")
    solution = zerotier.ZeroTier()
    assert [(one.node, one.protocol, one.relays) for one in solution.listeners(mesh)] == [
        (RELAY, Protocol.UDP, True),
        ("hypervisor", Protocol.UDP, False),
    ]
    assert not solution.stack(mesh.scenario).own_tcp
    worker = bed.node("worker2")
    moved = replace(worker, legs=(replace(worker.leg, address=IPv4Interface("10.1.0.2/29")),))
    private = replace(bed, nodes=tuple(moved if node == worker else node for node in bed.nodes))
    assert solution.unbuildable_reason(mesh_of(private, "zerotier-relay-udp")) == ""


def test_where_the_root_always_relays_a_listed_member_is_relayed(bed: Testbed, captured: Path) -> None:
    """Its version comes over a path of its own alone; one that is not listed is reached by nobody."""
    mesh, text = recorded(bed, captured, "zerotier-direct")
    mesh = replace(mesh, scenario=mesh_of(bed, "zerotier-relay-udp").scenario)
    entries = [
        one
        for one in json.loads(text)
        if one["address"] != zerotier_networks.address_of(mesh, bed.node("worker2"))
    ]
    for entry in entries:
        if entry["role"] == "LEAF":
            entry.update(paths=[], versionMajor=-1)
    assert (
        Peer("k8s-master", Way.RELAY, IPv4Address("192.88.99.26"), "root"),
        Peer("worker2", None, None),
    ) == zerotier.parse_peers(mesh, bed.node("worker1"), json.dumps(entries))
