"""Headscale: what is rendered, and what is read from Tailscale's own words."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.golden.goldens import answered
from tests.solutions.meshes import CONTROL, mesh_of, named_keys
from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Testbed
from vpnmesh.model import Path as Way
from vpnmesh.plan import Command
from vpnmesh.solutions import headscale
from vpnmesh.solutions.protocol import Peer, Status
from vpnmesh.study.checks import check_endpoints

RELAY = IPv4Address("192.88.99.26")


def worker1_said(captured: Path, scenario: str) -> str:
    """The captured status, its nodes' keys those of the tests' meshes."""
    text = (captured / "tailscale" / f"{scenario}-worker1.json").read_text()
    keys = {entry["HostName"]: entry["PublicKey"] for entry in json.loads(text)["Peer"].values()}
    return named_keys(text, keys)


@pytest.mark.parametrize(
    ("scenario", "peers"),
    [
        (
            "headscale-direct",
            (
                Peer("k8s-master", Way.DIRECT, IPv4Address("192.88.99.2")),
                Peer("worker2", Way.DIRECT, IPv4Address("192.88.99.18")),
            ),
        ),
        (
            "headscale-relay",
            (
                Peer("k8s-master", Way.RELAY, RELAY, "DERP vpnmesh"),
                Peer("worker2", Way.RELAY, RELAY, "DERP vpnmesh"),
            ),
        ),
    ],
)
def test_peers_are_read_from_captured_status(
    scenario: str, peers: tuple[Peer, ...], bed: Testbed, captured: Path
) -> None:
    """A current address is the direct path, its absence with traffic is DERP."""
    text = worker1_said(captured, scenario)
    assert peers == headscale.parse_status(mesh_of(bed, scenario), bed.node("worker1"), text)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"Peer": null}', '{"Peer": {"nodekey:1": 3}}'])
def test_a_daemon_that_says_nothing_has_no_peers(text: str, bed: Testbed) -> None:
    """No answer, half an answer or none of the wanted kind: every member is unreached, nothing is raised."""
    nobody = (Peer("k8s-master", None, None), Peer("worker2", None, None))
    assert nobody == headscale.parse_status(mesh_of(bed, "headscale-direct"), bed.node("worker1"), text)


def test_a_peer_relay_and_an_idle_peer_are_no_path(bed: Testbed, captured: Path) -> None:
    """Relaying over UDP by a member is contamination, and a home relay's name alone is no proof of a path."""
    said = json.loads(worker1_said(captured, "headscale-relay"))
    for entry in said["Peer"].values():
        if entry["HostName"] == "worker2":
            entry["PeerRelay"] = "192.88.99.2:7777:vni:1"
        else:
            entry["Active"] = False
    found = headscale.parse_status(mesh_of(bed, "headscale-relay"), bed.node("worker1"), json.dumps(said))
    assert (
        Peer("k8s-master", None, None),
        Peer("worker2", None, IPv4Address("192.88.99.2"), "peer relay"),
    ) == found


def test_only_our_relay_is_in_the_map(bed: Testbed) -> None:
    """No list of Tailscale's own relays is ever fetched, and ours is pinned by its certificate."""
    mesh = mesh_of(bed, "headscale-direct")
    derp = headscale.server_config(bed.node(CONTROL))["derp"]
    assert isinstance(derp, dict)
    assert {key: value for key, value in derp.items() if key != "paths"} == {
        "server": {"enabled": False},
        "urls": [],
        "auto_update_enabled": False,
    }
    regions = headscale.derp_map(mesh)["regions"]
    assert list(regions) == [900]  # type: ignore[call-overload]
    node = regions[900]["nodes"][0]  # type: ignore[index]
    assert ("192.88.99.26", f"sha256-raw:{'ab' * 32}") == (node["ipv4"], node["certname"])


