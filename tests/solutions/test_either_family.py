"""Members that have IPv6 alone, IPv4 alone or both: how each is reached, and what solutions make of it."""

import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path as FilePath
from typing import Any

import pytest

from tests.solutions.meshes import said
from vpnmesh.errors import UnavailableError
from vpnmesh.host import dual_stack
from vpnmesh.host.dual_stack import BOTH, IPV4_ALONE, IPV6_ALONE, Families, written
from vpnmesh.model import Path, Testbed
from vpnmesh.plan import Command, Completed
from vpnmesh.solutions import nebula, solution_named
from vpnmesh.solutions.headscale_control import derp_map
from vpnmesh.solutions.netbird_control import management_config
from vpnmesh.solutions.protocol import Mesh, Peer
from vpnmesh.solutions.wireguard import _endpoint
from vpnmesh.study.checks import right_endpoints
from vpnmesh.study.scenarios import scenario_named

KEYS = {
    ("hypervisor", "store-key"): "k",
    ("relay", "secret"): "s",
    **{(name, "console-key"): "c" for name in ("worker1", "worker2", "k8s-master", "hypervisor", "relay")},
}


def mesh_of(bed: Testbed, scenario: str, **families: Families) -> Mesh:
    """A mesh on an underlay of both, but for these nodes."""
    all_of = dict.fromkeys((node.name for node in bed.nodes), BOTH)
    return Mesh(bed, scenario_named(scenario), KEYS, families=all_of | families)


def regions_of(mesh: Mesh) -> list[Any]:
    """The relays that Headscale's clients are told of."""
    regions: Any = derp_map(mesh)["regions"]
    return list(regions.values())


def test_an_address_says_vlan_and_number(bed: Testbed) -> None:
    """The digits of both, in a prefix of ours, so that a reader of packets knows the node."""
    worker = bed.node("worker1")
    number = int(worker.underlay) - int(bed.vlan(worker.leg.vid).prefix.network_address)
    assert str(dual_stack.address_of(bed, worker.leg)) == f"fd76:706e:6d65:{worker.leg.vid}::{number:x}/64"
    every = [dual_stack.address_of(bed, leg).ip for node in bed.nodes for leg in node.legs]
    assert len(set(every)) == len(every)
    assert all(one in dual_stack.UNDERLAY for one in every)


def test_a_mesh_of_ipv4_is_as_it_was(bed: Testbed) -> None:
    """One address each, whoever asks; an endpoint of IPv6 is on no path that it has."""
    mesh = Mesh(bed, scenario_named("wireguard-direct"))
    one, other = bed.node("worker1"), bed.node("worker2")
    assert mesh.addresses(one) == (one.underlay,)
    assert mesh.reached(one, other) == mesh.server(one) == one.underlay
    assert mesh.endpoint("[fd76::1]:51820") is None
    assert mesh.endpoint("192.88.99.10:51820") == IPv4Address("192.88.99.10")


def test_who_reaches_whom_by_which_family(bed: Testbed) -> None:
    """IPv6 where both have it, IPv4 where that is in common, and no address at all where nothing is."""
    mesh = mesh_of(bed, "wireguard-direct", worker1=IPV4_ALONE, worker2=IPV6_ALONE)
    one, other, master = bed.node("worker1"), bed.node("worker2"), bed.master
    assert mesh.reached(one, other) is None
    assert mesh.reached(one, master) == one.underlay
    assert mesh.reached(other, master) == dual_stack.address_of(bed, other.leg).ip
    assert _endpoint(mesh, one, other) == "(none)"
    assert _endpoint(mesh, master, other) == f"[{mesh.reached(other, master)}]:51821"
    assert mesh.endpoint("[fd76:706e:6d65:30::2]:7") == IPv6Address("fd76:706e:6d65:30::2")
    peer = Peer("worker2", Path.DIRECT, None)
    assert right_endpoints(mesh, "k8s-master", peer) == mesh.addresses(other)


def test_one_name_for_all_where_no_address_is(bed: Testbed) -> None:
    """NetBird tells every client the same signal server and relay; Headscale's clients are told by us, each its own."""
    alike = mesh_of(bed, "netbird-direct", worker2=IPV6_ALONE)
    control = bed.control_plane
    signal = management_config(alike)["Signal"]
    assert signal == {"Proto": "http", "URI": written(alike.addresses(control)[0], 10000)}
    mixed = mesh_of(bed, "netbird-direct", worker1=IPV4_ALONE, worker2=IPV6_ALONE)
    named = management_config(mixed)
    assert named["Signal"] == {"Proto": "http", "URI": "hypervisor.underlay.vpnmesh.internal:10000"}
    assert named["Stuns"] == [{"Proto": "udp", "URI": "stun:relay.underlay.vpnmesh.internal:3478"}]
    assert solution_named("netbird").unbuildable_reason(mixed) == ""
    with pytest.raises(UnavailableError, match=r"no address of .* worker1 has IPv4, worker2 has IPv6"):
        mixed.server(control)
    assert mixed.server(control, bed.node("worker1")) == control.underlay
    assert mixed.server(control, bed.node("worker2")) == dual_stack.address_of(bed, control.leg).ip


def test_a_server_that_is_told_by_name_is_that_node(bed: Testbed) -> None:
    """In what a daemon says of its relay; where the underlay is IPv4 alone no node has such a name."""
    mixed = mesh_of(bed, "netbird-direct", worker1=IPV4_ALONE, worker2=IPV6_ALONE)
    named = f"{dual_stack.name_of(bed.relay)}:443"
    assert mixed.endpoint(named) in mixed.addresses(bed.relay)
    assert mixed.endpoint("stranger.underlay.vpnmesh.internal:443") is None
    assert Mesh(bed, scenario_named("netbird-direct")).endpoint(named) is None


