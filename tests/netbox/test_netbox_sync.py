"""Seeding a real NetBox: idempotent, shown before it is done, and careful with what others made."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from inventory.documents import read_folder
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from inventory.sync import apply
from tests.netbox.admin import Admin
from tests.netbox.server import NetBoxServer
from vpnmesh.errors import InputError
from workflows.inventory import main


def edited(folder: Path, target: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of the inventory with texts replaced: file, old, new."""
    target.mkdir()
    for name in ("hosts", "groups", "defaults"):
        text = (folder / f"{name}.yaml").read_text()
        for _, old, new in (change for change in changes if change[0] == name):
            assert old in text
            text = text.replace(old, new)
        (target / f"{name}.yaml").write_text(text)
    return target


def writes(server: NetBoxServer) -> int:
    """How many changes NetBox's own log holds."""
    return int(server.psql("SELECT count(*) FROM core_objectchange"))


def test_second_seed_writes_nothing(seeded: NetBoxServer, lab_folder: Path) -> None:
    """The plan for what is there already is empty, and NetBox's change log does not grow."""
    before = writes(seeded)
    assert not apply(NetBox.from_environment(), read_folder(lab_folder), "lab")
    assert writes(seeded) == before


def test_dry_run_shows_all_and_writes_nothing(empty: NetBoxServer) -> None:
    """Every device is in the diff, the exit code is 0, and the change log stays empty."""
    result = CliRunner().invoke(main, ["seed", "lab", "--dry-run"])
    assert (result.exit_code, result.output.count("+ dcim/devices ")) == (0, 6)
    assert writes(empty) == 0


def test_a_change_in_yaml_is_one_change_in_netbox(
    seeded: NetBoxServer, lab_folder: Path, tmp_path: Path
) -> None:
    """A renamed VLAN is one patched field, shown with its old and new value."""
    folder = edited(lab_folder, tmp_path / "new", ("groups", "name: worker1", "name: north"))
    done = apply(NetBox.from_environment(), read_folder(folder), "lab")
    assert done.diff == "~ ipam/vlans vpnmesh-lab/20\n  - name: worker1\n  + name: north"


def test_addresses_that_change_places_are_no_obstacle(
    seeded: NetBoxServer, lab_folder: Path, tmp_path: Path
) -> None:
    """Two nodes may swap their primary addresses, though NetBox lets no primary address be reassigned."""
    swap = (
        ("hosts", "198.18.213.12", "X"),
        ("hosts", "198.18.213.13", "198.18.213.12"),
        ("hosts", "X", "198.18.213.13"),
    )
    documents = read_folder(edited(lab_folder, tmp_path / "new", *swap))
    client = NetBox.from_environment()
    apply(client, documents, "lab")
    assert read_documents(client, {"site": "lab"}).texts() == documents.texts()


def test_only_what_it_tagged_is_deleted(
    seeded: NetBoxServer, admin: Admin, lab_folder: Path, tmp_path: Path
) -> None:
    """A host that leaves the YAML leaves NetBox with its ports; a neighbour that a person made stays."""
    kinds = {
        "device_type": admin.one("dcim/device-types", slug="node"),
        "role": admin.one("dcim/device-roles", slug="relay"),
    }
    admin.make("dcim/devices", name="theirs", site=admin.one("dcim/sites", slug="lab"), **kinds)
    admin.make("dcim/interfaces", name="eth7", device=admin.one("dcim/devices", name="worker1"), type="other")
    renamed = ("hosts", "hypervisor:", "renamed:")
    done = apply(NetBox.from_environment(), read_folder(edited(lab_folder, tmp_path / "new", renamed)), "lab")
    deleted = [change.key for change in done.changes if change.verb == "delete"]
    assert sorted(deleted) == [
        "192.88.99.34/29 on hypervisor/eth0", "198.18.213.15/32 on hypervisor/mgmt0",
        "hypervisor/eth0", "hypervisor/mgmt0", "lab/hypervisor",
    ]  # fmt: skip
    names = {row["name"] for row in admin.find("dcim/devices")}
    assert names == {"k8s-master", "worker1", "worker2", "relay", "renamed", "firewall", "theirs"}
    assert {row["name"] for row in admin.find("dcim/interfaces", device="worker1")} == {
        "eth0",
        "eth7",
        "mgmt0",
    }


