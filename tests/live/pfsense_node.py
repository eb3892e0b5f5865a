"""The stand-in pfSense in the lab's firewall node, and an inventory that names it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import yaml

from inventory.load import load
from tests.firewall.appliance import FOREIGN_ALIAS, foreign_pass, make_certificate
from vpnmesh.lab.lifecycle import Lab

ROOT = Path(__file__).resolve().parents[2]
KEY = "a key"
PORT = 8443


@dataclass(frozen=True)
class Standing:
    """The stand-in in the firewall node, and the inventory that names it."""

    inventory: Path
    config: Path

    def content(self) -> dict[str, object]:
        """Its configuration on disk."""
        found: dict[str, object] = json.loads(self.config.read_text(encoding="utf-8"))
        return found


@contextmanager
def stand_in(lab: Lab, folder: Path) -> Iterator[Standing]:
    """It serves on the firewall node's management address; its kernel side loads nftables there."""
    _, testbed = load("lab")
    legs = {leg.interface: [str(leg.address.network)] for leg in testbed.firewall.legs}
    certificate, ca_file = make_certificate(folder, testbed.firewall.management)
    settings = {
        "address": testbed.firewall.management,
        "port": PORT,
        "certificate": str(certificate),
        "config": str(folder / "config.json"),
        "key": KEY,
        "interfaces": legs,
        "aliases": [FOREIGN_ALIAS],
        "rules": [foreign_pass(name) for name in legs],
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    inside = ("nsenter", "-t", str(lab.node_pid("firewall")), "-n")
    argv = (*inside, sys.executable, "-m", "tests.pfsense_server", str(path))
    with subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Standing(_inventory(folder, testbed.firewall.management, ca_file), folder / "config.json")
        assert process.stdin
        process.stdin.close()
        subprocess.run((*inside, "nft", "delete", "table", "inet", "pfsense"), check=True)


def _inventory(folder: Path, address: str, ca_file: Path) -> Path:
    """The lab's inventory with a pfSense for a firewall."""
    copied = copytree(ROOT / "inventory" / "lab", folder / "inventory")
    hosts = yaml.safe_load((copied / "hosts.yaml").read_text())
    key = folder / "key"
    key.write_text(KEY)
    hosts["firewall"]["data"] |= {
        "firewall_driver": "pfsense-rest",
        "pfsense_url": f"https://{address}:{PORT}",
        "pfsense_tls_ca": str(ca_file),
        "pfsense_key_file": str(key),
    }
    (copied / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return copied
