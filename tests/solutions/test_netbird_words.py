"""NetBird: one kind of relay at a time, secrets that stay hidden, and what is read from its own words."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.golden.goldens import answered
from tests.solutions.meshes import mesh_of, named_keys, said, texts
from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Testbed
from vpnmesh.model import Path as Way
from vpnmesh.plan import Command, Plan, reveal
from vpnmesh.solutions import netbird, netbird_control, solution_named
from vpnmesh.solutions.protocol import Peer, Status
from vpnmesh.study.checks import check_endpoints

RELAY = IPv4Address("192.88.99.26")
MASTER, WORKER2 = IPv4Address("192.88.99.2"), IPv4Address("192.88.99.18")
OWN = "rels://192.88.99.26:443"
WS, QUIC = f"{OWN} (ws)", f"{OWN} (quic)"


def worker1_said(captured: Path, scenario: str) -> str:
    """The captured status, its nodes' keys those of the tests' meshes."""
    text = (captured / "netbird" / f"{scenario}-worker1.json").read_text()
    details = json.loads(text)["peers"]["details"]
    return named_keys(text, {entry["fqdn"].split(".")[0]: entry["publicKey"] for entry in details})


@pytest.mark.parametrize(
    ("scenario", "peers"),
    [
        (
            "netbird-direct",
            (Peer("k8s-master", Way.DIRECT, MASTER), Peer("worker2", Way.DIRECT, WORKER2)),
        ),
        (
            "netbird-relay",
            (Peer("k8s-master", Way.RELAY, RELAY, "TURN"), Peer("worker2", Way.RELAY, RELAY, "TURN")),
        ),
        (
            "netbird-relay-tcp",
            (Peer("k8s-master", Way.RELAY, RELAY, WS), Peer("worker2", Way.RELAY, RELAY, WS)),
        ),
        (
            "netbird-relay-quic",
            (Peer("k8s-master", Way.RELAY, RELAY, QUIC), Peer("worker2", Way.RELAY, RELAY, QUIC)),
        ),
    ],
)
def test_peers_are_read_from_captured_status(
    scenario: str, peers: tuple[Peer, ...], bed: Testbed, captured: Path
) -> None:
    """Direct, TURN and NetBird's own relay are told apart, and over which transport it is reached."""
    text = worker1_said(captured, scenario)
    assert peers == netbird.parse_status(mesh_of(bed, scenario), bed.node("worker1"), text)


def test_one_end_that_says_p2p_over_turn_is_relayed(bed: Testbed, captured: Path) -> None:
    """The far end's view: its own candidate is a host, the other's is the relay's; that is no direct path."""
    document = json.loads(worker1_said(captured, "netbird-direct"))
    for entry in document["peers"]["details"]:
        entry["iceCandidateEndpoint"]["remote"] = "192.88.99.26:49160"
        entry["iceCandidateType"] = {"local": "host", "remote": "relay"}
    found = netbird.parse_status(mesh_of(bed, "netbird-direct"), bed.node("worker1"), json.dumps(document))
    assert [peer.path for peer in found] == [Way.RELAY, Way.RELAY]


@pytest.mark.parametrize(
    ("scenario", "said", "shown"),
    [
        ("netbird-relay", '"local":"192.88.99.26:', '"local":"198.18.213.14:'),
        ("netbird-relay-tcp", "rels://192.88.99.26:443", "rels://198.18.213.14:443"),
    ],
)
def test_a_relay_is_where_netbird_says_it_is(
    scenario: str, said: str, shown: str, bed: Testbed, captured: Path
) -> None:
    """The endpoint of a relayed peer is read, not taken from the inventory: our TURN address, or the relay's URL."""
    text = worker1_said(captured, scenario)
    assert said in text
    found = netbird.parse_status(mesh_of(bed, scenario), bed.node("worker1"), text.replace(said, shown))
    assert {(peer.path, peer.endpoint) for peer in found} == {(Way.RELAY, IPv4Address("198.18.213.14"))}


