"""What daemons say of their ways to a peer, from their own captured words; and what members must reach."""

import json

import pytest

from tests.conftest import ROOT
from vpnmesh.firewall.policy import Protocol
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.solutions import SOLUTIONS, solution_named
from vpnmesh.solutions.headscale import _ways as tailscale
from vpnmesh.solutions.nebula import _ways as nebula
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import BUILT_IN, scenario_named

CAPTURED = ROOT / "tests" / "captured"
BED = read_testbed(ROOT / "inventory" / "lab")


def peer_key(text: str) -> str:
    """The key of the first peer that is used."""
    peers = json.loads(text)["Peer"].values()
    return str(next(one["PublicKey"] for one in peers if one["CurAddr"] or one["Relay"]))


@pytest.mark.parametrize(
    ("name", "used"), [("headscale-direct", ":41641"), ("headscale-relay", "DERP vpnmesh")]
)
def test_tailscale_names_what_it_uses(name: str, used: str) -> None:
    text = (CAPTURED / "tailscale" / f"{name}-worker1.json").read_text()
    found = tailscale(text, peer_key(text))
    assert used in found.used
    assert str(found).startswith("names no candidates; uses ")


@pytest.mark.parametrize(
    ("remote", "used", "relays", "shown"),
    [
        ({"ip": "192.88.99.18", "port": 4242}, None, ["10.213.0.4"], "uses relay 10.213.0.4"),
        ("192.88.99.18:4242", "192.88.99.18:4242", [], "uses 192.88.99.18:4242"),
    ],
)
def test_nebula_names_all_addresses_in_both_of_its_shapes(
    remote: object, used: object, relays: list[str], shown: str
) -> None:
    """1.6 and 1.10."""
    entry = {
        "vpnIp": "10.213.0.3",
        "remoteAddrs": [remote],
        "currentRemote": used,
        "currentRelaysToMe": relays,
    }
    assert str(nebula(json.dumps([entry]), "10.213.0.3")) == f"knows 192.88.99.18:4242; {shown}"
    assert str(nebula("", "10.213.0.3")) == "names no candidates; uses none"


@pytest.mark.parametrize("name", BUILT_IN.names)
def test_listeners_are_on_nodes_and_relays_are_told(name: str) -> None:
    """A scenario that relays names its relay, where its solution names any listener at all."""
    scenario = scenario_named(name)
    solution = solution_named(scenario.solution)
    found = solution.listeners(Mesh(BED, scenario))
    assert {one.node for one in found} <= {BED.relay.name, BED.control_plane.name}
    assert all(one.protocol is Protocol.UDP for one in found if one.stun)
    if found and scenario.path == "relay":
        assert any(one.relays for one in found)


def test_every_vpn_has_a_fixed_port_or_none() -> None:
    mesh = Mesh(BED, scenario_named("native-1450"))
    assert {one.data_port(mesh) is None for one in SOLUTIONS.values() if not one.is_vpn} == {True}
