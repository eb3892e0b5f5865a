"""What VPNs really said of their peers, and what they say on bad days."""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.golden.goldens import answered, replayed
from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Testbed
from vpnmesh.model import Path as Way
from vpnmesh.plan import Completed
from vpnmesh.solutions.nebula import parse_hostmap
from vpnmesh.solutions.protocol import Mesh, Peer, Status
from vpnmesh.solutions.wireguard import WireGuard
from vpnmesh.study.checks import check_endpoints, check_mesh
from vpnmesh.study.scenarios import scenario_named

MASTER, WORKER2 = IPv4Address("192.88.99.2"), IPv4Address("192.88.99.18")
RELAY = IPv4Address("192.88.99.26")
NOBODY = (Peer("k8s-master", None, None), Peer("worker2", None, None))


def nebula(bed: Testbed, text: str, scenario: str = "nebula-direct") -> tuple[Peer, ...]:
    mesh = Mesh(bed, scenario_named(scenario))
    return parse_hostmap(mesh, bed.node("worker1"), text)


def hostmap(captured: Path, case: str) -> str:
    return (captured / "nebula" / case / "stdout").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", ["direct", "direct-1.10"])
def test_nebula_direct(case: str, bed: Testbed, captured: Path) -> None:
    """Both members have a current remote, their own underlay address."""
    wanted = (Peer("k8s-master", Way.DIRECT, MASTER), Peer("worker2", Way.DIRECT, WORKER2))
    assert wanted == nebula(bed, hostmap(captured, case))


@pytest.mark.parametrize("case", ["relayed", "relayed-1.10"])
def test_nebula_relayed(case: str, bed: Testbed, captured: Path) -> None:
    """Neither member has a remote: both are behind the relay node, whose underlay address is the endpoint."""
    wanted = tuple(Peer(name, Way.RELAY, RELAY, via="10.213.0.4") for name in ("k8s-master", "worker2"))
    assert wanted == nebula(bed, hostmap(captured, case), "nebula-relay")


@pytest.mark.parametrize("case", ["direct", "relayed", "direct-1.10", "relayed-1.10"])
def test_a_hostmap_cut_anywhere_is_no_path(bed: Testbed, captured: Path, case: str) -> None:
    """A console that was cut off says nothing of anybody; it never raises, and never half of the peers."""
    text = hostmap(captured, case).rstrip()
    for cut in range(0, len(text), 7):
        assert nebula(bed, text[:cut]) == NOBODY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "null",
        "[]",
        "{}",
        "[null]",
        "[{}]",
        '[{"vpnAddrs": []}]',
        '"refused"',
        "ssh: connect to host 127.0.0.1 port 4243",
    ],
)
def test_an_ugly_hostmap_is_no_path(bed: Testbed, text: str) -> None:
    """Empty, null, no list, entries without an address, ssh's own words: no peer, no error."""
    assert nebula(bed, text) == NOBODY


def test_a_member_that_is_shaking_hands_has_no_path(bed: Testbed, captured: Path) -> None:
    """Neither remote nor relay is neither direct nor relayed, whatever addresses are known of it."""
    entries = json.loads(hostmap(captured, "direct"))
    for entry in entries:
        entry["currentRemote"] = None
    assert nebula(bed, json.dumps(entries)) == NOBODY


def test_a_relay_that_is_no_node_of_ours_is_named(bed: Testbed, captured: Path) -> None:
    """Relayed by somebody: the path is said, the endpoint is not known."""
    text = hostmap(captured, "relayed").replace('["10.213.0.4"]', '["10.213.0.77"]')
    assert Peer("worker2", Way.RELAY, None, via="10.213.0.77") == nebula(bed, text)[1]


@pytest.mark.parametrize(
    "remote",
    ["[2001:db8::7]:4242", "fe80::1", "192.88.99:4242", "nonsense", {"ip": "2001:db8::7", "port": 4242}, 7],
)
def test_a_remote_that_is_no_ipv4_is_named_and_no_path(bed: Testbed, captured: Path, remote: object) -> None:
    """IPv6 and what cannot be read: the path is unknown with Nebula's own word for it, and nothing is raised."""
    entries = json.loads(hostmap(captured, "direct"))
    for entry in entries:
        entry["currentRemote"] = remote
    assert Peer("worker2", None, None, via=str(remote)) == nebula(bed, json.dumps(entries))[1]


def wireguard_mesh(bed: Testbed, captured: Path) -> Mesh:
    keys = json.loads((captured / "wireguard" / "public-keys.json").read_text())
    published = {(node, "public-key"): key for node, key in keys.items()}
    return Mesh(bed, scenario_named("wireguard-direct"), published)


