"""What a node sees instead of the machine it runs on: its mounts, its files, its users. Pure.

The whole root is read-only in a node; what is written lands in memory: copy-on-write over /etc, empty file
systems elsewhere. So nothing that a VPN writes reaches the machine, and nothing of the machine's own VPNs
reaches a node.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # the lab's init loads this module, and needs neither: every lab would wait for them
    from vpnmesh.model import Testbed
    from vpnmesh.solutions.protocol import Solution

USER = "mesh"
PASSWORD_USER = "meshpw"  # noqa: S105 - a user's name
SSHD_CONFIG = "/etc/ssh/sshd_config"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
AUTHORIZED_KEYS = "/etc/ssh/authorized_keys.d"
_FIRST_UID = 2000

# copy-on-write: programs expect the machine's content there
OVERLAID = ("/etc", "/usr/local", "/opt")
# empty and in memory; the order mounts parents first
EMPTY = (
    ("/run", "0755"),
    ("/tmp", "1777"),  # noqa: S108 - the node's own
    ("/root", "0700"),
    ("/home", "0755"),
    ("/var/log", "0755"),
    ("/var/tmp", "1777"),  # noqa: S108 - the node's own
    ("/var/lib", "0755"),
    ("/var/cache", "0755"),
    ("/dev/shm", "1777"),  # noqa: S108 - the node's own
)
# of what EMPTY hides, these are shown again, read-only: a node's tasks ask dpkg for versions
KEPT = ("/var/lib/dpkg",)
# emptied in a node where the machine has them, with the folders of every VPN
_EMPTIED = ("/etc/ssh", "/etc/sudoers.d")


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file of a node; `owner` is a uid and a gid."""

    path: str
    content: str
    mode: int = 0o644
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """A login user of every node; `password` is a crypt(3) hash, or `*` for none."""

    name: str
    uid: int
    password: str = "*"  # noqa: S105 - not a password: the mark for "has none, is not locked"


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A node's host key (private), and the public key that may log in."""

    host_private: str
    client_public: str


def emptied_folders(solutions: "Iterable[Solution]") -> tuple[str, ...]:
    """Folders of the machine that are empty in every node: its ssh and sudo, and those of its own VPNs."""
    vpns = (folder for one in solutions for folder in (f"/etc/{one.name}", *one.host_folders))
    return tuple(dict.fromkeys((*_EMPTIED, *vpns)))


def free_uids(passwd: str, group: str, count: int) -> tuple[int, ...]:
    """Ids that neither file of the machine uses, so that a lab user is nobody there."""
    lines = [line.split(":") for line in (*passwd.splitlines(), *group.splitlines())]
    used = {int(fields[2]) for fields in lines if len(fields) > 2 and fields[2].isdigit()}  # noqa: PLR2004
    free = (uid for uid in range(_FIRST_UID, 60_000) if uid not in used)
    return tuple(next(free) for _ in range(count))


def node_files(
    testbed: "Testbed",
    node: str,
    keys: NodeKeys,
    accounts: Collection[Account],
    machine: Mapping[str, str],
) -> tuple[NodeFile, ...]:
    """Everything that a node has of its own; `machine` holds the machine's `passwd` and `group`."""
    management = testbed.node(node).management
    return (
        NodeFile("/etc/hostname", f"{node}\n"),
        NodeFile("/etc/hosts", hosts_file(testbed, node)),
        NodeFile("/etc/resolv.conf", "# nothing in the lab has a way out\n"),
        NodeFile("/etc/passwd", _passwd(machine["passwd"], accounts)),
        NodeFile("/etc/group", _group(machine["group"], accounts)),
        NodeFile("/etc/shadow", _shadow(machine["passwd"], accounts), 0o600),
        NodeFile("/etc/sudoers", sudoers(), 0o440),
        NodeFile("/etc/bash.bashrc", ""),
        NodeFile("/etc/environment", ""),
        NodeFile(SSHD_CONFIG, sshd_config(management, accounts)),
        NodeFile(HOST_KEY, keys.host_private, 0o600),
        *(NodeFile(f"{AUTHORIZED_KEYS}/{account.name}", keys.client_public) for account in accounts),
    )


def hosts_file(testbed: "Testbed", node: str) -> str:
    """Every node by its underlay address: that is how nodes may reach each other."""
    others = (f"{other.underlay} {other.name}" for other in testbed.nodes if other.legs)
    return "\n".join(("127.0.0.1 localhost", "::1 localhost", f"127.0.1.1 {node}", *others)) + "\n"


def sshd_config(management: str, accounts: Iterable[Account]) -> str:
    """Keys only, on the management address only, and nothing that makes a login slow.

    PAM is off: a key login needs none where the password field is `*` (sshd takes `!` for a locked account).
    """
    options = (
        f"ListenAddress {management}:22",
        f"HostKey {HOST_KEY}",
        f"AuthorizedKeysFile {AUTHORIZED_KEYS}/%u",
        f"AllowUsers {' '.join(account.name for account in accounts)}",
        "PidFile none",
        "PermitRootLogin no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "UseDNS no",
        "PrintMotd no",
        "PrintLastLog no",
        "X11Forwarding no",
        "MaxStartups 200",
        "MaxSessions 200",
        "Subsystem sftp internal-sftp",
    )
    return "\n".join(options) + "\n"


def sudoers() -> str:
    """`mesh` needs no password, `meshpw` needs one every time; no file of the machine is included."""
    return "\n".join(
        (
            "Defaults env_reset, !lecture, !fqdn, timestamp_timeout=0, passwd_tries=1",
            'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"',
            "root ALL=(ALL:ALL) ALL",
            f"{USER} ALL=(ALL:ALL) NOPASSWD: ALL",
            f"{PASSWORD_USER} ALL=(ALL:ALL) ALL",
            "",
        )
    )


def _others(text: str, accounts: Iterable[Account]) -> list[str]:
    """The machine's lines without those that a lab user takes over."""
    taken = {account.name for account in accounts}
    return [line for line in text.splitlines() if line and line.split(":", 1)[0] not in taken]


def _passwd(machine: str, accounts: Collection[Account]) -> str:
    own = [f"{a.name}:x:{a.uid}:{a.uid}::/home/{a.name}:/bin/bash" for a in accounts]
    return "\n".join((*_others(machine, accounts), *own)) + "\n"


def _group(machine: str, accounts: Collection[Account]) -> str:
    own = [f"{account.name}:x:{account.uid}:" for account in accounts]
    return "\n".join((*_others(machine, accounts), *own)) + "\n"


def _shadow(machine_passwd: str, accounts: Collection[Account]) -> str:
    """No password of the machine's users comes along."""
    others = [f"{line.split(':', 1)[0]}:*:19000:0:99999:7:::" for line in _others(machine_passwd, accounts)]
    own = [f"{account.name}:{account.password}:19000:0:99999:7:::" for account in accounts]
    return "\n".join((*others, *own)) + "\n"