def test_a_direct_path_over_management_is_shown_as_that(bed: Testbed, captured: Path) -> None:
    """NetBird's word for it is P2P as well; the endpoint tells."""
    text = worker1_said(captured, "netbird-direct").replace("192.88.99.18:51820", "198.18.213.13:51820")
    mesh = mesh_of(bed, "netbird-direct")
    peers = netbird.parse_status(mesh, bed.node("worker1"), text)
    assert Peer("worker2", Way.DIRECT, IPv4Address("198.18.213.13")) in peers
    with pytest.raises(CheckError, match=r"worker2 at 198\.18\.213\.13, worker2's management address"):
        check_endpoints(mesh, "worker1", Status(DataPlane.USERSPACE, "wt0", None, 1280, peers))


def test_a_peer_that_is_connecting_has_no_path(bed: Testbed, captured: Path) -> None:
    """What is left of a former connection in the status is not believed."""
    document = json.loads(worker1_said(captured, "netbird-direct"))
    for entry in document["peers"]["details"]:
        entry["status"] = "Connecting"
    found = netbird.parse_status(mesh_of(bed, "netbird-direct"), bed.node("worker1"), json.dumps(document))
    assert (Peer("k8s-master", None, None), Peer("worker2", None, None)) == found


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"peers": null}', '{"peers": {"details": 3}}'])
def test_a_daemon_that_says_nothing_has_no_peers(text: str, bed: Testbed) -> None:
    """No answer is no path, and nothing is raised."""
    nobody = (Peer("k8s-master", None, None), Peer("worker2", None, None))
    assert nobody == netbird.parse_status(mesh_of(bed, "netbird-direct"), bed.node("worker1"), text)


def test_management_keeps_its_database_key_over_restarts(bed: Testbed) -> None:
    """It writes a key of its own into a configuration without one, which the next start would overwrite."""
    assert (
        netbird_control.management_config(mesh_of(bed, "netbird-direct"))["DataStoreEncryptionKey"]
        == "store-key-of-this-test"
    )


def test_management_names_one_kind_of_relay(bed: Testbed) -> None:
    """With coturn there is no own relay to fall back to, and the other way round."""
    turn = netbird_control.management_config(mesh_of(bed, "netbird-relay"))
    own = netbird_control.management_config(mesh_of(bed, "netbird-relay-tcp"))
    assert "Relay" not in turn
    assert own["TURNConfig"]["Turns"] == []  # type: ignore[index]
    assert own["Relay"]["Addresses"] == [OWN]  # type: ignore[index]
    assert turn["TURNConfig"]["Turns"][0]["URI"] == "turn:192.88.99.26:3478"  # type: ignore[index]


@pytest.mark.parametrize(
    ("scenario", "forced"),
    [
        ("netbird-direct", set()),
        ("netbird-relay", {"NB_ICE_FORCE_RELAY_CONN"}),
        ("netbird-relay-tcp", {"NB_FORCE_RELAY"}),
        ("netbird-relay-quic", {"NB_FORCE_RELAY"}),
    ],
)
def test_relay_scenarios_force_their_relay(scenario: str, forced: set[str], bed: Testbed) -> None:
    """Each kind of relay has its own switch; the direct scenario has none."""
    environment = netbird.daemon(mesh_of(bed, scenario)).environment
    assert forced == {key for key in environment if "FORCE" in key}


@pytest.mark.parametrize(
    ("scenario", "transport"),
    [
        ("netbird-direct", "ws"),
        ("netbird-direct-quic", "prefer-quic"),
        ("netbird-relay", None),
        ("netbird-relay-tcp", "ws"),
        ("netbird-relay-ws", "ws"),
        ("netbird-relay-quic", "quic"),
    ],
)
def test_clients_are_told_their_relays_transport(scenario: str, transport: str | None, bed: Testbed) -> None:
    """Never left to a race of both; with coturn there is nothing to tell."""
    assert netbird.daemon(mesh_of(bed, scenario)).environment.get("NB_RELAY_TRANSPORT") == transport


def test_a_transport_beside_coturn_is_refused(bed: Testbed) -> None:
    """It would be ignored, and the scenario's name would say what is not so."""
    mesh = mesh_of(bed, "netbird-relay")
    assert netbird.NetBird().unbuildable_reason(mesh) == ""
    wrong = replace(mesh, scenario=replace(mesh.scenario, options={"relay": "turn", "transport": "quic"}))
    assert netbird.NetBird().unbuildable_reason(wrong) == (
        "netbird-relay: transport is of NetBird's own relay; write relay: own, or leave transport out"
    )