def test_names_are_put_into_hosts_and_taken_back_alone(bed: Testbed, tmp_path: FilePath) -> None:
    """By the node's own shell, twice, as a killed run leaves it; what else is in the file stays, with its mode."""
    hosts, state = tmp_path / "hosts", tmp_path / "dual-stack"
    hosts.write_text("127.0.0.1 localhost\n192.88.99.26 relay.of.somebody\n")
    hosts.chmod(0o640)
    before = hosts.read_text()
    given = dual_stack.given(bed, bed.node("worker1"), BOTH).parse(said("", "")).steps[0]
    assert isinstance(given, Command)
    names = next(word for word in given.argv if "relay.underlay.vpnmesh.internal" in word)
    assert f"{bed.relay.underlay} relay.underlay.vpnmesh.internal" in names.splitlines()
    assert len(names.splitlines()) == 2 * len([one for one in bed.nodes if one.legs])

    def shell(script: str, *words: str) -> None:
        script = script.replace("hosts=/etc/hosts", f"hosts={hosts}")
        subprocess.run(["sh", "-c", script, "sh", str(state), *words], check=True, capture_output=True)

    for _ in range(2):
        shell(given.argv[2], "", "", names)
        assert hosts.read_text() == f"{before}{names}\n"
    back = dual_stack.go_home().argv[2]
    for _ in range(2):
        shell(back)
        assert hosts.read_text() == before
    assert hosts.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["hosts"]


def test_servers_are_written_with_all_their_addresses(bed: Testbed) -> None:
    """Nebula's lighthouse and the DERP relay, so that a client of either family finds them."""
    mesh = mesh_of(bed, "nebula-relay")
    configured = nebula.config(mesh, bed.node("worker1"))
    (listed,) = configured["static_host_map"].values()  # type: ignore[attr-defined]
    assert listed == [
        f"[{dual_stack.address_of(bed, bed.control_plane.leg).ip}]:4242",
        f"{bed.control_plane.underlay}:4242",
    ]
    assert configured["listen"] == {"host": "::", "port": 4242}
    (region,) = regions_of(mesh)
    assert region["nodes"][0]["ipv6"] == str(dual_stack.address_of(bed, bed.relay.leg).ip)
    former = Mesh(bed, scenario_named("nebula-relay"), KEYS)
    assert nebula.config(former, bed.node("worker1"))["listen"] == {
        "host": str(bed.node("worker1").underlay),
        "port": 4242,
    }
    (region,) = regions_of(former)
    assert region["nodes"][0]["ipv6"] == "none"


@pytest.mark.parametrize(
    ("families", "held", "named", "does"),
    [
        (BOTH, "46", True, False),
        (BOTH, "46", False, True),
        (BOTH, "4", True, True),
        (IPV6_ALONE, "46", True, True),
        (IPV4_ALONE, "46", True, True),
        (IPV4_ALONE, "4", True, False),
        (IPV4_ALONE, "4", False, True),
    ],
)
def test_only_what_differs_is_changed(
    families: Families, held: str, bed: Testbed, *, named: bool, does: bool
) -> None:
    """A node that has what it should is left alone; one of IPv4 alone gets names, and no address."""
    node = bed.node("worker1")
    six = str(dual_stack.address_of(bed, node.leg))
    there = [f"2: x    inet {node.leg.address} scope global"] if "4" in held else []
    there += [f"2: x    inet6 {six} scope global"] if "6" in held else []
    plan = dual_stack.given(bed, node, families).parse(
        [*said("\n".join(there)), *said(names_of(bed) if named else "")]
    )
    words = [one.argv for one in plan.steps if isinstance(one, Command)]
    assert bool(plan) is does
    if does:
        assert ("alone" in words[0]) is (families == IPV6_ALONE)
        assert (six in words[0]) is (families != IPV4_ALONE)
        assert names_of(bed) in words[0]


def names_of(bed: Testbed) -> str:
    """The lines of /etc/hosts that nodes get."""
    there = [node for node in bed.nodes if node.legs]
    return "\n".join(
        f"{address} {dual_stack.name_of(node)}"
        for node in there
        for address in dual_stack.addresses(bed, node, BOTH)
    )


def test_the_firewall_forwards_and_has_no_gateway(bed: Testbed) -> None:
    """Nodes go through it to the whole prefix; nothing is there to undo where no file is."""
    plan = dual_stack.given(bed, bed.firewall, BOTH).parse(
        [Completed((), 0, "", "")] * (len(bed.firewall.legs) + 1)
    )
    (command,) = (one for one in plan.steps if isinstance(one, Command))
    assert "forwards" in command.argv
    assert not any(word.endswith(str(dual_stack.UNDERLAY)) for word in command.argv)
    assert not dual_stack.at_home().parse([Completed((), 0, "", "")])
    assert dual_stack.at_home().parse([Completed((), 0, "ours eth0 fd00::1/64\n", "")])


def test_zerotiers_root_is_named_in_each_family_that_it_has(bed: Testbed) -> None:
    """In the one world that all nodes get; where the testbed is IPv4 alone, by that alone."""
    for families, count in ((BOTH, 2), (IPV4_ALONE, 1)):
        mesh = mesh_of(bed, "zerotier-direct", relay=families)
        world = next(one for one in solution_named("zerotier").stages(mesh) if one.name == "world")
        (step,) = world.plan(mesh, bed.relay).parse([Completed((), 1, "", "")]).steps
        assert isinstance(step, Command)
        endpoints = step.argv[-1].split(", ")
        assert f'"{bed.relay.underlay}/9993"' in endpoints
        assert len(endpoints) == count
