"""Six hosts of somebody else: a lab that the commands under test know only by SSH and by DNS names.

They are a little as machines are that somebody works with: on one a WireGuard that its owner needs, on another one NIC
for everything, and a router whose own rules let pass what its owner allowed and drop the rest.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from inventory.sources import inventory_text
from tests.conftest import ROOT
from vpnmesh.lab.lifecycle import Lab, up
from vpnmesh.lab.twin import Twin, plan_twin
from vpnmesh.lab.twin_command import lab_login
from vpnmesh.model import NodeKind

SHARED, BESIDE, ROUTER = "worker2", "hypervisor", "firewall"
"""The host with one NIC, the one with a VPN of its owner's, and the router."""
OWNERS_VPN = "corp0"
_PAM = "UsePAM no\nUseDNS no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\nPidFile none\n"
# what Debian's own configuration says, as far as a host without systemd can follow it
_SSHD = (
    f"ListenAddress 0.0.0.0\nHostKey /etc/ssh/ssh_host_ed25519_key\nMaxStartups 200\nMaxSessions 200\n{_PAM}"
)
_OWNERS_RULES = """
table inet corp {{
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ip saddr {vlans} ip daddr {vlans} meta l4proto {{ tcp, udp, icmp }} accept
    ip saddr {controller} tcp dport 22 accept
  }}
  chain input {{
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto icmp accept
    tcp dport 22 accept
  }}
}}
"""
_NODE_RULES = """
table inet corp {{
  chain input {{
    type filter hook input priority 0; policy accept;
    ip saddr {controller} tcp dport 22 accept
    tcp dport 22 ip saddr != {vlans} drop
  }}
}}
"""
# not looked at: stamps of sudo; folders that iproute2 and mount make once and keep; the engine of a lab, which hosts
# with netem do not get; what tests beside this one put into this machine's own /opt; times of the files of users,
# whose lines count, and the copies that useradd makes of them
_LISTING = r"""
echo "== files"
find /etc /opt /usr/local /run /root /home /tmp /var/lib /var/cache /var/tmp /dev/shm -xdev \
  \( -path '/run/sudo*' -o -path '/var/lib/sudo*' -o -path /run/netns -o -path /run/mount \
  -o -path /run/vpnmesh-engine -o -path '/opt/vpnmesh-test-*' \
  -o -regex '/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-?' \) -prune \
  -o -type d -printf '%p %m %u %g\n' -o -printf '%p %y %m %u %g %s %T@ %l\n' | sort
for f in passwd group shadow gshadow; do sort /etc/$f | sed "s/^/$f: /"; done
echo "== rules"; nft -s list ruleset; iptables-save 2> /dev/null | grep -v '^#' | sed 's/\[.*//'
echo "== routes"; ip route show table all; ip rule
echo "== interfaces"; ip -o link | sed 's/ qlen.*//'; ip -o addr | sed 's/valid_lft.*//'; tc qdisc show
ip netns list
echo "== settings"; sysctl -a --pattern '^(net|fs.inotify)' 2> /dev/null | grep -v 'nf_conntrack_count'
echo "== processes"; ps -eo user:20,args | grep -v -e 'ps -eo' -e 'sort$' -e ' sh -c' -e 'grep -v'
"""