@pytest.mark.parametrize("relays", ["null", "[]", '{"details": 3}', '{"details": [{"uri": null}, 4]}'])
def test_a_relay_of_unknown_transport_is_only_its_address(relays: str, bed: Testbed, captured: Path) -> None:
    """As clients before 0.77 speak of it, or a cut answer does."""
    document = json.loads(worker1_said(captured, "netbird-relay-tcp")) | {"relays": json.loads(relays)}
    found = netbird.parse_status(mesh_of(bed, "netbird-relay-tcp"), bed.node("worker1"), json.dumps(document))
    assert {peer.via for peer in found} == {OWN}


@pytest.mark.parametrize("scenario", ["netbird-direct", "netbird-relay", "netbird-relay-tcp"])
def test_no_secret_shows_in_any_plan(scenario: str, bed: Testbed) -> None:
    """Every stage's plan on a fresh node, as logs, diffs and results show it, is free of the secrets."""
    mesh = mesh_of(bed, scenario)
    plans = []
    for stage in solution_named("netbird").stages(mesh):
        for name in stage.nodes:
            fact = stage.plan(mesh, bed.node(name))
            plans.append(fact.parse(said(*("" for _ in fact.commands), exit_code=1)))
    shown = "\n".join(texts(plan) for plan in plans)
    named = (("relay", "secret"), ("hypervisor", "setup-key"), ("hypervisor", "store-key"))
    secrets = [reveal(mesh.published_by(*one)) for one in named]
    assert [secret for secret in secrets if secret in shown] == []
    assert all(isinstance(plan, Plan) for plan in plans)


def test_policies_are_replaced_by_name(bed: Testbed) -> None:
    """Going from coarse to granular adds three policies and deletes the one; a second look finds nothing to do."""
    mesh = mesh_of(bed, "netbird-direct")
    granular = replace(mesh, scenario=replace(mesh.scenario, options={"access": "granular"}))
    stage = next(one for one in netbird.NetBird().stages(granular) if one.name == "policy")
    fact = stage.plan(granular, bed.node("hypervisor"))
    groups = json.dumps([{"name": "All", "id": "g0"}, {"name": "members", "id": "g1"}])
    plan = fact.parse(said(groups, json.dumps([{"name": "members", "id": "p1"}])))
    methods = [step.argv[step.argv.index("-X") + 1] for step in plan.steps]  # type: ignore[union-attr]
    assert methods == ["POST", "POST", "POST", "DELETE"]
    names = [{"name": name, "id": name} for name in ("vxlan", "kubernetes", "ping")]
    assert not fact.parse(said(groups, json.dumps(names)))


@pytest.mark.parametrize("words", ["[]", "null", "{", "3", '["Running"]'])
def test_a_daemon_that_answers_nonsense_is_asked_to_join(words: str, bed: Testbed) -> None:
    """A list or null in place of the state: the stage plans the join, and its diff says what was known before."""
    mesh = mesh_of(bed, "netbird-direct")
    stage = netbird.NetBird().stages(mesh)[-1]
    plan = answered(stage.plan(mesh, bed.node("worker1")), 0, words)
    assert [step.argv[0] for step in plan.steps if isinstance(step, Command)][:1] == ["netbird"]
    assert plan.diff.splitlines()[-2:] == ["-not known", "+Connected"]
    with pytest.raises(CheckError, match=r"no .* in the answer"):
        answered(stage.publish(mesh, bed.node("worker1")), 0, words)


def test_a_peer_left_from_an_earlier_run_is_not_taken_for_its_successor(bed: Testbed, captured: Path) -> None:
    """A node that joined anew has its old name twice in the list; only its present key counts."""
    document = json.loads(worker1_said(captured, "netbird-direct"))
    details = document["peers"]["details"]
    old = dict(next(entry for entry in details if entry["fqdn"].startswith("worker2.")))
    details.append({**old, "publicKey": "the old one", "status": "Connecting"})
    found = netbird.parse_status(mesh_of(bed, "netbird-direct"), bed.node("worker1"), json.dumps(document))
    assert Peer("worker2", Way.DIRECT, WORKER2) in found
