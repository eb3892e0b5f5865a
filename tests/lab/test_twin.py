"""The twin of a testbed: names, VLANs, prefixes, addresses and roles stay; all else is a stated difference."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from inventory.load import BUILT_IN, load
from vpnmesh.documents.inventory_text import InventoryText
from vpnmesh.errors import InputError
from vpnmesh.lab.__main__ import main
from vpnmesh.lab.inventory_files import read_inventory
from vpnmesh.lab.sizes import write_inventory
from vpnmesh.lab.topology import plan_topology
from vpnmesh.lab.twin import Difference, Machine, Twin, differences, plan_twin, port_rate_of
from vpnmesh.lab.twin_command import lab_login
from vpnmesh.model import NodeKind

BAREMETAL = BUILT_IN / "baremetal"
ROLES = {
    3: (("role__k8s-master", "role__k8s-worker"), ("role__k8s-worker", "role__relay", "role__hypervisor")),
    6: (
        ("role__k8s-master",),
        ("role__k8s-worker",),
        ("role__k8s-worker",),
        ("role__relay",),
        ("role__hypervisor",),
    ),
}


def owners(size: int, data: Mapping[str, object] | None = None) -> InventoryText:
    """A testbed of so many nodes behind one firewall, with VLANs that are numbered in no order."""
    roles = [*ROLES[min(size, 6)], *[("role__k8s-worker",)] * (size - 6)]
    groups: dict[str, dict[str, object]] = {
        role: {} for role in ("role__firewall", *dict.fromkeys(sum(roles, ())))
    }
    hosts: dict[str, dict[str, object]] = {}
    vids = [4094 - 7 * n for n in range(len(roles))]
    for n, (vid, own) in enumerate(zip(vids, roles, strict=True)):
        net = IPv4Network(f"10.{n + 1}.0.0/{20 + n % 8}")
        groups[f"vlan__{vid}"] = {"data": {"name": f"v{n}", "prefix": str(net), "gateway": str(net[-2])}}
        underlay = f"{net[5]}/{net.prefixlen}"
        own_data = {"kind": "metal", "underlay": underlay, "interface": f"enp{n}s0", **(data or {})}
        hosts[f"site-node{n}"] = {
            "hostname": f"node{n}.example.net",
            "username": "root",
            "groups": [*own, f"vlan__{vid}"],
            "data": own_data,
        }
    vlans = [f"vlan__{vid}" for vid in vids]
    legs = {vid: f"igb0.{vid}" for vid in vids}
    hosts["gw"] = {
        "hostname": "gw.example.net",
        "groups": ["role__firewall", *vlans],
        "data": {
            "kind": "metal",
            "legs": legs,
            "firewall_driver": "pfsense-rest",
            "pfsense_url": "https://gw",
        },
    }
    defaults = {
        "username": "ops",
        "data": {"testbed": "mine", "overlay": "10.213.0.0/24", "pods": "10.136.0.0/16"},
    }
    return InventoryText(hosts, groups, defaults)


def twin_of(text: InventoryText, *taken: str) -> Twin:
    return plan_twin(text, lab_login(), "mine", tuple(IPv4Network(one) for one in taken))


def rows_of(twin: Twin) -> dict[str, Difference]:
    return {one.matter: one for one in differences(twin, Machine(2, "6.1", 1000.0))}


@pytest.mark.parametrize("size", [3, 6, 24])
def test_names_vlans_addresses_and_roles_are_the_same(size: int) -> None:
    """At every size; kinds and the way in are the lab's, and it can be built."""
    twin = twin_of(owners(size))
    assert len(twin.testbed.nodes) == size
    for real, copy in zip(twin.real.nodes, twin.testbed.nodes, strict=True):
        assert (real.name, real.roles, real.legs) == (copy.name, copy.roles, copy.legs)
        assert copy.kind is NodeKind.NETNS
        assert IPv4Address(copy.management) in IPv4Network("198.18.213.0/24")
    assert twin.real.vlans == twin.testbed.vlans
    assert (twin.real.overlay, twin.real.pods) == (twin.testbed.overlay, twin.testbed.pods)
    built = plan_topology(twin.testbed, port_rate_mbit_s=1000)
    assert len(built.vlan_ports) == 2 * (size - 1)


def test_prefixes_that_this_machine_uses_too_stay_and_management_moves() -> None:
    """VLANs never reach this machine, so they may be the same as its own; management does, and goes elsewhere."""
    text = owners(6)
    twin = twin_of(text, "10.1.0.0/16", "198.18.213.0/25", "198.18.0.0/24")
    assert twin.real.vlans == twin.testbed.vlans
    assert twin.testbed.nodes[0].management == "198.18.1.11"


