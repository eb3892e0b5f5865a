"""What this machine can carry: features are tried out in a throw-away namespace, programs looked up.

On a kernel with modules a probe may load one (`wireguard`, `vxlan`, ...), as the first real use would.
Nothing else remains.
"""

import platform
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from vpnmesh.errors import UnavailableError
from vpnmesh.lab.kernel import make_read_only
from vpnmesh.lab.topology import Argv

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A feature and the commands that need it; all must succeed in one fresh namespace."""

    name: str
    what_for: str
    commands: tuple[Argv, ...]
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Capability:
    """A feature, whether the kernel at hand has it, and how that showed."""

    name: str
    available: bool
    detail: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the Debian package that brings it, and whether a lab cannot stand without it."""

    name: str
    package: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Substrate:
    """What the nodes of a lab run on; runs on different substrates are never pooled."""

    name: str
    kernel: str
    capabilities: tuple[Capability, ...]
    missing: tuple[Program, ...]

    def has(self, capability: str) -> bool:
        """Whether a feature is there; KeyError for a name that no probe has."""
        return {item.name: item.available for item in self.capabilities}[capability]


PROGRAMS = (
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
    Program("wg", "wireguard-tools"),
    Program("wireguard-go", "wireguard-go"),
    Program("nebula", "nebula"),
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
        "wireguard",
        "WireGuard in the kernel (else userspace)",
        (("ip", "link", "add", "w0", "type", "wireguard"),),
    ),
    Probe(
        "8021q",
        "VLAN tags (the lab needs none)",
        (_VETH, ("ip", "link", "add", "link", "p0", "name", "q0", "type", "vlan", "id", "10")),
    ),
    Probe("ifb", "impairment on the way in", (("ip", "link", "add", "i0", "type", "ifb"),)),
    Probe("dummy", "stand-in interfaces", (("ip", "link", "add", "d0", "type", "dummy"),)),
    Probe("cgroup2", "a node's own account of CPU time", (("mount", "-t", "cgroup2", "cgroup2", "/mnt"),)),
)

READ_ONLY_ROOT = "read-only-root"
NEEDED = frozenset(
    {*(p.name for p in PROBES if p.needed), "port-isolation", "nft-bridge", "tbf", READ_ONLY_ROOT}
)


class Throwaway:
    """Network and mount namespaces that are held by one process and end with it."""

    def __init__(self, pid: int) -> None:
        self._enter = ("nsenter", "--target", str(pid), "--net", "--mount", "--")

    def run(self, argv: Argv) -> str:
        """Run a command inside; empty when it succeeded, else the first line of what it said."""
        try:
            done = subprocess.run(
                (*self._enter, *argv), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {_TIMEOUT_S:g} s"
        if done.returncode == 0:
            return ""
        return next(iter((done.stderr or done.stdout).strip().splitlines()), f"exit {done.returncode}")


@contextmanager
def throwaway() -> Iterator[Throwaway]:
    """Fresh namespaces for a probe; UnavailableError where the kernel or the user's rights give none."""
    with subprocess.Popen(
        ("unshare", "--net", "--mount", "--", "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            _await_echo(holder)
            yield Throwaway(holder.pid)
        finally:
            holder.kill()


def _await_echo(holder: "subprocess.Popen[str]") -> None:
    """Wait until the holder has its namespaces: it echoes only after that."""
    stdin, stdout, stderr = _streams(holder)
    try:
        stdin.write("ready\n")
        stdin.flush()
    except BrokenPipeError:
        pass
    if stdout.readline() != "ready\n":
        raise UnavailableError(f"no namespaces here: {stderr.read().strip()}")


def _streams(holder: "subprocess.Popen[str]") -> tuple[IO[str], IO[str], IO[str]]:
    if holder.stdin is None or holder.stdout is None or holder.stderr is None:
        raise UnavailableError("no pipes to a namespace")
    return holder.stdin, holder.stdout, holder.stderr


def examine(names: Collection[str] | None = None) -> Substrate:
    """Probe the machine, for all features or those named; needs root. Leaves no link, rule or mount."""
    wanted = [probe for probe in PROBES if names is None or probe.name in names]
    return Substrate(
        name="namespaces",
        kernel=platform.release(),
        capabilities=(*(_try_out(probe) for probe in wanted), _read_only_root()),
        missing=missing_programs(),
    )


def missing_programs() -> tuple[Program, ...]:
    """The programs that are not installed."""
    return tuple(program for program in PROGRAMS if shutil.which(program.name, path=_PATH) is None)


def _try_out(probe: Probe) -> Capability:
    if absent := next((c[0] for c in probe.commands if shutil.which(c[0], path=_PATH) is None), ""):
        return Capability(
            probe.name, available=False, detail=f"{absent} is not installed", needed=probe.needed
        )
    with throwaway() as inside:
        for command in probe.commands:
            if refusal := inside.run(command):
                detail = f"{probe.what_for}: {refusal}"
                return Capability(probe.name, available=False, detail=detail, needed=probe.needed)
    return Capability(probe.name, available=True, detail=probe.what_for, needed=probe.needed)


def _read_only_root() -> Capability:
    """Whether mount_setattr(2) is there: asked to change a path that is not, only then it misses the path."""
    try:
        make_read_only("/nonexistent/vpnmesh")
    except FileNotFoundError:
        return Capability(
            READ_ONLY_ROOT, available=True, detail="the machine's files stay as they are", needed=True
        )
    except OSError as error:
        detail = f"mount_setattr, Linux 5.12 or newer: {error.strerror}"
        return Capability(READ_ONLY_ROOT, available=False, detail=detail, needed=True)
    raise UnavailableError("the path /nonexistent exists")


def require(substrate: Substrate, *, shaped: bool) -> None:
    """UnavailableError, in one sentence, if a lab cannot stand here."""
    lacking = [program for program in substrate.missing if program.needed]
    if lacking:
        programs = ", ".join(program.name for program in lacking)
        packages = " ".join(dict.fromkeys(program.package for program in lacking))
        raise UnavailableError(f"not installed: {programs}; apt-get install {packages}")
    for capability in substrate.capabilities:
        if capability.needed and not capability.available:
            raise UnavailableError(f"this kernel has no {capability.name} ({capability.detail})")
    if not (substrate.has("port-isolation") or substrate.has("nft-bridge")):
        raise UnavailableError("this kernel can keep management ports apart neither by bridge nor by nft")
    if shaped and not substrate.has("tbf"):
        raise UnavailableError("this kernel cannot shape ports (tbf); bring the lab up with --port-rate none")