@dataclass(frozen=True, slots=True)
class RealHosts:
    """The hosts that stand; `variables` are what whoever sits at their consoles was told (the page's own words)."""

    lab: Lab
    twin: Twin
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts as the inventory names them."""
        return tuple(node.name for node in self.twin.real.nodes)

    def as_root(self, name: str, script: str) -> str:
        """What a shell says on a host, at its console."""
        enter = ("nsenter", "--target", str(self.lab.node_pid(name)), *_NAMESPACES)
        environment = {**os.environ, "HOME": "/root", **self.variables}
        argv = (*enter, "--", "sh", "-c", f"cd /; exec 2>&1; {script}")
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{name}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def await_logout(self) -> None:
        """Wait until the last login has ended on every host: no user is deleted who still runs something."""
        wait = "i=0; while pgrep -u ops > /dev/null && [ $i -lt 120 ]; do sleep 0.5; i=$((i+1)); done"
        for name in self.names:
            self.as_root(name, wait)

    def listing(self) -> dict[str, list[str]]:
        """All that a guest could leave on a host: files, rules, routes, settings, interfaces, processes."""
        return {name: self.as_root(name, _LISTING).splitlines() for name in self.names}


_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")


@dataclass(frozen=True, slots=True)
class Controller:
    """This machine as its user sees it: a home, a working directory, and a /etc/hosts that knows the hosts' names."""

    home: Path
    state: Path
    hosts: Path

    def run(self, command: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """A command line, typed at a shell; stderr among stdout, as on a terminal."""
        script = f"mount --bind {shlex.quote(str(self.hosts))} /etc/hosts && exec 2>&1; {command}"
        argv = ("unshare", "--mount", "--propagation", "private", "bash", "-c", script)
        return subprocess.run(
            argv,
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def answer(self, command: str, answer: str) -> subprocess.CompletedProcess[str]:
        """A command line, typed at a terminal, and what its user answers when asked."""
        typed = f"sleep 5; printf '%s\\n' {shlex.quote(answer)}; sleep 5"
        return self.run(
            f"({typed}) | script --quiet --return --flush --command {shlex.quote(command)} /dev/null"
        )

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        named = {"HOME": str(self.home), "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
        state = {"VPNMESH_STATE_DIR": str(self.state), "VPNMESH_LAB_DIR": str(self.state / "no-lab")}
        # no agent of whoever runs the tests
        return {**os.environ, **named, **state, "SSH_AUTH_SOCK": ""}


@contextmanager
def real_hosts(inventory: Path, directory: Path) -> Iterator[RealHosts]:
    """Hosts as that inventory says, up until the end; nothing of vpnmesh has ever been on them."""
    text, place = inventory_text(str(inventory), "--inventory")
    twin = plan_twin(text, lab_login(), place)
    with up(twin.testbed, directory=directory, owned=True) as lab:
        hosts = RealHosts(lab, twin)
        for name in hosts.names:
            _furnish(hosts, name)
        _share_the_nic(hosts)
        _set_owners_rules(hosts)
        _start_owners_vpn(hosts)
        yield hosts
        assert lab.close() == ()


def address_of(hosts: RealHosts, name: str) -> str:
    """Where SSH reaches a host: the one with one NIC by a second address in its VLAN."""
    node = hosts.twin.testbed.node(name)
    return str(node.underlay + 100) if name == SHARED else node.management


def hosts_file(hosts: RealHosts) -> str:
    """What DNS would say of the management names."""
    named = (f"{address_of(hosts, node.name)} {node.management}" for node in hosts.twin.real.nodes)
    return "\n".join(("127.0.0.1 localhost", *named)) + "\n"


def _furnish(hosts: RealHosts, name: str) -> None:
    """Sudo and sshd as Debian has them, instead of the lab's own user."""
    sshd = shlex.quote(_SSHD)
    hosts.as_root(
        name,
        f"printf %s {sshd} > /etc/ssh/sshd_config; rm -r /etc/ssh/authorized_keys.d;"
        " sed -i '/^mesh/d' /etc/sudoers /etc/passwd /etc/group /etc/shadow;"
        " mkdir -p /etc/sudoers.d; echo '@includedir /etc/sudoers.d' >> /etc/sudoers;"
        " kill -HUP $(pgrep -o -x sshd)",
    )


def _share_the_nic(hosts: RealHosts) -> None:
    """One host loses its management NIC: SSH comes in by its VLAN, through the router, and leaves by it."""
    testbed, controller = hosts.twin.testbed, hosts.lab.record.controller
    node, router = testbed.node(SHARED), testbed.firewall.management
    gateway = testbed.vlan(node.leg.vid).gateway
    network = controller.rpartition(".")[0] + ".0/24"
    address = address_of(hosts, SHARED)
    hosts.as_root(
        SHARED,
        f"ip link set {node.management_interface} down; ip route replace {network} via {gateway};"
        f" ip address add {address}/{node.leg.address.network.prefixlen} dev {node.leg.interface}",
    )
    subprocess.run(("ip", "route", "add", f"{address}/32", "via", router), check=True)
    # a lab's router never forwards to management
    way_in = testbed.firewall.management_interface
    hosts.as_root(testbed.firewall.name, f"echo 1 > /proc/sys/net/ipv4/conf/{way_in}/forwarding")


def _set_owners_rules(hosts: RealHosts) -> None:
    vlans = "{ " + ", ".join(str(vlan.prefix) for vlan in hosts.twin.testbed.vlans) + " }"
    controller = hosts.lab.record.controller.partition("/")[0]
    for name, rules in ((ROUTER, _OWNERS_RULES), (BESIDE, _NODE_RULES)):
        text = shlex.quote(rules.format(vlans=vlans, controller=controller))
        hosts.as_root(name, f"printf %s {text} > /etc/corp.nft; nft -f /etc/corp.nft")


def _start_owners_vpn(hosts: RealHosts) -> None:
    hosts.as_root(
        BESIDE,
        "mkdir -p /etc/wireguard; umask 77; wg genkey > /etc/wireguard/corp0.key;"
        f" setsid wireguard-go {OWNERS_VPN} > /dev/null 2>&1 < /dev/null;"
        f" wg set {OWNERS_VPN} listen-port 40123 private-key /etc/wireguard/corp0.key;"
        f" ip address add 172.31.99.1/24 dev {OWNERS_VPN}; ip link set {OWNERS_VPN} up",
    )


def owners_vpn_lives(hosts: RealHosts) -> bool:
    """Whether the owner's VPN is there and answers, with its own key."""
    said = hosts.as_root(BESIDE, f"wg show {OWNERS_VPN} listen-port; ip -br link show {OWNERS_VPN}")
    return said.split()[:2] == ["40123", OWNERS_VPN]


def settled(hosts: RealHosts, before: Mapping[str, list[str]], within_s: float = 20) -> dict[str, list[str]]:
    """What each host has more (+) or less (-) than before, once what was ending has ended."""
    deadline = time.monotonic() + within_s
    while True:
        after = hosts.listing()
        changed = {name: _difference(before[name], after[name]) for name in hosts.names}
        found = {name: lines for name, lines in changed.items() if lines}
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _difference(before: list[str], after: list[str]) -> list[str]:
    # tens of thousands of lines: looked up, not searched for
    then, now = frozenset(before), frozenset(after)
    return [f"- {line}" for line in before if line not in now] + [
        f"+ {line}" for line in after if line not in then
    ]


def take_labs_engine(hosts: Path) -> None:
    """Where the kernel has no netem: say that what is impaired is a namespace, which has the lab's engine instead."""
    text = yaml.safe_load(hosts.read_text())
    for name, host in text.items():
        if name in ("k8s-master", "worker1", "worker2", ROUTER):
            host["data"]["kind"] = str(NodeKind.NETNS)
    hosts.write_text(yaml.safe_dump(text, sort_keys=False))
