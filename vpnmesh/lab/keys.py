"""The keys and the password of one lab: made when it comes up, gone with its directory."""

import secrets
import subprocess
from collections.abc import Iterable
from pathlib import Path

from vpnmesh.lab.directory import LabDirectory
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.nodes import PASSWORD_USER, USER, Account, free_uids

_STEP = "keys"
_TIMEOUT_S = 60.0


def make_keys(directory: LabDirectory, hosts: Iterable[str]) -> None:
    """An ed25519 key for the controller, and one for each node, all at once."""
    paths = [(directory.key, "vpnmesh-lab"), *((host_key(directory, name), name) for name in hosts)]
    running = [subprocess.Popen(_keygen(path, comment), stderr=subprocess.PIPE) for path, comment in paths]
    for maker in running:
        _, complaint = maker.communicate(timeout=_TIMEOUT_S)
        if maker.returncode != 0:
            raise LabError(_STEP, complaint.decode().strip())


def _keygen(path: Path, comment: str) -> tuple[str, ...]:
    return ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def host_key(directory: LabDirectory, node: str) -> Path:
    """Where a node's private host key is; its public half is beside it."""
    return directory.ssh / "hosts" / node


def write_known_hosts(directory: LabDirectory, addresses: Iterable[tuple[str, str]]) -> None:
    """One line per node, (name, management address), so that the first connection is already checked."""
    lines = []
    for name, address in addresses:
        kind, key, _ = host_key(directory, name).with_name(f"{name}.pub").read_text().split(" ", 2)
        lines.append(f"{address} {kind} {key}\n")
    directory.known_hosts.write_text("".join(lines))
    directory.known_hosts.chmod(0o600)


def make_accounts(directory: LabDirectory, passwd: str, group: str) -> tuple[Account, ...]:
    """`mesh` without a password, and `meshpw` with one that only this lab's directory tells."""
    password = secrets.token_urlsafe(18)
    directory.password.touch(mode=0o600)
    directory.password.write_text(password)
    first, second = free_uids(passwd, group, 2)
    return (Account(USER, first), Account(PASSWORD_USER, second, _crypt(password)))


def _crypt(password: str) -> str:
    """The crypt(3) hash; the password goes by stdin, for everybody can read a command line."""
    argv = ("openssl", "passwd", "-6", "-stdin")
    done = subprocess.run(
        argv, input=password, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise LabError(_STEP, done.stderr.strip())
    return done.stdout.strip()
