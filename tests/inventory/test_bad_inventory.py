"""Bad inventory names file, host and key in one sentence, before anything is touched."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from inventory.load import load
from vpnmesh.errors import InputError
from vpnmesh.model import NodeKind, Role

LAB = Path(__file__).resolve().parents[2] / "inventory" / "lab"
Change = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]


def written(tmp_path: Path, change: Change) -> Path:
    """The lab's inventory with one thing changed."""
    parts = {
        name: yaml.safe_load((LAB / f"{name}.yaml").read_text()) for name in ("hosts", "groups", "defaults")
    }
    parts = copy.deepcopy(parts)
    change(parts["hosts"], parts["groups"], parts["defaults"])
    for name, content in parts.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return tmp_path


def test_the_lab_inventory_is_six_nodes_in_their_roles() -> None:
    """The built-in lab is the paper's testbed: master, two workers, relay, firewall, hypervisor."""
    _, bed = load("lab")
    assert [n.name for n in bed.nodes] == [
        "k8s-master",
        "worker1",
        "worker2",
        "relay",
        "hypervisor",
        "firewall",
    ]
    assert (bed.client.name, bed.server.name) == ("worker1", "worker2")
    assert bed.control_plane.name == "hypervisor"
    assert len(bed.firewall.legs) == 5
    assert {NodeKind.NETNS} == {node.kind for node in bed.nodes}


def test_the_baremetal_template_is_valid() -> None:
    """The template for six machines passes every check once copied."""
    _, bed = load("baremetal")
    assert {NodeKind.METAL, NodeKind.VM} >= {node.kind for node in bed.nodes}
    assert all(bed.with_role(role) for role in (Role.RELAY, Role.FIREWALL, Role.K8S_MASTER))


def _set(host: str, **data: Any) -> Change:
    return lambda hosts, _groups, _defaults: hosts[host]["data"].update(data)


def _regroup(host: str, old: str, new: str | None) -> Change:
    def change(hosts: dict[str, Any], _groups: dict[str, Any], _defaults: dict[str, Any]) -> None:
        groups = [group for group in hosts[host]["groups"] if group != old]
        hosts[host]["groups"] = groups + ([new] if new else [])

    return change


CASES: dict[str, tuple[Change, str, str]] = {
    "duplicate management address": (
        lambda hosts, _g, _d: hosts["worker2"].update(hostname="198.18.213.12"),
        "worker2: hostname",
        "duplicate address: 198.18.213.12 is also worker1's",
    ),
    "address of the gateway": (
        _set("relay", underlay="192.88.99.25/29"),
        "relay: underlay",
        "duplicate address",
    ),
    "address outside its VLAN": (
        _set("relay", underlay="192.88.99.2/29"),
        "relay: underlay",
        "outside prefix",
    ),
    "address without prefix": (_set("relay", underlay="192.88.99.26"), "relay: underlay", "no prefix length"),
    "no address": (_set("relay", underlay="here"), "relay: underlay", "no IPv4 address"),
    "two nodes in one VLAN": (
        lambda hosts, _g, _d: (
            _regroup("worker2", "vlan__30", "vlan__20")(hosts, _g, _d),
            _set("worker2", underlay="192.88.99.11/29")(hosts, _g, _d),
        )[0],
        "worker2: groups",
        "vlan__20 already holds worker1",
    ),
    "missing role": (_regroup("relay", "role__relay", None), "relay: groups", "missing role"),
    "unknown role": (
        lambda hosts, groups, _d: (
            groups.update(role__router={}),
            _regroup("relay", "role__relay", "role__router")(hosts, groups, _d),
        )[0],
        "relay: groups",
        "unknown role 'router'",
    ),
    "undefined group": (
        _regroup("relay", "role__relay", "nowhere"),
        "relay: groups",
        "unknown group 'nowhere'",
    ),
    "two masters": (
        _regroup("hypervisor", "role__hypervisor", "role__k8s-master"),
        "hypervisor: groups",
        "k8s-master and hypervisor are both role__k8s-master",
    ),
    "no second worker": (
        _regroup("worker2", "role__k8s-worker", "role__hypervisor"),
        "worker1: groups",
        "no second worker",
    ),
    "no firewall": (
        lambda hosts, _g, _d: hosts.pop("firewall"),
        "all hosts: groups",
        "missing role: no host in role__firewall",
    ),
    "no VLAN": (_regroup("relay", "vlan__40", None), "relay: groups", "no VLAN"),
    "unknown kind": (_set("relay", kind="cloud"), "relay: kind", "'cloud' is none of metal, vm, netns"),
    "forwarding on a VM": (_set("relay", kind="vm"), "relay: kind", "bare metal only"),
    "no interface": (_set("relay", interface=""), "relay: interface", "missing"),
    "bad prefix": (
        lambda _h, groups, _d: groups["vlan__40"]["data"].update(prefix="x"),
        "vlan__40: prefix",
        "'x' is no IPv4 prefix",
    ),
    "gateway outside": (
        lambda _h, groups, _d: groups["vlan__40"]["data"].update(gateway="10.0.0.1"),
        "vlan__40: gateway",
        "outside the VLAN's prefix",
    ),
    "overlay over the underlay": (
        lambda _h, _g, defaults: defaults["data"].update(overlay="192.88.99.0/24"),
        "overlay: prefix",
        "overlaps",
    ),
    "firewall without a leg": (
        _regroup("firewall", "vlan__40", None),
        "firewall: groups",
        "no leg in vlan__40",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_inventory_names_place_host_and_key(case: str, tmp_path: Path) -> None:
    """Every mistake is one sentence with the file, the host and the key."""
    change, where, problem = CASES[case]
    with pytest.raises(InputError) as caught:
        load(str(written(tmp_path, change)))
    assert re.search(re.escape(where), str(caught.value)), caught.value
    assert problem in str(caught.value)
    assert str(tmp_path / "hosts.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_virtual_forwarding_is_allowed_when_asked_for(tmp_path: Path) -> None:
    """A worker on a VM is accepted with allow_virtual_forwarding, and the testbed says so."""

    def change(hosts: dict[str, Any], _groups: dict[str, Any], defaults: dict[str, Any]) -> None:
        hosts["worker1"]["data"]["kind"] = "vm"
        defaults["data"]["allow_virtual_forwarding"] = True

    _, bed = load(str(written(tmp_path, change)))
    assert bed.allow_virtual_forwarding is True


def test_a_control_plane_role_moves_the_control_plane(tmp_path: Path) -> None:
    """Any node may host control planes; the hypervisor is only the default."""

    def change(hosts: dict[str, Any], groups: dict[str, Any], _defaults: dict[str, Any]) -> None:
        groups["role__control_plane"] = {}
        hosts["k8s-master"]["groups"].append("role__control_plane")

    _, bed = load(str(written(tmp_path, change)))
    assert bed.control_plane.name == "k8s-master"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hosts.yaml", "a: [", "no YAML"),
        ("hosts.yaml", "- a", "not a mapping"),
        ("hosts.yaml", "a: 3", "not a mapping"),
        ("hosts.yaml", "a: {groups: [nowhere]}", "nowhere"),
    ],
)
def test_broken_yaml_is_one_sentence(file: str, text: str, said: str, tmp_path: Path) -> None:
    """YAML that cannot be read names the file."""
    folder = written(tmp_path, lambda *_: None)
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load(str(folder))
    assert str(folder / file) in str(caught.value)


def test_an_unknown_inventory_lists_the_built_in_ones() -> None:
    """A name that is no folder says which inventories there are."""
    with pytest.raises(InputError, match="baremetal, lab"):
        load("nowhere")
