"""Many SSH hosts on this machine's loopback: an sshd each, with a home and a folder that no other host sees.

They live in one process namespace that ends with the process that made it, whatever ends that. Each listens on an
address of 127.0.0.0/8, has a host key of its own, and shows the contents of its `/srv` to the bench as a folder.
"""

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vpnmesh.lab.controller import await_ssh

GREETING_S, GREETING_EACH_S = 60.0, 0.3
_FIRST = IPv4Address("127.1.0.1")
_OPTIONS = (
    "UsePAM no",
    "UseDNS no",
    "StrictModes no",
    "PidFile none",
    "PermitRootLogin prohibit-password",
    "PasswordAuthentication no",
    "PrintMotd no",
    "PrintLastLog no",
    "MaxStartups 200",
    "MaxSessions 200",
    "Subsystem sftp internal-sftp",
)
# the machine's own shell start-up files and runtime folders stay out of what is measured
_START = "mount -t tmpfs none /root && mount -t tmpfs none /run && mkdir /run/sshd && mount --bind {srv} /srv"


@dataclass(frozen=True, slots=True)
class Farm:
    """The hosts by name, and where their keys are; `srv` of a host is what it has as `/srv`."""

    folder: Path
    addresses: dict[str, str]

    @property
    def key(self) -> Path:
        """The key that logs in to every host as root."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Every host's key by its address."""
        return self.folder / "known_hosts"

    def srv(self, name: str) -> Path:
        """The host's `/srv`, as seen from here."""
        return self.folder / name


def addresses_of(count: int) -> dict[str, str]:
    """The names and addresses of so many hosts."""
    return {f"host{number:04}": str(_FIRST + number) for number in range(count)}


@contextmanager
def farm(folder: Path, count: int) -> Iterator[Farm]:
    """So many hosts that answer, in the caller's network namespace; gone at the end. Needs root."""
    made = Farm(folder, addresses_of(count))
    _write(made)
    argv = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
    script = folder / "start.sh"
    running = subprocess.Popen((*argv, "--mount-proc", "sh", str(script)), stderr=subprocess.DEVNULL)
    try:
        await_ssh(made.addresses.values(), GREETING_S + count * GREETING_EACH_S)
        yield made
    finally:
        running.kill()
        running.wait()


def _write(made: Farm) -> None:
    """Keys, a configuration for each sshd, and the script that starts them all and then waits."""
    public = _key(made.key)
    (made.folder / "authorized_keys").write_text(f"{public}\n")
    known, lines = [], ["mkdir -p /srv"]
    for name, address in made.addresses.items():
        made.srv(name).mkdir()
        key = made.folder / f"{name}.key"
        known.append(f"{address} {_key(key)}\n")
        own = (
            f"ListenAddress {address}:22",
            f"HostKey {key}",
            f"AuthorizedKeysFile {made.folder}/authorized_keys",
        )
        config = made.folder / f"{name}.sshd_config"
        config.write_text("\n".join((*own, *_OPTIONS)) + "\n")
        start = f"{_START.format(srv=shlex.quote(str(made.srv(name))))} && exec /usr/sbin/sshd -D -f {config}"
        lines.append(f"unshare --mount sh -c {shlex.quote(start)} &")
    made.known_hosts.write_text("".join(known))
    (made.folder / "start.sh").write_text("\n".join((*lines, "wait")) + "\n")


def _key(path: Path) -> str:
    """A new private key in a file; returns its public half."""
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
