"""Kernel features and programs that labs and nodes are probed for, as data: what to try, and what to install.

Each probe is a list of commands for a fresh namespace; `vpnmesh.lab.substrate` runs them on this machine,
`vpnmesh.doctor.questions` on nodes. The programs of VPNs are `vpnmesh.solutions.packaged`.
"""

from dataclasses import dataclass

from vpnmesh.host.links import WIREGUARD

Argv = tuple[str, ...]

CGROUPS = "cgroups"
OVERLAY_IN_MEMORY = "overlay-in-memory"
KERNEL_LOG = "kernel-log"
"""What only nodes of a cluster need."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A feature and the commands that need it; all must succeed in one fresh namespace."""

    name: str
    what_for: str
    commands: tuple[Argv, ...]
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the Debian package that brings it, and whether a lab cannot be built without it."""

    name: str
    package: str
    needed: bool = False


PROGRAMS: tuple[Program, ...] = (
    Program("unshare", "util-linux", needed=True),
    Program("nsenter", "util-linux", needed=True),
    Program("ip", "iproute2", needed=True),
    Program("bridge", "iproute2", needed=True),
    Program("tc", "iproute2", needed=True),
    Program("sshd", "openssh-server", needed=True),
    Program("ssh-keygen", "openssh-client", needed=True),
    Program("sudo", "sudo", needed=True),
    Program("tini", "tini", needed=True),
    Program("bash", "bash", needed=True),
    Program("openssl", "openssl", needed=True),
    Program("nft", "nftables"),
    Program("iptables", "iptables"),
    Program("conntrack", "conntrack"),
    Program("iperf3", "iperf3"),
    Program("ping", "iputils-ping"),
    Program("ethtool", "ethtool"),
    Program("sysctl", "procps"),
    Program("gcc", "gcc"),
)

_VETH = ("ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1")
_BRIDGE = ("ip", "link", "add", "b0", "type", "bridge")
_PORT = ("ip", "link", "set", "p0", "master", "b0")
_QUEUE = (
    "iptables",
    "-w",
    "-t",
    "mangle",
    "-A",
    "POSTROUTING",
    "-o",
    "lo",
    "-j",
    "NFQUEUE",
    "--queue-num",
    "1",
)
_NFT_RULE = ("nft", "add", "rule", "inet", "t", "c", "ct", "state", "established", "accept")
_NFT_RANDOM = ("nft", "add", "rule", "inet", "t", "c", "numgen", "random", "mod", "100", "<", "5", "drop")
_NFT_CHAIN = ("nft", "add", "chain", "inet", "t", "c")
_NFT_TABLE = ("nft", "add", "table", "inet", "t")
_TBF = ("tbf", "rate", "1000mbit", "burst", "256k", "latency", "20ms")


def _qdisc(*words: str) -> Argv:
    return ("tc", "qdisc", "add", "dev", "p0", "root", *words)


_OVERLAY = (
    ("mount", "-t", "tmpfs", "tmpfs", "/mnt"),
    ("mkdir", "/mnt/upper", "/mnt/work"),
    (
        "mount",
        "-t",
        "overlay",
        "-o",
        "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work",
        "overlay",
        "/etc",
    ),
)
_IN_MEMORY = (
    ("mount", "-t", "tmpfs", "tmpfs", "/mnt"),
    ("mkdir", "/mnt/lower", "/mnt/upper", "/mnt/work", "/mnt/both"),
    (
        "mount",
        "-t",
        "overlay",
        "-o",
        "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work",
        "overlay",
        "/mnt/both",
    ),
)
_CGROUPS = (
    "v2() { grep -qw pids cgroup.controllers 2> /dev/null && [ -w cgroup.subtree_control ]; }; "
    "cd /sys/fs/cgroup && { [ -w pids ] || v2; } "
    "|| { echo no cgroups with a pids controller that can be written are below /sys/fs/cgroup >&2; exit 1; }"
)
_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")

PROBES = (
    Probe(
        "namespaces",
        "one set per node",
        (("unshare", *_NAMESPACES, "--fork", "--mount-proc", "true"),),
        needed=True,
    ),
    Probe("veth", "every port of a node", (_VETH,), needed=True),
    Probe("bridge", "one broadcast domain per VLAN", (_VETH, _BRIDGE, _PORT), needed=True),
    Probe(
        "port-isolation",
        "management ports kept apart by the bridge (else by an nft rule)",
        (_VETH, _BRIDGE, _PORT, ("ip", "link", "set", "p0", "type", "bridge_slave", "isolated", "on")),
    ),
    Probe("nft-bridge", "management ports kept apart by a rule", (("nft", "add", "table", "bridge", "t"),)),
    Probe("overlay", "a node's own /etc", _OVERLAY, needed=True),
    Probe("nftables", "the firewall's policy", (_NFT_TABLE, _NFT_CHAIN, _NFT_RULE)),
    Probe("nft-numgen", "loss by an nft rule", (_NFT_TABLE, _NFT_CHAIN, _NFT_RANDOM)),
    Probe("tbf", "ports shaped to a rate", (_VETH, _qdisc(*_TBF))),
    Probe("htb", "impairment by class on a shared port", (_VETH, _qdisc("handle", "1:", "htb"))),
    Probe("netem", "loss and delay by the kernel", (_VETH, _qdisc("netem", "delay", "10ms", "loss", "1%"))),
    Probe("nfqueue", "loss and delay by the NFQUEUE engine", (_QUEUE,)),
    Probe(
        "vxlan",
        "the pod network",
        (("ip", "link", "add", "x0", "type", "vxlan", "id", "1", "dstport", "4789"),),
    ),
    Probe("tun", "userspace VPNs", (("ip", "tuntap", "add", "dev", "t0", "mode", "tun"),)),
    Probe(
        WIREGUARD,
        "WireGuard in the kernel (else userspace)",
        (("ip", "link", "add", "w0", "type", WIREGUARD),),
    ),
    Probe(
        "8021q",
        "VLAN tags (the lab needs none)",
        (_VETH, ("ip", "link", "add", "link", "p0", "name", "q0", "type", "vlan", "id", "10")),
    ),
    Probe("ifb", "impairment on the way in", (("ip", "link", "add", "i0", "type", "ifb"),)),
    Probe("dummy", "stand-in interfaces", (("ip", "link", "add", "d0", "type", "dummy"),)),
    Probe(CGROUPS, "nodes of a cluster", (("sh", "-c", _CGROUPS), ("unshare", "--cgroup", "true"))),
    Probe(OVERLAY_IN_MEMORY, "containers' file systems on a lab's nodes", _IN_MEMORY),
    Probe(KERNEL_LOG, "kubelet, which watches it", (("dd", "if=/dev/kmsg", "count=0", "status=none"),)),
    Probe("cgroup2", "a node's own account of CPU time", (("mount", "-t", "cgroup2", "cgroup2", "/mnt"),)),
)
