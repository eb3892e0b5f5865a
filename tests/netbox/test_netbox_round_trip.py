"""YAML -> NetBox -> YAML is the identity, on a real server."""

from pathlib import Path

from inventory.documents import read_folder
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from inventory.sync import apply, plan
from inventory.testbed import load
from tests.netbox.server import NetBoxServer


def test_lab_comes_back_as_it_went_in(netbox: NetBoxServer, lab_folder: Path) -> None:
    """Hosts, groups and defaults are the same values in the same order."""
    documents = read_folder(lab_folder)
    client = NetBox.from_environment()
    apply(client, documents, "lab")
    assert read_documents(client, {"tag": "vpnmesh-lab"}).texts() == documents.texts()


def test_both_inventories_give_one_testbed(netbox: NetBoxServer, lab_folder: Path) -> None:
    """Nornir's inventory and the typed testbed do not show where they come from."""
    apply(NetBox.from_environment(), read_folder(lab_folder), "lab")
    from_yaml, yaml_testbed = load(str(lab_folder))
    from_netbox, netbox_testbed = load("netbox:site=lab")
    assert netbox_testbed == yaml_testbed
    assert from_netbox.inventory.dict() == from_yaml.inventory.dict()


def test_second_seed_writes_nothing(netbox: NetBoxServer, lab_folder: Path) -> None:
    """After one seed the plan is empty, and NetBox's own change log does not grow."""
    documents = read_folder(lab_folder)
    apply(NetBox.from_environment(), documents, "lab")
    log = netbox.psql("SELECT count(*) FROM core_objectchange")
    assert not apply(NetBox.from_environment(), documents, "lab")
    assert netbox.psql("SELECT count(*) FROM core_objectchange") == log


def test_plan_writes_nothing(netbox: NetBoxServer, lab_folder: Path) -> None:
    """A plan on an empty NetBox shows every device and leaves the change log empty."""
    planned = plan(NetBox.from_environment(), read_folder(lab_folder), "lab")
    assert planned.diff.count("+ dcim/devices ") == 6
    assert netbox.psql("SELECT count(*) FROM core_objectchange").strip() == "0"
