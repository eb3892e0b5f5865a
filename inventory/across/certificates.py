"""Who may take part: an authority of one's own, a certificate for each of the three roles, and the seal's key.

    FOLDER/authority/   the authority's key: only `init` needs it, keep it off the network
    FOLDER/scheduler/   ca.pem, cert.pem, key.pem
    FOLDER/worker/      the same, and seal.key
    FOLDER/client/      the same, and seal.key: the controller's

Dask checks that the other end's certificate is of this authority, in both directions, and no more: whoever holds one
of the three may act in each role, run code on every worker included. The scheduler has no seal.key, so that it cannot
read what it hands on.
"""

import datetime as dt
import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inventory.across.own_files import refuse_readable_by_others
from inventory.across.parcel import Seal
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError
from vpnmesh.lab.atomic import make_private, open_private

if TYPE_CHECKING:
    from distributed import Security

Role = Literal["scheduler", "worker", "client"]
ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
SEALED: tuple[Role, ...] = ("worker", "client")
"""The roles that open parcels."""
VALID_DAYS = 825
CA, CERTIFICATE, KEY, SEAL = "ca.pem", "cert.pem", "key.pem", "seal.key"
TLS, PLAIN = "tls", "tcp"
MAKE = "make them with `python -m workflows.workers init FOLDER`"


def make_credentials(folder: Path) -> list[Path]:
    """Make the four folders, with files of mode 0600.

    InputError where there is something already, or nothing can be written.
    """
    try:
        return _make(folder)
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be written: {error.strerror}", "name another folder"
        ) from error


def _make(folder: Path) -> list[Path]:
    if folder.exists() and any(folder.iterdir()):
        raise InputError(str(folder), "is not empty", "name another folder: what is in use is never replaced")
    authority = ec.generate_private_key(ec.SECP256R1())
    name = _name("vpnmesh workers: authority")
    root = _certificate(name, name, authority.public_key(), authority, authority=True)
    written = [_write(folder / "authority" / KEY, _key_text(authority))]
    seal = Seal.new_key()
    for role in ROLES:
        key = ec.generate_private_key(ec.SECP256R1())
        own = _certificate(_name(f"vpnmesh workers: {role}"), name, key.public_key(), authority)
        content = {CA: _text(root), CERTIFICATE: _text(own), KEY: _key_text(key)}
        content |= {SEAL: seal} if role in SEALED else {}
        written += [_write(folder / role / file, text) for file, text in content.items()]
    return written


def _write(path: Path, content: bytes) -> Path:
    make_private(path.parent)
    with open_private(path, os.O_EXCL) as file:
        file.write(content)
    return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(
            x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
        )
    )
    if not authority:
        # Dask's scheduler and workers are servers and clients of each other
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _text(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """One role's folder, whose files are there and nobody else's to read."""

    folder: Path
    role: Role

    @classmethod
    def read(cls, folder: Path, role: Role) -> "Credentials":
        """InputError where a file is missing, or may be read by others. `folder` is the role's, or that above it."""
        here = folder / role if (folder / role).is_dir() else folder
        for name in (CA, CERTIFICATE, KEY, *([SEAL] if role in SEALED else [])):
            _check(here / name)
        return cls(here, role)

    def security(self) -> "Security":
        """For Dask: TLS with these files, nothing else is spoken."""
        from distributed import Security  # noqa: PLC0415 - an optional extra

        files = {f"tls_{self.role}_cert": CERTIFICATE, f"tls_{self.role}_key": KEY, "tls_ca_file": CA}
        return Security(
            require_encryption=True, **{option: str(self.folder / name) for option, name in files.items()}
        )

    def seal(self) -> Seal:
        """What parcels are packed and opened with."""
        return Seal((self.folder / SEAL).read_bytes())


def _check(path: Path) -> None:
    try:
        if path.name == CA:
            path.stat()
        else:
            refuse_readable_by_others(path)
    except OSError as error:
        raise unreadable(path, error, MAKE) from error


def checked_address(address: str, place: str, *, plain: bool = False) -> str:
    """The address of a scheduler; InputError unless it is `tls://HOST:PORT`, or with `plain` one on loopback."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None or parts.scheme not in (TLS, PLAIN):
        raise InputError(place, f"{address!r} is no address of a scheduler", "write tls://HOST:PORT")
    if parts.scheme == PLAIN and not (plain and _is_loopback(host)):
        raise InputError(
            place,
            f"{address} is not encrypted",
            "write tls://HOST:PORT; only on loopback, and asked for, is tcp:// spoken (docs/dask.md)",
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
