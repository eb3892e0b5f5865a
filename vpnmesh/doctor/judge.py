"""From what nodes said to findings: pure, so that every rule can be tried on values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from vpnmesh.doctor.finding import Check, Finding, fatal, good, warning
from vpnmesh.doctor.likeness import ALIKE
from vpnmesh.doctor.questions import LoadAverage, NodeAnswers, Rate
from vpnmesh.host.pods import HOST_VETH, POD, VXLAN, VXLAN_BYTES
from vpnmesh.model import K8S_ROLES, Node, Role, Scenario, Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import STATE_DIRECTORY

MUCH_SKEW_S = 1.0
"""Beyond it, CPU figures of a repetition are of other seconds than its traffic."""
TOO_MUCH_SKEW_S = 60.0
"""Beyond it, certificates made on one node are not valid yet on another."""
MUCH_TRAFFIC_MBIT_S = 1.0
MUCH_LOAD_PER_CORE = 0.5
UNREAD = "could not be read"
"""How the one line of a footprint begins that a node could not answer."""
TUNNEL_BYTES = 80
"""What a tunnel adds to a packet, at most."""

# as `ps -o comm` shows them; what runs containers, other VPNs, and other people's measurements
_SERVICES = {
    "Kubernetes": ("kubelet", "k3s", "k3s-server", "k3s-agent", "rke2", "k0s", "microk8s"),
    "containers": ("dockerd", "containerd-shim", "conmon", "docker-proxy"),
    "another VPN": ("openvpn", "charon", "charon-systemd", "wg-quick", "boringtun-cli", "cloudflared"),
    "a measurement": ("iperf", "iperf3", "netperf", "netserver", "hey", "flent"),
}

FEATURES: Mapping[str, tuple[frozenset[Role], str]] = {
    "namespaces": (K8S_ROLES, "a kernel with network namespaces: Debian's has them"),
    "vxlan": (K8S_ROLES, "modprobe vxlan, or another kernel"),
    "tun": (K8S_ROLES, "modprobe tun, or another kernel"),
    "nftables": (frozenset(), "modprobe nf_tables, or name another firewall_driver"),
}
"""Kernel features without which no run is possible, the roles whose nodes always need them, and the way to them.

A firewall needs what its driver says.
"""
_OTHER_KERNEL = "load its module, or take another kernel"


@dataclass(frozen=True, slots=True)
class Skew:
    """How far a node's clock is ahead of the controller's, and how far this may be wrong."""

    ahead_s: float
    within_s: float


def features_of(node: Node, of_driver: Sequence[str]) -> tuple[str, ...]:
    """The kernel features that the node is asked for; `of_driver` is what the firewall's driver needs."""
    by_role = (name for name, (roles, _) in FEATURES.items() if node.roles & roles)
    return (*by_role, *(of_driver if Role.FIREWALL in node.roles else ()))


def judge(node: Node, said: NodeAnswers, traces: Iterable[str]) -> Iterator[Finding]:
    """All findings of one node's answers; `traces` are the interfaces of solutions, which are leftovers."""
    yield from judge_features(node.name, said.lacks)
    yield from judge_traffic(node.name, said.traffic)
    yield judge_load(node.name, said.load)
    yield from judge_foreign(node.name, said, frozenset({*traces, VXLAN}))


