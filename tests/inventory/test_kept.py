"""How a run's nodes are reached is kept beside its results: enough to log in again, and no secret."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from inventory.kept import kept_inventory, nornir_of_kept
from inventory.load import BUILT_IN, nornir_of_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An inventory with passwords in all the places that they can be in."""
    place = tmp_path / "inventory"
    shutil.copytree(BUILT_IN / "lab", place)
    hosts = yaml.safe_load((place / "hosts.yaml").read_text())
    hosts["relay"] |= {"password": "hidden-1", "username": "other"}
    hosts["relay"]["data"] |= {"sudo_password": "hidden-2", "api_token": "hidden-3"}
    hosts["relay"]["connection_options"] = {"netmiko": {"extras": {"passphrase": "hidden-4", "timeout": 7}}}
    (place / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return place


def test_what_is_kept_has_no_secret(folder: Path) -> None:
    """Whatever its key is called, wherever it is."""
    assert "hidden" not in json.dumps(kept_inventory(nornir_of_files(folder).inventory))


def test_nodes_come_back_as_they_were_and_passwords_from_today(folder: Path) -> None:
    """The inventory may be gone; where it is there, and has the node at the same address, it gives its passwords."""
    nr = nornir_of_files(folder)
    kept = json.loads(json.dumps(kept_inventory(nr.inventory)))
    again = nornir_of_kept(kept)
    for name, host in nr.inventory.hosts.items():
        now = again.inventory.hosts[name]
        for attribute in ("hostname", "port", "username", "platform"):
            assert getattr(now, attribute) == getattr(host, attribute)
        extras = host.get_connection_parameters("netmiko").extras or {}
        kept_extras = {key: value for key, value in extras.items() if key != "passphrase"}
        assert now.get_connection_parameters("netmiko").extras == kept_extras
    relay = again.inventory.hosts["relay"]
    assert (relay.password, relay.get("sudo_password")) == (None, None)
    assert (relay.get_connection_parameters("netmiko").extras or {})["timeout"] == 7
    relay = nornir_of_kept(kept, nr).inventory.hosts["relay"]
    assert (relay.password, relay.get("sudo_password")) == ("hidden-1", "hidden-2")
    nr.inventory.hosts["relay"].hostname = "198.51.100.1"
    assert nornir_of_kept(kept, nr).inventory.hosts["relay"].password is None
