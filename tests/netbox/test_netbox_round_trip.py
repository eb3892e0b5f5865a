"""YAML -> NetBox -> YAML is the identity, on a real server."""

from pathlib import Path

import pytest

from inventory.documents import Documents, documents_of, inventory_of, read_folder
from inventory.load import load
from inventory.marks import is_marked
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from inventory.netbox_objects import objects_of
from inventory.sources import inventory_text
from inventory.sync import apply, plan
from tests.netbox.server import NetBoxServer
from vpnmesh.errors import InputError
from vpnmesh.lab.twin import plan_twin
from vpnmesh.lab.twin_command import lab_login

MARKS = {"worker10": True, "worker9": True, "master": False, "relay": False, "gateway": False}
"""Of the mixed inventory: one host has the tag, one `testbed: true`, one `false`, two nothing."""


def marks_of(documents: Documents) -> dict[str, bool]:
    """Which hosts may be changed, as the tasks ask it."""
    return {name: is_marked(host) for name, host in inventory_of(documents).hosts.items()}


def test_lab_comes_back_as_it_went_in(seeded: NetBoxServer, lab_folder: Path) -> None:
    """Hosts, groups and defaults are the same values in the same order."""
    read = read_documents(NetBox.from_environment(), {"tag": "vpnmesh-lab"})
    assert read.texts() == read_folder(lab_folder).texts()


def test_mixed_inventory_comes_back_as_it_went_in(
    seeded: NetBoxServer, lab_folder: Path, mixed_folder: Path
) -> None:
    """A VM, a shared NIC, a DNS name, IPv6, tags, two sites, orders and settings on every level survive.

    Seeding a second testbed changes and deletes nothing of the first, and each is read by its own tag.
    """
    documents = read_folder(mixed_folder)
    client = NetBox.from_environment()
    done = apply(client, documents, "mixed")
    assert (done.count("patch"), done.count("delete")) == (0, 0)
    assert read_documents(client, {"tag": "vpnmesh-edge-study"}).texts() == documents.texts()
    assert read_documents(client, {"tag": "vpnmesh-lab"}).texts() == read_folder(lab_folder).texts()
    assert plan(client, read_folder(lab_folder), "lab").diff == ""


def test_the_mark_of_hosts_that_may_be_changed_survives(
    seeded: NetBoxServer, mixed_folder: Path, tmp_path: Path
) -> None:
    """As data or as tag; a host without it, or with `false`, is unmarked, also after what was read is seeded again."""
    documents = read_folder(mixed_folder)
    client = NetBox.from_environment()
    apply(client, documents, "mixed")
    read = read_documents(client, {"tag": "vpnmesh-edge-study"})
    assert marks_of(read) == marks_of(documents) == MARKS
    for name, text in read.texts().items():
        (tmp_path / name).write_text(text)
    again = read_folder(tmp_path)
    assert marks_of(again) == MARKS
    assert plan(client, again, "again").diff == ""


def test_both_inventories_give_one_testbed(seeded: NetBoxServer, lab_folder: Path) -> None:
    """Nornir's inventory and the typed testbed do not show where they come from."""
    from_yaml, yaml_testbed = load(str(lab_folder))
    from_netbox, netbox_testbed = load("netbox:site=lab")
    assert netbox_testbed == yaml_testbed
    assert from_netbox.inventory.dict() == from_yaml.inventory.dict()


def test_both_inventories_have_one_twin(seeded: NetBoxServer, lab_folder: Path) -> None:
    """A lab that is like a testbed does not show where that was read."""
    twins = [
        plan_twin(text, lab_login(), place)
        for text, place in (inventory_text(name, "--like") for name in (str(lab_folder), "netbox:site=lab"))
    ]
    assert twins[0].testbed == twins[1].testbed
    assert twins[0].text.hosts == twins[1].text.hosts


def test_documents_are_what_nornir_reads(mixed_folder: Path) -> None:
    """An inventory made of documents is the one that SimpleInventory makes of the files."""
    documents = read_folder(mixed_folder)
    assert documents_of(inventory_of(documents)) == documents


def test_more_vlans_than_one_inside_a_name(mixed_folder: Path) -> None:
    """The order of groups in a host's entry is kept where it is not the usual one."""
    assert read_folder(mixed_folder).hosts["worker9"]["groups"] == [
        "role__k8s-worker", "vlan__20", "site__edge", "platform__linux",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("hosts", "port: 2222", "password: hidden", "worker10: password: a secret"),
        ("hosts", "conn_timeout: 30", "secret: enable", "extras.secret: a secret"),
        ("hosts", "site__edge, platform__linux, role__k8s-worker", "role__k8s-worker", "0 groups site__"),
        ("groups", "tag__arm", "arm", "arm: no group that NetBox knows"),
        ("hosts", "racks: [a, b]", "since: 2026-01-01", "NetBox cannot hold {'data': {'since'"),
    ],
)
def test_what_netbox_cannot_hold_is_refused(
    mixed_folder: Path, tmp_path: Path, file: str, old: str, new: str, sentence: str
) -> None:
    """Before anything is written, an InputError names the host and the key."""
    for name in ("hosts", "groups", "defaults"):
        text = (mixed_folder / f"{name}.yaml").read_text()
        changed = text.replace(old, new) if file in (name, "groups") else text
        (tmp_path / f"{name}.yaml").write_text(changed)
    with pytest.raises(InputError, match="mixed") as caught:
        objects_of(read_folder(tmp_path), "mixed")
    assert sentence in str(caught.value)
