"""Guards know nodes by address: names are resolved, and addresses compared."""

import shutil
import socket
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from click.testing import CliRunner

from inventory.load import BUILT_IN as INVENTORIES
from inventory.load import load
from vpnmesh.doctor.finding import Grade
from vpnmesh.doctor.judge import judge_mtu
from vpnmesh.errors import InputError
from vpnmesh.model import Leg, NodeKind
from vpnmesh.study.scenarios import BUILT_IN
from workflows.doctor import main as doctor_command
from workflows.inventory import main as inventory_command
from workflows.run.addresses import refuse_controller, refuse_shared_addresses, same_machines

BAREMETAL = INVENTORIES / "baremetal"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What DNS says; every other name is unknown."""
    known: dict[str, str] = {}

    def getaddrinfo(name: str, *_more: object) -> list[tuple[object, ...]]:
        if name not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(None, None, None, "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_two_names_of_one_machine_are_refused(names: dict[str, str]) -> None:
    """Both are named, with the address."""
    bed = load("baremetal")[1]
    refuse_shared_addresses(bed)
    names |= {"worker1.example.net": "192.0.2.7", "relay.example.net": "192.0.2.8"}
    refuse_shared_addresses(bed)
    names["worker2.example.net"] = "192.0.2.7"
    with pytest.raises(
        InputError, match=r"^worker2: .*worker2.example.net' leads to 192.0.2.7, as worker1's does"
    ):
        refuse_shared_addresses(bed)


@pytest.mark.parametrize("node", ["worker1", "relay"])
def test_a_name_of_a_measured_address_is_refused(node: str, names: dict[str, str]) -> None:
    """Its own, or another node's: what is measured and cut there would be the way to it."""
    bed = load("baremetal")[1]
    names["worker1.example.net"] = str(bed.node(node).underlay)
    with pytest.raises(InputError, match=rf"^worker1: .* {node}'s measured address"):
        refuse_shared_addresses(bed)


def test_a_node_that_is_this_machine_is_refused(names: dict[str, str]) -> None:
    """By the address that it is managed at; one that is forwarded from a port of this machine is another machine."""
    nr, bed = load("baremetal")
    hosts = nr.inventory.hosts
    names["worker1.example.net"] = "192.0.2.7"
    refuse_controller(bed, hosts)
    names["worker1.example.net"] = "127.0.0.1"
    with pytest.raises(InputError, match=r"^worker1: is this machine itself: it has 127.0.0.1"):
        refuse_controller(bed, hosts)
    hosts["worker1"].port = 2222
    refuse_controller(bed, hosts)


def test_a_node_with_a_measured_address_of_this_machine_is_refused(names: dict[str, str]) -> None:
    """Also where it is managed at another address; a lab's nodes may have the same addresses as this machine."""
    del names
    nr, bed = load("baremetal")
    here = Leg(20, "eno1", IPv4Interface("127.0.0.9/8"))
    nodes = tuple(replace(node, legs=(here,)) if node.name == "relay" else node for node in bed.nodes)
    with pytest.raises(InputError, match=r"^relay: is this machine itself: it has 127.0.0.9"):
        refuse_controller(replace(bed, nodes=nodes), nr.inventory.hosts)
    lab = tuple(replace(node, kind=NodeKind.NETNS) for node in nodes)
    refuse_controller(replace(bed, nodes=lab), nr.inventory.hosts)


def test_validate_and_doctor_refuse_it_in_one_sentence(tmp_path: Path) -> None:
    """Exit code 2 and no traceback, before any node is asked."""
    folder = tmp_path / "mine"
    shutil.copytree(BAREMETAL, folder)
    hosts = folder / "hosts.yaml"
    text = hosts.read_text()
    assert "worker1.example.net" in text
    hosts.write_text(text.replace("worker1.example.net", "127.0.0.1"))
    for command, words in (
        (inventory_command, ["validate", str(folder)]),
        (doctor_command, ["--inventory", str(folder)]),
    ):
        done = CliRunner().invoke(command, words)
        assert done.exit_code == 2, done.output
        assert "worker1: is this machine itself: it has 127.0.0.1" in done.output.replace("\n", " ")


def test_a_standing_clusters_machines_are_known_by_any_name(names: dict[str, str]) -> None:
    """By name, by address, and by another name of the same address."""
    names |= {"a.example.net": "192.0.2.1", "b.example.net": "192.0.2.1", "192.0.2.1": "192.0.2.1"}
    assert same_machines(["a.example.net"], ["a.example.net"])
    assert same_machines(["a.example.net"], ["192.0.2.1"])
    assert same_machines(["a.example.net"], ["b.example.net"])
    assert not same_machines(["a.example.net"], ["c.example.net", "192.0.2.9"])


@pytest.mark.parametrize(
    ("asked", "chosen", "grade"),
    [
        (True, ("native-1450", "native-1230"), Grade.FATAL),
        (False, ("native-1450", "native-1230"), Grade.WARNING),
        (False, ("native-1450",), Grade.FATAL),
        (True, ("native-1230",), Grade.GOOD),
    ],
)
def test_a_small_mtu_is_judged_by_what_was_asked_for(
    chosen: tuple[str, ...], grade: Grade, *, asked: bool
) -> None:
    """1500 bytes are no condition for pods of 1230; of a profile's own scenarios the others still make a run."""
    bed = load("baremetal")[1]
    scenarios = [BUILT_IN.named(name) for name in chosen]
    found = judge_mtu(bed, bed.client, {bed.server.underlay: 1400}, scenarios, asked=asked)
    assert {one.grade for one in found} == {grade}
