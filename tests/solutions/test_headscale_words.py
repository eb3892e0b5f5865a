"""Headscale: what is rendered, and what is read from Tailscale's own words."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from tests.golden.goldens import answered, golden
from tests.solutions.meshes import CONTROL, mesh_of, named_keys
from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Testbed
from vpnmesh.model import Path as Way
from vpnmesh.plan import Command, Text, WriteFile
from vpnmesh.solutions import headscale, headscale_control
from vpnmesh.solutions.protocol import MeshRole, Peer, Status
from vpnmesh.study.checks import check_endpoints
from vpnmesh.study.scenarios import scenario_named

RELAY = IPv4Address("192.88.99.26")
NOW, THEN = "headscale version v0.29.2", "v0.21.0"
"""What `headscale version` says."""
VERSIONS = (NOW, THEN)


def told(version: str) -> dict[tuple[str, str], Text]:
    """What the control-plane node publishes of its Headscale."""
    return {(CONTROL, "headscale-version"): version}


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
        (
            "headscale-peer-relay",
            (
                Peer("k8s-master", Way.RELAY, RELAY, "peer relay"),
                Peer("worker2", Way.RELAY, RELAY, "peer relay"),
            ),
        ),
    ],
)
def test_peers_are_read_from_captured_status(
    scenario: str, peers: tuple[Peer, ...], bed: Testbed, captured: Path
) -> None:
    """A current address is the direct path, a peer relay's is one kind of relay, and neither with traffic is DERP."""
    text = worker1_said(captured, scenario)
    assert peers == headscale.parse_status(mesh_of(bed, scenario), bed.node("worker1"), text)


@pytest.mark.parametrize("name", ["headscale-direct", "headscale-relay"])
def test_an_older_tailscale_says_the_same(name: str, bed: Testbed, captured: Path) -> None:
    """1.58.2 and 1.98.10 are read alike; the older one knows no peer relay."""
    mesh, node = mesh_of(bed, name), bed.node("worker1")
    then, now = (worker1_said(captured, one) for one in (f"{name}-2023", name))
    assert "1.58.2" in then
    assert headscale.parse_status(mesh, node, then) == headscale.parse_status(mesh, node, now)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"Peer": null}', '{"Peer": {"nodekey:1": 3}}'])
def test_a_daemon_that_says_nothing_has_no_peers(text: str, bed: Testbed) -> None:
    """No answer, half an answer or none of the wanted kind: every member is unreached, nothing is raised."""
    nobody = tuple(Peer(name, None, None, known=False) for name in ("k8s-master", "worker2"))
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


@pytest.mark.parametrize("version", VERSIONS)
def test_only_our_relay_is_in_the_map(version: str, bed: Testbed) -> None:
    """No list of Tailscale's own relays is ever fetched; ours is dialled by address, its certificate by name."""
    mesh = mesh_of(bed, "headscale-direct", told(version))
    derp = headscale_control.server_config(mesh, bed.node(CONTROL))["derp"]
    assert isinstance(derp, dict)
    assert {key: value for key, value in derp.items() if key != "paths"} == {
        "server": {"enabled": False},
        "urls": [],
        "auto_update_enabled": False,
    }
    regions = headscale_control.derp_map(mesh)["regions"]
    assert list(regions) == [900]  # type: ignore[call-overload]
    node = regions[900]["nodes"][0]  # type: ignore[index]
    assert (node["ipv4"], node["hostname"]) == ("192.88.99.26", "derp.vpnmesh.internal")