def judge_features(where: str, lacks: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the kernel can carry what the node is for."""
    for name, why in lacks.items():
        if why:
            _, way = FEATURES.get(name, ((), _OTHER_KERNEL))
            yield fatal(Check.KERNEL, where, f"no {name}: {why}", way)
    if lacks and not any(lacks.values()):
        yield good(Check.KERNEL, where, f"has {', '.join(lacks)}")


def judge_clock(where: str, skew: Skew) -> Finding:
    """Whether the node's clock goes as the controller's."""
    said = f"{skew.ahead_s:+.3f} s from the controller's, within {skew.within_s:.3f} s"
    surely = abs(skew.ahead_s) - skew.within_s
    do = "let NTP set both clocks (timedatectl set-ntp true, or chronyc makestep)"
    if surely > TOO_MUCH_SKEW_S:
        return fatal(Check.CLOCK, where, said, do)
    if surely > MUCH_SKEW_S:
        return warning(Check.CLOCK, where, said, do)
    return good(Check.CLOCK, where, f"less than {MUCH_SKEW_S:g} s from the controller's")


def underlay_mtu(scenario: Scenario) -> int:
    """The packets in bytes that the underlay must carry whole for a scenario's largest pod packet.

    Pods of native ones travel in VXLAN alone. A tunnel of 1280 bytes is 1340 with WireGuard's header (20 of IP, 8 of
    UDP, 32 of its own) or Nebula's, and TURN adds four: it is asked for 1360, the next size that is tried.
    """
    if scenario.tunnel_mtu is None:
        return scenario.pod_mtu + VXLAN_BYTES
    return scenario.tunnel_mtu + TUNNEL_BYTES


def judge_mtu(
    testbed: Testbed,
    node: Node,
    found: Mapping[IPv4Address, int | None],
    scenarios: Sequence[Scenario],
    *,
    asked: bool = True,
) -> Iterator[Finding]:
    """Whether the packets of these scenarios get whole to every other node.

    Of scenarios that nobody `asked` for by name, those that cannot work are a warning as long as others can.
    """
    needs = {one.name: underlay_mtu(one) for one in scenarios}
    names = {other.underlay: other.name for other in testbed.nodes}
    for address, mtu in found.items():
        way = f"to {names[address]} ({address})"
        if mtu is None:
            do = "look at cables, VLANs, routes, and at the router's rules (ICMP echo must pass)"
            yield fatal(Check.MTU, node.name, f"nothing gets {way} and back", do)
        elif lacking := [name for name, need in needs.items() if mtu < need]:
            most = max(needs[name] for name in lacking)
            do = f"set MTU {most} on nodes, switch and router: {', '.join(lacking)} cannot work below"
            if others := [name for name in needs if name not in lacking]:
                do += f"; or leave it out: --scenarios {','.join(others)}"
            wrong = fatal if asked or not others else warning
            yield wrong(Check.MTU, node.name, f"packets of {mtu} bytes, not {most}, get {way}", do)
    least = min((mtu or 0 for mtu in found.values()), default=0)
    if least and least >= max(needs.values(), default=0):
        yield good(Check.MTU, node.name, f"{least} bytes get to every other node")


def judge_traffic(where: str, rates: Sequence[Rate]) -> Iterator[Finding]:
    """Whether others use the network that is to be measured."""
    much = [rate for rate in rates if rate.received_mbit_s + rate.sent_mbit_s > MUCH_TRAFFIC_MBIT_S]
    for rate in much:
        said = f"{rate.interface} receives {rate.received_mbit_s:.1f} and sends {rate.sent_mbit_s:.1f} Mbit/s"
        yield warning(Check.TRAFFIC, where, said, "see whose it is (tcpdump), and stop it or measure later")
    if not much:
        yield good(Check.TRAFFIC, where, f"less than {MUCH_TRAFFIC_MBIT_S:g} Mbit/s on the underlay")


def judge_load(where: str, load: LoadAverage) -> Finding:
    """Whether others use the cores that encrypt and forward."""
    if load.average > MUCH_LOAD_PER_CORE * load.cores:
        said = f"load average {load.average:g} on {load.cores} cores"
        return warning(Check.LOAD, where, said, "see what runs (top), and stop it or measure later")
    return good(Check.LOAD, where, f"load average below half of {load.cores} cores")


def judge_foreign(where: str, said: NodeAnswers, ours: frozenset[str]) -> Iterator[Finding]:
    """Whether somebody else's pods, services or overlays are on the node."""
    stop = "stop it while you measure: it shares cores, routes and packet filter with the run"
    vpns = {name[:15] for solution in SOLUTIONS.values() for name in solution.processes}
    kinds = {name: kind for kind, names in _SERVICES.items() for name in names} | dict.fromkeys(
        vpns, "another VPN"
    )
    found = [f"service {name} ({kinds[name]})" for name in said.processes if name in kinds]
    found += [f"overlay {name}" for name in said.tunnels if name.split(" ")[0] not in ours]
    found += list(said.objects)
    yield from (warning(Check.FOREIGN, where, one, stop) for one in found)
    if not found:
        yield good(Check.FOREIGN, where, "no foreign pods, services or overlays")


def judge_leftovers(
    where: str, footprint: Mapping[str, Sequence[str]], traces: Iterable[str], inventory: str
) -> Iterator[Finding]:
    """Whether an earlier run left something, by what `tasks.read_footprint` saw."""
    names = {*traces, VXLAN, HOST_VETH}
    rules: dict[str, tuple[str, ...]] = {
        "interface": tuple(one for one in map(str.strip, footprint["interfaces"]) if one in names),
        "file": tuple(one for one in footprint["files"] if one),
        "namespace": tuple(one for one in footprint["namespaces"] if one.split(" ")[0] == POD),
        # tables by name, rules of the lab's engine by comment
        "firewall": tuple(one.strip() for one in footprint["firewall"] if "vpnmesh" in one),
        "impairment": tuple(one for one in footprint["qdiscs"] if " netem " in one),
    }
    unread = [
        f"{kind}: {one}" for kind, lines in footprint.items() for one in lines if one.startswith(UNREAD)
    ]
    look = "look there by hand: what an earlier run left of this kind would not be seen"
    yield from (warning(Check.LEFTOVERS, where, one, look) for one in unread)
    found = [f"{kind} {one}" for kind, lines in rules.items() for one in lines]
    do = f"python -m workflows.teardown --inventory {inventory}"
    yield from (fatal(Check.LEFTOVERS, where, one, do) for one in found)
    if not found and not unread:
        yield good(
            Check.LEFTOVERS, where, f"nothing of a run (files below {STATE_DIRECTORY} and /run/vpnmesh)"
        )


def judge_alike(differing: Sequence[str], unknown: Sequence[str]) -> Iterator[Finding]:
    """Whether figures of one node can be compared with those of another; what no node told was not compared."""
    do = "make them alike, or read the figures with it: the run's manifest and report name it"
    yield from (warning(Check.ALIKE, "nodes", one, do) for one in differing)
    if not differing:
        compared = ", ".join(name for name in ALIKE if name not in unknown)
        without = f"; no node could tell: {', '.join(unknown)}" if unknown else ""
        yield good(Check.ALIKE, "nodes", f"{compared}, offloads and versions{without}")