def test_what_others_own_is_not_taken_over(empty: NetBoxServer, admin: Admin, lab_folder: Path) -> None:
    """An untagged device of the same name and site is an error that names it, not a change to it."""
    site = admin.make("dcim/sites", name="Lab of others", slug="lab")
    maker = admin.make("dcim/manufacturers", name="Generic", slug="generic")
    node = admin.make("dcim/device-types", model="Node", slug="node", manufacturer=maker["id"])
    role = admin.make("dcim/device-roles", name="Relay", slug="relay")
    theirs = admin.make(
        "dcim/devices", name="relay", site=site["id"], device_type=node["id"], role=role["id"]
    )
    with pytest.raises(InputError, match="lab/relay"):
        apply(NetBox.from_environment(), read_folder(lab_folder), "lab")
    assert admin.find("dcim/devices", name="relay")[0]["last_updated"] == theirs["last_updated"]
    assert admin.find("dcim/sites", slug="lab")[0]["name"] == "Lab of others"


def test_diff_is_an_exit_code(seeded: NetBoxServer, lab_folder: Path, tmp_path: Path) -> None:
    """0 and one sentence where both say the same; 1 and a unified diff where not; 2 where one cannot be read."""
    folder = edited(lab_folder, tmp_path / "new", ("hosts", "interface: eth0", "interface: eth1"))
    same, other, wrong = (
        CliRunner().invoke(main, ["diff", one, "netbox:site=lab"]) for one in ("lab", str(folder), "nowhere")
    )
    assert (same.exit_code, other.exit_code, wrong.exit_code) == (0, 1, 2)
    assert "-    interface: eth1\n+    interface: eth0" in other.output


def test_export_is_an_inventory_again(seeded: NetBoxServer, tmp_path: Path, lab_folder: Path) -> None:
    """The exported folder says what was seeded, and is not overwritten without being told to."""
    command = ["export", "netbox:site=lab", str(tmp_path / "copy")]
    assert [
        CliRunner().invoke(main, more).exit_code for more in (command, command, [*command, "--force"])
    ] == [0, 2, 0]
    assert read_folder(tmp_path / "copy") == read_folder(lab_folder)


def test_show_and_validate_see_one_testbed_in_both(seeded: NetBoxServer) -> None:
    """`show --json` prints the same from YAML and from NetBox; `validate` counts; a broken rule is exit code 2."""
    shown = [CliRunner().invoke(main, ["show", name, "--json"]) for name in ("lab", "netbox:site=lab")]
    assert [one.exit_code for one in shown] == [0, 0]
    assert shown[0].output == shown[1].output
    assert [node["name"] for node in json.loads(shown[1].output)["nodes"]][:2] == ["k8s-master", "worker1"]
    assert "192.88.99.10/29" in CliRunner().invoke(main, ["show", "netbox:site=lab"]).output
    valid = CliRunner().invoke(main, ["validate", "netbox:site=lab"])
    assert (valid.exit_code, valid.output) == (0, "netbox:site=lab: valid: 6 nodes in 5 VLANs\n")


def test_validate_names_the_rule_that_is_broken(seeded: NetBoxServer, admin: Admin) -> None:
    """A testbed without its relay is refused with exit code 2 and one sentence."""
    admin.change("dcim/devices", admin.one("dcim/devices", name="relay"), status="offline")
    broken = CliRunner().invoke(main, ["validate", "netbox:site=lab"])
    assert broken.exit_code == 2
    assert "relay" in broken.output.splitlines()[-1]