def test_management_is_outside_of_what_the_testbed_uses() -> None:
    """Pods and overlay count as well as VLANs."""
    text = owners(6)
    data = {"testbed": "mine", "overlay": "198.18.213.0/24", "pods": "198.18.0.0/17"}
    twin = twin_of(InventoryText(text.hosts, text.groups, {"data": data}))
    assert twin.testbed.nodes[0].management == "198.18.128.11"


def test_no_secret_and_no_login_comes_along() -> None:
    """What the inventory holds beside names and addresses stays where it is."""
    text = owners(6, {"sudo_password": "hunter2", "cores": 4, "rack": 12})
    written = yaml.safe_dump([twin_of(text).text.hosts, twin_of(text).text.groups])
    for word in ("hunter2", "sudo_password", "root", "pfsense", "cores", "rack"):
        assert word not in written
    assert twin_of(text).text.defaults["username"] == "mesh"


def test_what_differs_is_named() -> None:
    """Firewall, cores, rates, kernel and the way in; the firewall by the driver that is not there."""
    rows = rows_of(twin_of(owners(3, {"cores": 4, "link_mbit_s": 100})))
    assert rows["cores"].real == "site-node0 4, site-node1 4"
    assert rows["rates"].real == "site-node0 100 Mbit/s, site-node1 100 Mbit/s"
    assert rows["firewall"].real == "gw by driver pfsense-rest"
    assert rows["firewall"].twin.startswith("nftables: the same policies, but")
    assert "6.1" in rows["kernel"].twin
    assert rows["management"].real == "node0.example.net to gw.example.net"


def test_an_interface_shared_with_management_is_not_shared_in_the_twin() -> None:
    """The lab's management is a port of its own, which is said."""
    twin = twin_of(owners(3, {"management_interface": "enp0s0"}))
    assert [node.management_interface for node in twin.testbed.nodes] == ["mgmt0", "enp0s0", "mgmt0"]
    assert rows_of(twin)["management's interface"].real == "on the underlay's interface of site-node0"


@pytest.mark.parametrize(("stated", "wanted"), [(100, 100.0), (10_000, 1000.0), (None, 1000.0)])
def test_the_rate_is_the_least_that_is_stated(stated: int | None, wanted: float) -> None:
    """Never more than what the lab's ports have by themselves."""
    text = owners(3, {} if stated is None else {"link_mbit_s": stated})
    assert wanted == port_rate_of(twin_of(text).real, 1000.0)


def test_a_25th_node_is_refused() -> None:
    """With the way out."""
    with pytest.raises(InputError, match="mine: 25 nodes; a twin has at most 24"):
        twin_of(owners(25))


def test_ipv6_is_refused_in_a_sentence() -> None:
    """An underlay that the inventory cannot express is named with host and key."""
    text = owners(3, {"underlay": "2001:db8::2/64"})
    with pytest.raises(InputError, match="mine: site-node0: underlay: '2001:db8::2/64' is no IPv4 address"):
        twin_of(text)


def test_an_interface_that_only_another_system_has_is_refused() -> None:
    """The kernel's names are not those of every appliance."""
    with pytest.raises(InputError, match="'wan@1' is no interface name"):
        plan_topology(twin_of(owners(3, {"interface": "wan@1"})).testbed, port_rate_mbit_s=None)


def test_a_dry_run_shows_nodes_and_differences_and_builds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's addresses are in the table, and the lab's directory is not made."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path / "lab"))
    done = CliRunner().invoke(main, ["up", "--like", str(BAREMETAL), "--dry-run"])
    assert done.exit_code == 0, done.output
    for text in ("10.10.40.10", "eno1.30", "5 metal, 1 vm", "shared by all nodes", "nothing was built"):
        assert text in done.output
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--like", "nowhere"], "--like: 'nowhere' is no folder with a hosts.yaml"),
        (["--like", "lab", "--nodes", "7"], "--like: goes with neither --inventory nor --nodes"),
        (["--dry-run"], "--dry-run: goes with --like"),
        (["--like", "twin"], "--like: no twin is up"),
    ],
)
def test_wrong_words_are_a_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and what to do."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path / "lab"))
    done = CliRunner().invoke(main, ["up", *words])
    assert done.exit_code == 2
    assert said in done.output


def test_other_commands_find_the_twin_in_the_labs_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name `twin`, logged in to with that lab's key."""
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path))
    write_inventory(twin_of(read_inventory(BAREMETAL)).text, tmp_path / "twin")
    nr, testbed = load("twin")
    assert testbed.name == "edge-twin"
    extras = nr.inventory.hosts["worker1"].get_connection_parameters("netmiko").extras or {}
    assert extras["key_file"] == str(tmp_path / "ssh" / "id_ed25519")