def test_granular_policy_names_what_a_cluster_needs(bed: Testbed) -> None:
    """Coarse lets everything pass; granular is VXLAN, the two API ports and ICMP between members."""
    mesh = mesh_of(bed, "headscale-direct")
    assert headscale.policy(mesh) == {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
    granular = replace(mesh, scenario=replace(mesh.scenario, options={"access": "granular"}))
    assert [
        rule["dst"][0]
        for rule in headscale.policy(granular)["acls"]  # type: ignore[attr-defined]
    ] == ["mesh@:4789", "mesh@:6443,10250", "mesh@:*"]


def test_only_relay_scenarios_force_the_relay(bed: Testbed) -> None:
    """The client is told to use DERP only where the scenario says so; the packet filter is the same always."""
    direct = headscale.daemon(mesh_of(bed, "headscale-direct")).environment
    relayed = headscale.daemon(mesh_of(bed, "headscale-relay")).environment
    assert {k: v for k, v in relayed.items() if k not in direct} == {"TS_DEBUG_ALWAYS_USE_DERP": "true"}
    assert {key: direct[key] for key in direct if key.startswith("TS_")} == {
        "TS_DEBUG_MTU": "1280",
        "TS_DEBUG_FIREWALL_MODE": "nftables",
    }


def test_a_fingerprint_is_the_certificates_own() -> None:
    """The SHA-256 of the DER bytes, not of the text."""
    pem = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"
    assert headscale.fingerprint(pem) == "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"


def test_a_peer_left_from_an_earlier_run_is_not_taken_for_its_successor(bed: Testbed, captured: Path) -> None:
    """A node that joined anew has its old name twice in the list; only its present key counts."""
    said = json.loads(worker1_said(captured, "headscale-direct"))
    old = dict(next(entry for entry in said["Peer"].values() if entry["HostName"] == "worker2"))
    said["Peer"]["nodekey:zzzz"] = {**old, "PublicKey": "nodekey:zzzz", "CurAddr": "", "Online": False}
    found = headscale.parse_status(mesh_of(bed, "headscale-direct"), bed.node("worker1"), json.dumps(said))
    assert Peer("worker2", Way.DIRECT, IPv4Address("192.88.99.18")) in found


@pytest.mark.parametrize("words", ["[]", "null", "{", "3", '["Running"]'])
def test_a_daemon_that_answers_nonsense_is_asked_to_join(words: str, bed: Testbed) -> None:
    """A list or null in place of the state: the stage plans the join, and its diff says what was known before."""
    mesh = mesh_of(bed, "headscale-direct")
    stage = headscale.Headscale().stages(mesh)[-1]
    plan = answered(stage.plan(mesh, bed.node("worker1")), 0, words)
    assert [step.argv[0] for step in plan.steps if isinstance(step, Command)][:1] == ["tailscale"]
    assert plan.diff.splitlines()[-2:] == ["-not known", "+Running"]
    with pytest.raises(CheckError, match=r"no .* in the answer"):
        answered(stage.publish(mesh, bed.node("worker1")), 0, words)


def test_an_ipv6_address_of_a_peer_is_no_path(bed: Testbed, captured: Path) -> None:
    """Where a peer is reached over IPv6 cannot be told here: named, and on no scenario's path."""
    said = json.loads(worker1_said(captured, "headscale-direct"))
    for entry in said["Peer"].values():
        entry["CurAddr"] = "[fe80::1]:41641"
    found = headscale.parse_status(mesh_of(bed, "headscale-direct"), bed.node("worker1"), json.dumps(said))
    assert found[0] == Peer("k8s-master", None, None, via="[fe80::1]:41641")


def test_a_direct_path_over_management_is_refused(bed: Testbed, captured: Path) -> None:
    """Tailscale knows no list of interfaces: every address of a node is a candidate, and the endpoint tells."""
    text = worker1_said(captured, "headscale-direct").replace("192.88.99.18:41641", "198.18.213.13:41641")
    mesh = mesh_of(bed, "headscale-direct")
    peers = headscale.parse_status(mesh, bed.node("worker1"), text)
    assert Peer("worker2", Way.DIRECT, IPv4Address("198.18.213.13")) in peers
    with pytest.raises(CheckError, match=r"worker2 at 198\.18\.213\.13, worker2's management address"):
        check_endpoints(mesh, "worker1", Status(DataPlane.USERSPACE, "tailscale0", None, 1280, peers))


def test_another_relay_than_ours_has_no_endpoint(bed: Testbed, captured: Path) -> None:
    """A DERP region that is not in our map cannot be at our relay's address."""
    text = worker1_said(captured, "headscale-relay").replace('"Relay": "vpnmesh"', '"Relay": "fra"')
    found = headscale.parse_status(mesh_of(bed, "headscale-relay"), bed.node("worker1"), text)
    assert {(peer.path, peer.endpoint, peer.via) for peer in found} == {(Way.RELAY, None, "DERP fra")}
