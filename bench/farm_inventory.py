"""The inventory folder of a farm: roles as a testbed must have them, a VLAN for each host, root's key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.farm import Farm
from inventory.across.logins import Login
from vpnmesh.documents.inventory_text import InventoryText
from vpnmesh.lab.sizes import write_inventory

_ROLES = ("k8s-master", "relay", "hypervisor", "firewall")
_REST = "k8s-worker"
_FIREWALL = 3


def write_farm_inventory(here: Farm) -> Path:
    """Write it beside the farm's keys; returns the folder."""
    vids = range(2, 2 + len(here.addresses))
    hosts = {
        name: _host(address, number, vid)
        for number, (vid, (name, address)) in enumerate(zip(vids, here.addresses.items(), strict=True))
    }
    firewall = hosts[list(hosts)[_FIREWALL]]
    firewall["groups"] = ["platform__linux", "role__firewall", *(f"vlan__{vid}" for vid in vids)]
    firewall["data"] = {"testbed": True, "kind": "metal", "legs": {vid: f"vlan{vid}" for vid in vids}}
    groups: dict[str, Any] = {"platform__linux": {"platform": "linux"}}
    groups |= {f"role__{role}": {} for role in (*_ROLES, _REST)}
    groups |= {
        f"vlan__{vid}": {"data": {"prefix": f"{_net(vid)}0/24", "gateway": f"{_net(vid)}1"}} for vid in vids
    }
    folder = here.folder / "inventory"
    write_inventory(InventoryText(hosts, groups, _defaults(here)), folder)
    return folder


def _net(vid: int) -> str:
    return f"10.{vid // 256}.{vid % 256}."


def _host(address: str, number: int, vid: int) -> dict[str, Any]:
    role = _ROLES[number] if number < len(_ROLES) else _REST
    return {
        "hostname": address,
        "groups": ["platform__linux", f"role__{role}", f"vlan__{vid}"],
        "data": {"testbed": True, "kind": "metal", "underlay": f"{_net(vid)}2/24", "interface": "eth0"},
    }


def _defaults(here: Farm) -> Mapping[str, Any]:
    login = Login(key_file=str(here.key), known_hosts=str(here.known_hosts))
    extras = {**login.extras(), "allow_agent": False}
    return {
        "username": "root",
        "port": 22,
        "data": {"testbed": "farm", "overlay": "10.213.0.0/24", "pods": "10.136.0.0/16"},
        "connection_options": {"netmiko": {"platform": "linux", "extras": extras}},
    }
