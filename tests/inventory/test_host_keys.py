"""Host keys are strict whatever the inventory says, and it may not say otherwise."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from netmiko import ConnectHandler
from nornir.core.inventory import (
    ConnectionOptions,
    Defaults,
    Group,
    Groups,
    Host,
    Hosts,
    Inventory,
    ParentGroups,
)

from inventory.host_keys import make_strict
from inventory.load import load
from vpnmesh.errors import InputError

LAB = Path(__file__).resolve().parents[2] / "inventory" / "lab"


def folder(tmp_path: Path, extras: dict[str, Any] | None, *, of_a_host: bool = False) -> str:
    """The lab's inventory with these netmiko extras; None leaves all of its connection options out."""
    parts = {
        name: yaml.safe_load((LAB / f"{name}.yaml").read_text()) for name in ("hosts", "groups", "defaults")
    }
    parts = copy.deepcopy(parts)
    del parts["defaults"]["connection_options"]
    if extras is not None:
        place = parts["hosts"]["relay"] if of_a_host else parts["defaults"]
        place["connection_options"] = {"netmiko": {"extras": extras}}
    for name, content in parts.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("extras", "files"),
    [
        (None, (True, False)),
        ({}, (True, False)),
        ({"use_keys": True}, (True, False)),
        ({"ssh_strict": True, "system_host_keys": False}, (True, False)),
        ({"alt_host_keys": True, "alt_key_file": "/x"}, (False, True)),
    ],
)
@pytest.mark.parametrize("of_a_host", [False, True])
def test_every_login_is_strict(
    tmp_path: Path, extras: dict[str, Any] | None, files: tuple[bool, bool], *, of_a_host: bool
) -> None:
    """netmiko is told so for every host, with the files that the inventory names or the user's own."""
    nr, _ = load(folder(tmp_path, extras, of_a_host=of_a_host))
    for name, host in nr.inventory.hosts.items():
        found = dict(host.get_connection_parameters("netmiko").extras or {})
        wanted = files if name == "relay" or not of_a_host else (True, False)
        assert (
            found["ssh_strict"],
            found.get("system_host_keys", False),
            found.get("alt_host_keys", False),
        ) == (
            True,
            *wanted,
        )


@pytest.mark.parametrize("value", [False, None, 0, ""])
@pytest.mark.parametrize("of_a_host", [False, True])
def test_an_inventory_that_takes_any_key_is_refused(
    tmp_path: Path, value: object, *, of_a_host: bool
) -> None:
    """In one sentence with the place and the way out."""
    with pytest.raises(InputError) as caught:
        load(folder(tmp_path, {"ssh_strict": value}, of_a_host=of_a_host))
    place = "relay" if of_a_host else "defaults"
    assert f"{place}: connection_options: netmiko: ssh_strict: false: any host key" in str(caught.value)
    assert "put the node's key into known_hosts" in str(caught.value)


def test_a_group_is_strict_too() -> None:
    """And what a host takes over from its group stays with the group."""
    group = Group("g", connection_options={"netmiko": ConnectionOptions(extras={"key_file": "/k"})})
    host = Host("h", groups=ParentGroups([group]), defaults=Defaults())
    inventory = Inventory(Hosts({"h": host}), Groups({"g": group}), host.defaults)
    make_strict(inventory, "here")
    extras = host.get_connection_parameters("netmiko").extras or {}
    assert extras == {"key_file": "/k", "system_host_keys": True, "ssh_strict": True}


def test_netmiko_by_itself_takes_any_key() -> None:
    """Why this is needed: without a word of it, its policy is to take and keep what it is given."""
    options = {"device_type": "linux", "host": "192.0.2.1", "auto_connect": False}
    assert ConnectHandler(**options).key_policy.__class__.__name__ == "AutoAddPolicy"
    assert ConnectHandler(**options, ssh_strict=True).key_policy.__class__.__name__ == "RejectPolicy"
