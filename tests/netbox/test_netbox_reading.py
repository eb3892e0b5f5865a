"""What stubs cannot show, on a real NetBox: tokens, contexts, custom fields, filters, and every error by name."""

from typing import Any

import pytest
from nornir import InitNornir
from nornir.core import Nornir
from pynetbox.core.query import Request

from inventory import netbox_client
from inventory.documents import Documents, mapping
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from inventory.sync import apply
from tests.netbox.admin import Admin
from tests.netbox.fleet import script
from tests.netbox.server import TOKEN_V1, TOKEN_V2, NetBoxServer
from vpnmesh.errors import InputError


def read(**filters: str) -> Documents:
    """The documents of the server in the environment."""
    return read_documents(NetBox.from_environment(), filters)


def nornir(**filters: str) -> Nornir:
    """Nornir as a user starts it, by the plugin's name."""
    return InitNornir(
        inventory={"plugin": "NetBoxInventory", "options": {"filters": filters}}, logging={"enabled": False}
    )


@pytest.mark.parametrize("token", [TOKEN_V1, TOKEN_V2])
def test_old_and_new_tokens_are_understood(
    seeded: NetBoxServer, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """The plugin reads with a v1 and with a v2 token."""
    monkeypatch.setenv("NETBOX_TOKEN", token)
    assert len(nornir(site="lab").inventory.hosts) == 6


def test_read_only_token_reads_and_does_not_write(
    seeded: NetBoxServer, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token without the right to write is enough for the inventory; seeding with it is refused by name."""
    token = admin.make("users/tokens", user=1, version=2, write_enabled=False)
    monkeypatch.setenv("NETBOX_TOKEN", f"nbt_{token['key']}.{token['token']}")
    documents = read(site="lab")
    assert len(documents.hosts) == 6
    changed = Documents(documents.hosts, documents.groups, {**documents.defaults, "port": 23})
    with pytest.raises(InputError, match=r"403.*may the token in .NETBOX_TOKEN write it"):
        apply(NetBox.from_environment(), changed, "lab")


def test_wrong_token_is_a_sentence(seeded: NetBoxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """NetBox's 403 names the list and asks about the token."""
    monkeypatch.setenv("NETBOX_TOKEN", "f" * 40)
    with pytest.raises(InputError, match=r"dcim/devices: 403: .*may the token"):
        read()


def test_five_requests_are_enough_for_six_nodes(seeded: NetBoxServer) -> None:
    """Devices, machines, interfaces, prefixes, addresses: one request each, whatever else NetBox holds."""
    client = NetBox.from_environment()
    read_documents(client, {"site": "lab"})
    assert client.sent == 5


def test_machines_beside_devices_cost_one_list_more(seeded: NetBoxServer, admin: Admin) -> None:
    """Six lists for both, five for machines alone; an address does not show its port's VLAN, so none can be saved."""
    guest = machine(admin, "guest")
    port = admin.one("virtualization/interfaces", virtual_machine_id=str(guest))
    vlan = admin.one("ipam/vlans", vid="20")
    admin.change("virtualization/interfaces", port, mode="access", untagged_vlan=vlan)
    on = {"assigned_object_type": "virtualization.vminterface", "assigned_object_id": port}
    address = admin.make("ipam/ip-addresses", address="192.88.99.11/29", **on)
    for filters, lists in (({"site": "lab"}, 6), ({"name": "guest"}, 5)):
        client = NetBox.from_environment()
        groups = read_documents(client, filters).hosts["guest"]["groups"]
        assert isinstance(groups, list)
        assert "vlan__20" in groups
        assert client.sent == lists
    assert "untagged_vlan" not in address["assigned_object"]


def test_netbox_ignores_what_we_refuse(seeded: NetBoxServer, admin: Admin) -> None:
    """An unknown filter selects the whole fleet in NetBox, and is an error that lists the right ones here."""
    assert len(admin.find("dcim/devices", sight="elsewhere")) == 6
    with pytest.raises(InputError, match=r"unknown filter 'sight'; known are: name, platform"):
        nornir(sight="elsewhere")


def test_filter_that_selects_nothing_is_an_error(seeded: NetBoxServer, admin: Admin) -> None:
    """No host is no inventory, with a known value as with an unknown one."""
    admin.make("dcim/sites", name="bare", slug="bare")
    with pytest.raises(InputError, match=r"no active device or virtual machine .site=bare"):
        read(site="bare")
    with pytest.raises(InputError, match=r"site: Select a valid choice. nowhere"):
        read(site="nowhere")


def test_contexts_are_merged_by_netbox(seeded: NetBoxServer, admin: Admin) -> None:
    """Contexts by site, role and tag reach the hosts they are meant for; weight decides, the host's own wins."""
    site, role = admin.one("dcim/sites", slug="lab"), admin.one("dcim/device-roles", slug="k8s-worker")
    by_site = {"ntp": {"servers": ["a"], "burst": True}, "mtu": 1500}
    admin.make("extras/config-contexts", name="site", sites=[site], data=by_site)
    admin.make(
        "extras/config-contexts", name="role", roles=[role], weight=2000, data={"ntp": {"servers": ["b"]}}
    )
    admin.make(
        "extras/config-contexts",
        name="tag",
        tags=["vpnmesh-lab"],
        weight=500,
        data={"mtu": 9000, "jumbo": True},
    )
    worker = admin.one("dcim/devices", name="worker1")
    local = {"vpnmesh": {"position": 1}, "mtu": 1280}
    admin.change("dcim/devices", worker, local_context_data=local)
    hosts = nornir(site="lab").inventory.hosts
    assert hosts["relay"]["ntp"] == {"servers": ["a"], "burst": True}
    assert hosts["worker2"]["ntp"] == {"servers": ["b"], "burst": True}
    assert [hosts[name]["mtu"] for name in ("relay", "worker1")] == [1500, 1280]
    assert hosts["relay"]["jumbo"] is True


def test_contexts_that_disagree_about_all_are_refused(seeded: NetBoxServer, admin: Admin) -> None:
    """Defaults are one for all: a context that gives one host others names both hosts."""
    role = admin.one("dcim/device-roles", slug="relay")
    other = {"vpnmesh": {"defaults": {"data": {"overlay": "10.1.0.0/24"}}}}
    admin.make("extras/config-contexts", name="other", roles=[role], weight=2000, data=other)
    with pytest.raises(InputError, match=r"defaults differ between k8s-master and relay"):
        read(site="lab")


def test_misspelt_key_in_a_context_is_refused(seeded: NetBoxServer, admin: Admin) -> None:
    """A typo fails instead of being dropped."""
    admin.make("extras/config-contexts", name="typo", tags=["vpnmesh-lab"], data={"vpnmesh": {"default": {}}})
    with pytest.raises(InputError, match=r"unknown key 'default'; known are: defaults, groups"):
        read(site="lab")


CUSTOM_FIELDS: list[tuple[dict[str, Any], object, object]] = [
    ({"type": "text"}, "room 5", "room 5"),
    ({"type": "integer"}, 7, 7),
    ({"type": "boolean"}, False, False),
    ({"type": "json"}, {"a": [1, 2]}, {"a": [1, 2]}),
    ({"type": "select"}, "one", "one"),
    ({"type": "multiselect"}, ["one", "two"], ["one", "two"]),
    ({"type": "object", "related_object_type": "dcim.site"}, "SITE", "lab"),
    ({"type": "date"}, "2026-11-23", "2026-11-23"),
]


def test_custom_fields_arrive_in_their_plainest_form(seeded: NetBoxServer, admin: Admin) -> None:
    """A choice is its value, an object its slug, all else itself; a field without a value is no data."""
    choices = admin.make(
        "extras/custom-field-choice-sets", name="c", extra_choices=[["one", "One"], ["two", "Two"]]
    )
    site, worker = admin.one("dcim/sites", slug="lab"), admin.one("dcim/devices", name="worker1")
    values = {}
    for number, (kind, value, _) in enumerate(CUSTOM_FIELDS):
        more = {"choice_set": choices["id"]} if "select" in str(kind["type"]) else {}
        admin.make("extras/custom-fields", name=f"f{number}", object_types=["dcim.device"], **kind, **more)
        values[f"f{number}"] = site if value == "SITE" else value
    shown = admin.change("dcim/devices", worker, custom_fields=values)["custom_fields"]
    assert shown["f4"] == {"value": "one", "label": "One"}
    hosts = nornir(site="lab").inventory.hosts
    assert [hosts["worker1"].data[f"f{n}"] for n in range(8)] == [
        expected for _, _, expected in CUSTOM_FIELDS
    ]
    assert "f0" not in hosts["worker2"].data


def test_device_without_kind_is_metal_and_machine_is_vm(seeded: NetBoxServer, admin: Admin) -> None:
    """What a person made needs no field of ours: the kind follows from what NetBox calls it."""
    worker = admin.one("dcim/devices", name="worker1")
    admin.change("dcim/devices", worker, custom_fields={"vpnmesh_kind": None})
    machine(admin, "guest")
    hosts = read(site="lab").hosts
    assert [mapping(hosts[name]["data"])["kind"] for name in ("worker1", "worker2", "guest")] == [
        "metal",
        "netns",
        "vm",
    ]


def machine(admin: Admin, name: str, *, role: bool = True, address: str | None = "198.18.213.99/32") -> int:
    """A virtual machine at the lab's site, with a primary address."""
    about: dict[str, Any] = {"role": admin.one("dcim/device-roles", slug="hypervisor")} if role else {}
    site = admin.one("dcim/sites", slug="lab")
    made = int(
        admin.make("virtualization/virtual-machines", name=name, site=site, status="active", **about)["id"]
    )
    if address:
        port = admin.make("virtualization/interfaces", virtual_machine=made, name="ens3")["id"]
        on = {"assigned_object_type": "virtualization.vminterface", "assigned_object_id": port}
        primary = admin.make("ipam/ip-addresses", address=address, **on)["id"]
        admin.change("virtualization/virtual-machines", made, primary_ip4=primary)
    return made


def test_no_primary_address_names_the_host(seeded: NetBoxServer, admin: Admin) -> None:
    """A device whose primary address was taken away stops the inventory."""
    admin.change("dcim/devices", admin.one("dcim/devices", name="relay"), primary_ip4=None)
    with pytest.raises(InputError, match=r"relay: no primary IP"):
        read(site="lab")


def test_missing_role_names_the_machine(seeded: NetBoxServer, admin: Admin) -> None:
    """NetBox lets a virtual machine have no role; a testbed does not."""
    machine(admin, "idle", role=False)
    with pytest.raises(InputError, match=r"idle: missing role; give the virtual machine"):
        read(site="lab")


def test_same_name_at_two_sites_names_both(seeded: NetBoxServer, admin: Admin) -> None:
    """Names are unique only per site in NetBox, and Nornir would keep the last one in silence."""
    machine(admin, "relay")
    with pytest.raises(
        InputError, match=r"relay: duplicate name: device .* at lab and virtual machine .* at lab"
    ):
        read()


def test_two_untagged_vlans_name_both_interfaces(seeded: NetBoxServer, admin: Admin) -> None:
    """A node with a foot in two VLANs would bypass the firewall."""
    about = {"type": "other", "mode": "access", "untagged_vlan": admin.one("ipam/vlans", vid="30")}
    admin.make("dcim/interfaces", device=admin.one("dcim/devices", name="worker1"), name="eth9", **about)
    with pytest.raises(InputError, match=r"worker1: two VLANs untagged: eth0 in 20 \(worker1\), eth9 in 30"):
        read(site="lab")


def test_two_addresses_in_one_vlan_are_refused_unless_secondary(seeded: NetBoxServer, admin: Admin) -> None:
    """Which of two addresses peers shall use is not guessed; a secondary one is none of them."""
    port = admin.one("dcim/interfaces", device="worker1", name="eth0")
    on = {"assigned_object_type": "dcim.interface", "assigned_object_id": port}
    second = admin.make("ipam/ip-addresses", address="192.88.99.11/29", **on)
    with pytest.raises(InputError, match=r"192.88.99.10/29 and 192.88.99.11/29 are both in VLAN 20"):
        read(site="lab")
    admin.change("ipam/ip-addresses", second["id"], role="secondary")
    assert mapping(read(site="lab").hosts["worker1"]["data"])["underlay"] == "192.88.99.10/29"


def test_unknown_status_names_the_host(seeded: NetBoxServer) -> None:
    """NetBox's statuses can be extended; what a new one means is not guessed."""
    seeded.psql("UPDATE dcim_device SET status = 'loaned' WHERE name = 'relay'")
    with pytest.raises(InputError, match=r"relay: unknown status 'loaned'; known are: active, planned"):
        read(site="lab")


def test_hosts_out_of_use_are_left_out_and_said(
    seeded: NetBoxServer, admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    """An offline device is no host, and a warning says so."""
    admin.change("dcim/devices", admin.one("dcim/devices", name="relay"), status="offline")
    assert "relay" not in read(site="lab").hosts
    assert caplog.messages == ["left out: relay is offline"]


def test_one_vlan_id_at_two_sites_is_refused(seeded: NetBoxServer, admin: Admin) -> None:
    """VLAN 20 of another group is another VLAN: its hosts cannot be in the same group."""
    other = admin.make("ipam/vlan-groups", name="other", slug="other")
    vlan = admin.make("ipam/vlans", vid=20, name="theirs", group=other["id"])["id"]
    guest = machine(admin, "guest")
    port = admin.one("virtualization/interfaces", virtual_machine_id=str(guest))
    admin.change("virtualization/interfaces", port, mode="access", untagged_vlan=vlan)
    with pytest.raises(InputError, match=r"guest: ens3: 'worker1' and 'theirs' both have the id 20"):
        read(site="lab")


def test_everything_and_one_site_say_the_same(seeded: NetBoxServer, admin: Admin) -> None:
    """What is read ahead, the addresses of all VLANs' prefixes, adds nothing to what a filter selects.

    The guest's VLAN has no prefix, and its address is in that of a VLAN which no host is in.
    """
    guest = machine(admin, "guest")
    port = admin.one("virtualization/interfaces", virtual_machine_id=str(guest))
    vlans = {vid: admin.make("ipam/vlans", vid=vid, name=f"v{vid}")["id"] for vid in (77, 78)}
    admin.make("ipam/prefixes", prefix="203.0.113.0/24", vlan=vlans[78])
    admin.change("virtualization/interfaces", port, mode="access", untagged_vlan=vlans[77])
    on = {"assigned_object_type": "virtualization.vminterface", "assigned_object_id": port}
    admin.make("ipam/ip-addresses", address="203.0.113.5/24", **on)
    everything = read()
    assert everything == read(site="lab")
    assert mapping(everything.hosts["guest"]["data"]) == {"kind": "vm", "interface": "ens3"}
    assert len(everything.hosts) == 7


def test_server_that_ignores_fields_says_the_same(
    seeded: NetBoxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows with everything that NetBox has are the same inventory: `fields` only spares the server."""
    expected = read()

    def everything(*, filters: dict[str, Any], **more: Any) -> Request:
        return Request(filters={name: value for name, value in filters.items() if name != "fields"}, **more)

    monkeypatch.setattr(netbox_client, "Request", everything)
    assert read() == expected


def test_fleet_of_sixty_is_read_in_pages(empty: NetBoxServer) -> None:
    """Sixty devices with two interfaces and addresses each are all there, each with its VLAN.

    Pages are of ten where ten are asked for, and of the server's 25 where a thousand are.
    """
    empty.shell(script(60))
    for asked, pages in ((10, 6), (1000, 3)):
        client = NetBox.from_environment(page_size=asked)
        documents = read_documents(client, {})
        assert list(documents.hosts) == [f"edge{number}" for number in range(1, 61)]
        assert documents.hosts["edge60"] == {
            "hostname": "10.200.0.60",
            "groups": ["site__fleet", "role__k8s-worker", "vlan__60"],
            "data": {"kind": "metal", "interface": "eth0", "underlay": "10.201.1.218/29"},
        }
        # 60 devices, their untagged ports, prefixes, addresses in those; and the empty list of machines
        assert client.sent == 4 * pages + 1