def test_wireguard_status(bed: Testbed, captured: Path) -> None:
    """wireguard-go's table: userspace, address, MTU 1280, and both members at their underlay addresses."""
    mesh = wireguard_mesh(bed, captured)
    fact = WireGuard().status(mesh, bed.node("worker1"))
    wanted = Status(
        DataPlane.USERSPACE,
        "vmwg0",
        IPv4Address("10.213.0.2"),
        1280,
        (Peer("k8s-master", Way.DIRECT, MASTER), Peer("worker2", Way.DIRECT, WORKER2)),
    )
    assert wanted == replayed(fact, captured / "wireguard" / "status" / "exchange.json")


def changed(captured: Path, index: int, before: str, after: str) -> list[Completed]:
    """The captured status, with one command's output changed."""
    said = json.loads((captured / "wireguard" / "status" / "exchange.json").read_text())
    assert before in said[index]["stdout"]
    said[index]["stdout"] = said[index]["stdout"].replace(before, after)
    return [Completed(tuple(one["argv"]), one["exit_code"], one["stdout"], one["stderr"]) for one in said]


def test_a_wireguard_peer_that_never_shook_hands_has_no_path(bed: Testbed, captured: Path) -> None:
    """A configured endpoint alone proves nothing: `latest-handshakes` prints 0."""
    mesh = wireguard_mesh(bed, captured)
    said = json.loads((captured / "wireguard" / "status" / "exchange.json").read_text())[1]["stdout"]
    stamp = said.splitlines()[1].split("\t")[1]
    status = WireGuard().status(mesh, bed.node("worker1")).parse(changed(captured, 1, stamp, "0"))
    assert Peer("worker2", None, None) == status.peer("worker2")
    with pytest.raises(CheckError, match="worker1 reaches worker2 not at all"):
        check_mesh(mesh, {"worker1": status, "worker2": status})


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("192.88.99.26", "relay's underlay address"),
        ("198.18.213.13", "worker2's management address"),
        ("10.136.0.65", "in the pod network"),
        ("203.0.113.7", "no underlay address"),
    ],
)
def test_a_wireguard_peer_that_roamed_is_refused_by_its_endpoint(
    bed: Testbed, captured: Path, endpoint: str, place: str
) -> None:
    """WireGuard knows no other than the direct path; where it leads to is for the endpoint check to judge."""
    mesh = wireguard_mesh(bed, captured)
    said = changed(captured, 0, "192.88.99.18:51821", f"{endpoint}:51821")
    status = WireGuard().status(mesh, bed.node("worker1")).parse(said)
    assert Peer("worker2", Way.DIRECT, IPv4Address(endpoint)) == status.peer("worker2")
    with pytest.raises(CheckError, match=f"worker1 reaches worker2 at {endpoint}, {place}") as caught:
        check_endpoints(mesh, "worker1", status)
    assert caught.value.stage == "endpoint"


def test_a_wireguard_peer_over_ipv6_is_named_and_no_path(bed: Testbed, captured: Path) -> None:
    """The VLANs have no IPv6: such an endpoint is on no path that a scenario has."""
    mesh = wireguard_mesh(bed, captured)
    said = changed(captured, 0, "192.88.99.18:51821", "[2001:db8::18]:51821")
    status = WireGuard().status(mesh, bed.node("worker1")).parse(said)
    assert Peer("worker2", None, None, via="[2001:db8::18]:51821") == status.peer("worker2")


def test_a_relay_that_nebula_reaches_elsewhere_is_seen(bed: Testbed, captured: Path) -> None:
    """The endpoint of a relayed peer is where Nebula really sends to, not where the inventory has the relay."""
    text = hostmap(captured, "relayed").replace(
        '"currentRemote":{"ip":"192.88.99.26"', '"currentRemote":{"ip":"198.18.213.14"'
    )
    peers = nebula(bed, text, "nebula-relay")
    assert Peer("worker2", Way.RELAY, IPv4Address("198.18.213.14"), via="10.213.0.4") == peers[1]


@pytest.mark.parametrize("index", [0, 1])
def test_a_wireguard_without_endpoints_has_no_path(bed: Testbed, captured: Path, index: int) -> None:
    """`(none)` for an endpoint, and a table that was cut inside a key."""
    mesh = wireguard_mesh(bed, captured)
    keys = mesh.published
    fact = WireGuard().status(mesh, bed.node("worker1"))
    endpoint = f"{keys['worker2', 'public-key']}\t192.88.99.18:51821"
    ugly = (endpoint.split("\t", maxsplit=1)[0] + "\t(none)", endpoint[:20])[index]
    status = fact.parse(changed(captured, 0, endpoint, ugly))
    assert Peer("worker2", None, None) == status.peer("worker2")


def test_wg_that_is_missing_says_nothing(bed: Testbed, captured: Path) -> None:
    """Exit 127 with a message is no peer, no interface, no error."""
    mesh = wireguard_mesh(bed, captured)
    status = answered(WireGuard().status(mesh, bed.node("worker1")), 127, "sh: 1: wg: not found\n")
    assert Status(DataPlane.NONE, "vmwg0", None, None, NOBODY) == status
