"""A stand-in pfSense with packets in memory, and our driver pointed at it."""

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from shutil import copytree

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inventory.load import load
from tasks.firewall.journal import Journal
from tasks.firewall.pfsense_api import PfsenseAccess, PfsenseApi
from tasks.firewall.pfsense_rest import PfsenseRest
from tasks.firewall.policy import change
from tests.pfsense_server.config import Config, Item
from tests.pfsense_server.filter import MemoryKernel
from tests.pfsense_server.schema import Schema
from tests.pfsense_server.server import Appliance, serve
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.firewall.session import ChangeOrigin
from vpnmesh.model import Testbed
from vpnmesh.plan import Secret

KEY = "a key"
RUN = "run-1"
WORKER1, WORKER2, RELAY = "192.88.99.10", "192.88.99.18", "192.88.99.26"

# what is on the firewall before we come: an alias, a floating rule that is none of our business, a pass per interface
FOREIGN_ALIAS: Item = {
    "name": "admins",
    "type": "host",
    "address": ["192.0.2.9"],
    "detail": ["x"],
    "descr": "theirs",
}
FOREIGN_FLOATING: Item = {
    "type": "block",
    "interface": ["vlan40"],
    "ipprotocol": "inet",
    "protocol": "tcp",
    "source": "any",
    "destination": "admins",
    "descr": "theirs: floating",
    "floating": True,
    "quick": True,
    "direction": "out",
}


def foreign_pass(interface: str) -> Item:
    """The rule that lets everything through, as the paper's testbed has it per VLAN."""
    return {
        "type": "pass",
        "interface": [interface],
        "ipprotocol": "inet46",
        "source": "any",
        "destination": "any",
        "descr": f"theirs: {interface}",
    }


def six_nodes() -> Testbed:
    """The embedded testbed."""
    return load("lab")[1]


@functools.cache
def schema() -> Schema:
    """The API's schema, read once: that takes a second."""
    return Schema()


def appliance_of(testbed: Testbed, folder: Path) -> Appliance:
    """A stand-in that routes the testbed's VLANs and holds foreign rules, all loaded."""
    interfaces: dict[str, tuple[str, ...]] = {
        leg.interface: (str(leg.address.network),) for leg in testbed.firewall.legs
    }
    config = Config(interfaces, path=folder / "config.json")
    config.create("aliases", FOREIGN_ALIAS)
    config.create("rules", FOREIGN_FLOATING)
    for interface in interfaces:
        config.create("rules", foreign_pass(interface))
    kernel = MemoryKernel(config)
    kernel.reload()
    config.dirty.clear()
    return Appliance(config, kernel, schema(), {KEY: {"page-all"}})


@dataclass
class Bench:
    """The stand-in, where it listens, and all that a driver needs to talk to it."""

    appliance: Appliance
    kernel: MemoryKernel
    url: str
    ca_file: Path
    journal: Journal
    testbed: Testbed

    def access(self, **changes: str | None) -> PfsenseAccess:
        """The right way in, with changes."""
        found: dict[str, str | None] = {
            "url": self.url,
            "ca_file": str(self.ca_file),
            "fingerprint": None,
            **changes,
        }
        key = found.pop("key", KEY)
        return PfsenseAccess(
            "pf", str(found["url"]), Secret(str(key)), found["ca_file"], found["fingerprint"]
        )

    def driver(self, run: str = RUN, said: list[str] | None = None, **changes: str | None) -> PfsenseRest:
        """A driver for a run."""
        told = said if said is not None else []
        return PfsenseRest(PfsenseApi(self.access(**changes)), self.testbed, Mark(run), told.append)

    def change(self, policy: str, run: str = RUN, driver: PfsenseRest | None = None) -> str:
        """Have the firewall hold the policy, by the safe way; returns the diff."""
        wanted = resolve(policy_named(policy), self.testbed)
        return change(driver or self.driver(run), wanted, self.origin(run), self.journal, dry_run=False)

    def origin(self, run: str = RUN) -> ChangeOrigin:
        """Whose changes they are."""
        return ChangeOrigin(run, "firewall", "pfsense-rest", self.url)

    def udp(self, source: str, destination: str) -> bool:
        """Whether a UDP packet gets through the stand-in."""
        return self.kernel.send("udp", source, destination)


def bench(folder: Path) -> Bench:
    """A stand-in over TLS on a free port of this machine."""
    testbed = six_nodes()
    appliance = appliance_of(testbed, folder)
    certificate, ca_file = make_certificate(folder)
    server = serve(appliance, ("127.0.0.1", 0), certificate)
    assert isinstance(appliance.kernel, MemoryKernel)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    return Bench(appliance, appliance.kernel, url, ca_file, Journal(folder / "journal"), testbed)


def inventory(pf: Bench, folder: Path) -> str:
    """The lab's inventory with the stand-in for a firewall."""
    copied = copytree(Path(__file__).parents[2] / "inventory" / "lab", folder / "inventory")
    hosts = yaml.safe_load((copied / "hosts.yaml").read_text())
    (folder / "key").write_text(KEY)
    hosts["firewall"]["data"] |= {
        "firewall_driver": "pfsense-rest",
        "pfsense_url": pf.url,
        "pfsense_tls_ca": str(pf.ca_file),
        "pfsense_key_file": str(folder / "key"),
    }
    (copied / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return str(copied)


def without_nodes(folder: Path) -> None:
    """Have no node of that inventory answer: nobody listens on port 1."""
    hosts = yaml.safe_load((folder / "hosts.yaml").read_text())
    nowhere = {
        name: {**host, "hostname": f"127.0.0.{place}", "port": 1}
        for place, (name, host) in enumerate(hosts.items(), start=1)
    }
    (folder / "hosts.yaml").write_text(yaml.safe_dump(nowhere))


def make_certificate(folder: Path, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate for an address: (key and certificate in one file, the certificate alone)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both, alone = folder / "server.pem", folder / "ca.pem"
    both.write_bytes(private + public)
    alone.write_bytes(public)
    return both, alone
