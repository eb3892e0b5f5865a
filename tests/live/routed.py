"""Three private namespaces for the engines' tests: two workers and the firewall that routes between them.

Everything lives below one init of its own PID, mount and network namespace, and goes when that is killed.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from tests.needs import on_stock_kernel
from vpnmesh.errors import CommandError
from vpnmesh.model import Leg, Node, NodeKind, Pair, Role, Testbed, Vlan
from vpnmesh.plan import Command, Completed, Fact, Plan, Step, reveal

T = TypeVar("T")
PAIR = Pair("worker1", "worker2")
PER_SECOND = 4_000 if on_stock_kernel() else 25_000
"""Packets of the meter; an emulator is ten times slower, and what it cannot carry its queues drop."""
METER = Path(__file__).with_name("udp_meter.py")
PORT = 5000


def small_testbed(management_interface: str = "mgmt0", leg: str = "vlan{}") -> Testbed:
    """Two workers and the firewall, whose legs are named by their VLAN; what the engines' targets need of a testbed."""
    prefixes = {20: IPv4Network("192.88.99.8/29"), 30: IPv4Network("192.88.99.16/29")}
    workers = tuple(
        Node(
            f"worker{index}",
            NodeKind.NETNS,
            frozenset({Role.K8S_WORKER}),
            f"198.18.213.{10 + index}",
            (Leg(vid, "eth0", IPv4Interface((prefix[2], 29))),),
            management_interface=management_interface,
        )
        for index, (vid, prefix) in enumerate(prefixes.items(), start=1)
    )
    legs = tuple(
        Leg(vid, leg.format(vid), IPv4Interface((prefix[1], 29))) for vid, prefix in prefixes.items()
    )
    firewall = Node("firewall", NodeKind.NETNS, frozenset({Role.FIREWALL}), "198.18.213.16", legs)
    vlans = tuple(Vlan(vid, f"worker{vid // 10 - 1}", prefix, prefix[1]) for vid, prefix in prefixes.items())
    overlay, pods = IPv4Network("10.213.0.0/24"), IPv4Network("10.136.0.0/16")
    return Testbed("small", (*workers, firewall), vlans, overlay, pods)