@pytest.mark.parametrize(("version", "who"), [(NOW, "mesh@"), (THEN, "mesh")])
def test_granular_policy_names_what_a_cluster_needs(version: str, who: str, bed: Testbed) -> None:
    """Coarse lets everything pass; granular is VXLAN, the two API ports and ICMP between members."""
    mesh = mesh_of(bed, "headscale-direct", told(version))
    assert headscale_control.policy(mesh) == {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
    granular = replace(mesh, scenario=replace(mesh.scenario, options={"access": "granular"}))
    assert [
        rule["dst"][0]
        for rule in headscale_control.policy(granular)["acls"]  # type: ignore[attr-defined]
    ] == [f"{who}:4789", f"{who}:6443,10250", f"{who}:*"]


@pytest.mark.parametrize(
    ("version", "since"),
    [
        (NOW, (0, 29)),
        ("0.30.0", (0, 29)),
        ("v0.28.0", (0, 26)),
        (THEN, (0, 21)),
        ("v0.22.3", (0, 21)),
        ("dev", (0, 29)),
        ("<hypervisor's headscale-version, made when applied>", (0, 29)),
    ],
)
def test_the_interface_is_that_of_the_told_version(version: str, since: tuple[int, ...]) -> None:
    """Between two rows of the table the older one holds; a build that knows no version is taken for the newest."""
    assert headscale_control.interface_for(version).since == since


@pytest.mark.parametrize("version", ["0.20.0", "v0.23.0", "headscale version v0.25.1"])
def test_a_version_between_the_interfaces_is_refused_in_a_sentence(version: str) -> None:
    """It would start with keys that it does not know: the sentence says which versions to take."""
    with pytest.raises(
        CheckError, match=r"Headscale 0\.\d+\.\d is not supported: take 0.29 and newer, or 0.26"
    ):
        headscale_control.interface_for(version)


@pytest.mark.parametrize(("version", "name"), [(NOW, "0.29"), (THEN, "0.21")])
def test_the_configuration_of_a_version(version: str, name: str, bed: Testbed) -> None:
    """Reviewed: each version gets the keys that its own example has, and no other."""
    mesh = mesh_of(bed, "headscale-direct", told(version))
    text = yaml.safe_dump(headscale_control.server_config(mesh, bed.node(CONTROL)), sort_keys=False)
    assert golden(f"headscale/config-{name}.yaml", text) == text


def test_an_old_headscale_reads_its_policy_from_a_file_again(bed: Testbed) -> None:
    """Another access is written into the file and told by SIGHUP; the daemon's own files, and so it, stay the same."""
    mesh = mesh_of(bed, "headscale-direct", told(THEN))
    granular = replace(mesh, scenario=replace(mesh.scenario, options={"access": "granular"}))
    node = bed.node(CONTROL)
    plan = answered(headscale_control.policy_set(granular, node), 0, '{"acls": []}')
    written, reload = plan.steps
    assert isinstance(written, WriteFile)
    assert isinstance(reload, Command)
    assert written.path == headscale_control.server_config(mesh, node)["acl_policy_path"]
    assert "kill -HUP" in reload.argv[2]
    assert answered(headscale_control.server(mesh, node)) == answered(
        headscale_control.server(granular, node)
    )


@pytest.mark.parametrize(("version", "user"), [(NOW, "1"), (THEN, "mesh")])
def test_a_key_is_for_our_user_as_the_version_names_it(version: str, user: str, bed: Testbed) -> None:
    """By the user's number today, by its name then."""
    plan = answered(headscale_control.key(mesh_of(bed, "headscale-direct", told(version)), bed.node(CONTROL)))
    (made,) = plan.steps
    assert isinstance(made, Command)
    assert ("mesh", user) == made.argv[5:7]


def test_a_peer_relay_needs_a_grant(bed: Testbed) -> None:
    """Members may use it by a grant beside the access rules; a Headscale without grants is refused in a sentence."""
    mesh = mesh_of(bed, "headscale-peer-relay", told(NOW))
    assert headscale_control.policy(mesh) == {
        "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
        "grants": [{"src": ["mesh@"], "dst": ["mesh@"], "app": {"tailscale.com/cap/relay": []}}],
    }
    with pytest.raises(CheckError, match=r"knows no grants, which a peer relay needs: take 0.29 and newer"):
        headscale_control.policy(mesh_of(bed, "headscale-peer-relay", told(THEN)))


def test_only_a_peer_relay_needs_a_client_on_the_relay_node() -> None:
    """There it is missing before anything is touched; DERP's scenarios need none there."""
    solution = headscale.SOLUTION
    more = set(solution.needed(scenario_named("headscale-peer-relay"))) - set(solution.binaries)
    assert {(one.name, one.at) for one in more} == {
        ("tailscaled", MeshRole.RELAY),
        ("tailscale", MeshRole.RELAY),
    }
    assert solution.needed(scenario_named("headscale-relay")) == solution.binaries


def test_a_peer_relay_is_told_its_port_once(bed: Testbed) -> None:
    """Only where the daemon has another port or none; only the relay node has these stages, before the members join."""
    mesh = mesh_of(bed, "headscale-peer-relay", told(NOW))
    stages = {stage.name: stage for stage in headscale.SOLUTION.stages(mesh)}
    stage = stages["peer-relay"]
    assert list(stages)[-4:] == ["relay-daemon", "relay-member", "peer-relay", "members"]
    assert stage.nodes == ("relay",)
    assert answered(stage.plan(mesh, bed.relay), 0, '{"RelayServerPort": null}').steps
    assert not answered(stage.plan(mesh, bed.relay), 0, '{"RelayServerPort": 41642}')
    assert "peer-relay" not in {
        stage.name for stage in headscale.SOLUTION.stages(mesh_of(bed, "headscale-relay"))
    }


def test_only_relay_scenarios_force_the_relay(bed: Testbed) -> None:
    """The client is told to use DERP only where the scenario says so; the packet filter is the same always."""
    direct = headscale.daemon(mesh_of(bed, "headscale-direct")).environment
    relayed = headscale.daemon(mesh_of(bed, "headscale-relay")).environment
    by_peer = headscale.daemon(mesh_of(bed, "headscale-peer-relay")).environment
    assert {k: v for k, v in relayed.items() if k not in direct} == {"TS_DEBUG_ALWAYS_USE_DERP": "true"}
    assert {k: v for k, v in by_peer.items() if k not in direct} == {"TS_DEBUG_NEVER_DIRECT_UDP": "true"}
    assert {key: direct[key] for key in direct if key.startswith("TS_")} == {
        "TS_DEBUG_MTU": "1280",
        "TS_DEBUG_FIREWALL_MODE": "nftables",
    }


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


def test_derp_is_no_path_where_a_peer_relay_is_wanted(bed: Testbed, captured: Path) -> None:
    """Before a peer relay is found, and when it is lost, DERP carries the packets: named, and not measured."""
    said = worker1_said(captured, "headscale-relay")
    found = headscale.parse_status(mesh_of(bed, "headscale-peer-relay"), bed.node("worker1"), said)
    assert found == (
        Peer("k8s-master", None, RELAY, "DERP vpnmesh"),
        Peer("worker2", None, RELAY, "DERP vpnmesh"),
    )


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
