"""A lab node as a machine with power: killed with everything in it, and born again with its disks and its links.

The lab's own node ends with its SSH server; here a node is one whose server can be killed and started alone. It lives
in the lab's network namespace of that name and keeps the mounts of its former life: /etc and /var/lib are its disks,
/run and what was put into the kernel go with a reboot.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

from tests.live.faulty_runs import in_node
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.lab.processes import descendants, inner_pid
from vpnmesh.model import Node

_SSHD = "exec /usr/sbin/sshd -f /etc/ssh/sshd_config -E /dev/null"
_KILL_SSHD = 'for p in $(pidof sshd); do kill -9 "$p"; done; true'
# what a kernel forgets: packet filters, pods with their links, tunnels; the ports of the lab are its network cards
_FORGET = """
nft flush ruleset
for n in $(ip netns list | cut -d' ' -f1); do ip netns delete "$n"; done
for i in $(ls /sys/class/net); do
  case "$i" in lo|mgmt0|eth*) ;; *) ip link delete "$i" 2> /dev/null ;; esac
done
for r in $(ip route show dev eth0 | grep -o '^10\\.[^ ]*'); do ip route delete "$r"; done
find /run -xdev -mindepth 1 -delete; mkdir -p /run/sshd /run/lock
"""


class Power:
    """The power switch of one node of a lab."""

    def __init__(self, lab: Lab, node: Node) -> None:
        self._first = lab.node_pid(node.name)
        self._spaces = {
            kind: os.open(f"/proc/{self._first}/ns/{kind}", os.O_RDONLY)
            for kind in ("mnt", "net", "uts", "ipc")
        }
        self._born: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The node's first process as this machine sees it."""
        return self._first

    def off(self) -> None:
        """Everything in it dies at once."""
        os.kill(self._first, signal.SIGKILL)
        if self._born:
            self._born.wait(timeout=30)
            self._born = None
        else:
            while os.path.exists(f"/proc/{self._first}"):  # noqa: PTH110 - another's process, which nobody here waits for
                time.sleep(0.02)

    def on(self) -> None:
        """Boot: the disks as they were, nothing of /run, and an SSH server."""
        files = [f"--{name}=/proc/self/fd/{self._spaces[kind]}" for name, kind in _NSENTER.items()]
        argv = ("nsenter", *files, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._born = subprocess.Popen(
            (*argv, "tini", "--", "sleep", "infinity"),
            pass_fds=tuple(self._spaces.values()),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._first = self._await_first(self._born.pid)
        in_node(self._first, _FORGET)
        self.start_sshd()

    def reboot(self, away_s: float) -> None:
        """Off, and on again after that time."""
        self.off()
        time.sleep(away_s)
        self.on()

    def kill_sshd(self) -> None:
        """The server that listens and all that serve a login; nothing else."""
        in_node(self._first, _KILL_SSHD)

    def start_sshd(self) -> None:
        """Have it listen."""
        in_node(self._first, _SSHD)

    def close(self) -> None:
        """End what was born here; the lab's namespaces go with the lab."""
        if self._born:
            self.off()
        for descriptor in self._spaces.values():
            os.close(descriptor)

    @staticmethod
    def _await_first(starter: int) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                for one in descendants(starter):
                    if inner_pid(one.pid) == 1 and _name(one.pid) == "tini":
                        return one.pid
            time.sleep(0.02)
        raise AssertionError("the node was not born again")


_NSENTER = {"mount": "mnt", "net": "net", "uts": "uts", "ipc": "ipc"}


def _name(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:  # noqa: PTH123 - one word
        return file.read().strip()


@contextlib.contextmanager
def powered(lab: Lab, node: Node) -> Iterator[Power]:
    """The node with a power switch, booted once so that its SSH server is a service like any other."""
    power = Power(lab, node)
    try:
        power.reboot(away_s=0)
        yield power
    finally:
        power.close()