@dataclass(frozen=True, slots=True)
class Routed:
    """The running namespaces; `node` is a node's name everywhere."""

    testbed: Testbed
    init_pid: int

    def argv(self, node: str, argv: Sequence[str]) -> tuple[str, ...]:
        """The command as it must be called from outside."""
        inside = ("nsenter", "-t", str(self.init_pid), "-m", "-n", "-p", "--")
        return (*inside, *(() if node == "firewall" else ("ip", "netns", "exec", node)), *argv)

    def run(self, node: str, *argv: str, stdin: str = "", timeout_s: float = 300) -> Completed:
        """Run a command as root on a node, whatever it ends with."""
        full = self.argv(node, argv)
        done = subprocess.run(
            full, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return Completed(argv, done.returncode, done.stdout, done.stderr)

    def check(self, node: str, *argv: str, stdin: str = "") -> str:
        """Run a command that must succeed."""
        done = self.run(node, *argv, stdin=stdin)
        if done.exit_code != 0:
            raise CommandError(node, argv, done.exit_code, done.stderr)
        return done.stdout

    def gather(self, node: str, fact: Fact[T]) -> T:
        """Ask a fact's questions."""
        return fact.parse([self._command(node, command) for command in fact.commands])

    def apply(self, node: str, plan: Plan) -> None:
        """Carry a plan out; CommandError at the first step that fails."""
        for step in plan.steps:
            self._step(node, step)

    def _step(self, node: str, step: Step) -> None:
        if isinstance(step, Command):
            done = self._command(node, step)
            if done.exit_code not in step.ok:
                raise CommandError(node, done.argv, done.exit_code, done.stderr)
        else:
            path = shlex.quote(step.path)
            self.check(node, "sh", "-c", f"umask 077; cat > {path}", stdin=reveal(step.content))

    def _command(self, node: str, command: Command) -> Completed:
        return self.run(node, *command.argv, stdin=reveal(command.stdin), timeout_s=command.timeout_s)

    def address(self, node: str) -> IPv4Address:
        """A node's underlay address."""
        return self.testbed.node(node).underlay

    def meter(
        self,
        sender: str,
        receiver: str,
        count: int,
        per_second: int = PER_SECOND,
        address: str = "",
        size: int = 12,
    ) -> dict[str, Any]:
        """Send datagrams of `size` bytes one way and say what came, in ms."""
        to = address or str(self.address(receiver))
        if ":" in to:
            # with a deadline ping ends at the first answer, which takes more than one question where some are lost
            self.run(sender, "ping", "-n", "-q", "-c", "1", "-i", "0.2", "-w", "20", to)
        family = ("ipv6",) if ":" in to else ()
        listen = self.argv(receiver, (sys.executable, str(METER), "receive", str(PORT), str(count), *family))
        pipe = subprocess.PIPE
        with subprocess.Popen(listen, stdin=pipe, stdout=pipe, text=True) as listener:
            assert listener.stdin is not None
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            argv = (sys.executable, str(METER), "send", to, str(PORT), str(count), str(per_second), str(size))
            done = self.run(sender, *argv, timeout_s=300)
            assert done.exit_code == 0, done.stderr
            listener.stdin.close()
            report: dict[str, Any] = json.loads(listener.stdout.read())
        return report


def wire_directly(net: Routed) -> None:
    """Each worker by a link of its own to the firewall; each end knows the other's link address from the start.

    Behind netem ARP's question waits or is lost as all else; of what is sent meanwhile the kernel keeps 212,992 bytes,
    some 277 datagrams, and drops the rest. And what it asks by itself takes a place in a queue that tests fill.
    """
    lines = (*_BASE, *_links(net, lambda vid: f"vlan{vid}"), *_neighbours(net))
    net.check("firewall", "sh", "-c", "\n".join(lines))


def _neighbours(net: Routed) -> list[str]:
    """Permanent entries at both ends of each worker's link."""
    lines = ["mac() { sed 's/.* link.ether \\([^ ]*\\).*/\\1/'; }"]
    for worker in net.testbed.workers:
        own, name, leg = worker.leg, worker.name, f"vlan{worker.leg.vid}"
        gateway = net.testbed.vlan(own.vid).gateway
        lines += [
            f"here=$(ip -o link show {leg} | mac) there=$(ip -n {name} -o link show {own.interface} | mac)",
            f"ip neigh replace {own.address.ip} lladdr $there dev {leg} nud permanent",
            f"ip -n {name} neigh replace {gateway} lladdr $here dev {own.interface} nud permanent",
        ]
    return lines


@contextmanager
def routed(testbed: Testbed, wire: Callable[[Routed], None] = wire_directly) -> Iterator[Routed]:
    """Make the namespaces, wired as asked, and have nothing left of them after."""
    flags = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    # `cat` lives exactly as long as this process holds its input, on however slow a machine
    holder = subprocess.Popen(("unshare", *flags, "tini", "--", "sh", "-c", "echo up; exec cat"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        net = Routed(testbed, int(children[0]))
        wire(net)
        yield net
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.close()
        holder.stdout.close()


# what a kernel sends of IPv6 by itself takes places in queues that tests fill
_NO_IPV6 = "sysctl -qew net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
_BASE = (
    "set -e; mount -t tmpfs none /run; mkdir /run/netns; ip link set lo up",
    f"sysctl -qw net.ipv4.ip_forward=1; {_NO_IPV6}",
)


def wire_by_switch(net: Routed) -> None:
    """All by a bridge that filters VLANs: workers at p20 and p30, the firewall's legs as 802.1q on one trunk.

    The bridge and the firewall share the outermost namespace; the trunk is tagged, the workers' ports are as new ones.
    """
    vids = [vlan.vid for vlan in net.testbed.vlans]
    trunk = (
        "ip link add br0 type bridge vlan_filtering 1; ip link set br0 up",
        "ip link add trunk type veth peer name uplink; ip link set trunk up",
        "ip link set uplink master br0 up; bridge vlan del dev uplink vid 1",
        *(
            f"bridge vlan add dev uplink vid {vid}; ip link add link trunk name trunk.{vid} type vlan id {vid}"
            for vid in vids
        ),
    )
    net.check(
        "firewall", "sh", "-c", "\n".join((*_BASE, *trunk, *_links(net, lambda vid: f"trunk.{vid}", "p")))
    )


def _links(net: Routed, leg: Callable[[int], str], port: str = "") -> list[str]:
    """The workers' links, and in each worker a second address outside the testbed's prefixes, to stay unharmed.

    `leg` names the firewall's interface in a VLAN; with `port` the worker's link ends at the bridge instead.
    """
    lines = []
    for index, worker in enumerate(net.testbed.workers):
        own, name = worker.leg, worker.name
        gateway = net.testbed.vlan(own.vid).gateway
        end = f"{port}{own.vid}" if port else leg(own.vid)
        lines += [
            f"ip netns add {name}; ip netns exec {name} {_NO_IPV6}",
            f"ip link add {end} type veth peer name {own.interface} netns {name}",
            *((f"ip link set {end} master br0 up",) if port else ()),
            f"ip addr add {gateway}/29 dev {leg(own.vid)}; ip link set {leg(own.vid)} up",
            f"ip -n {name} link set lo up; ip -n {name} addr add {own.address} dev {own.interface}",
            f"ip -n {name} link set {own.interface} up; ip -n {name} route add default via {gateway}",
            f"ip -n {name} addr add {outside(index)}/32 dev lo; ip route add {outside(index)} via {own.address.ip}",
        ]
    return lines


def outside(index: int) -> str:
    """The address of worker `index` (from 0) that belongs to no prefix of the testbed."""
    return f"203.0.113.{index + 1}"
