"""What a node is asked: nothing of it changes anything, features are tried in a throw-away namespace."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from vpnmesh.host.links import OVERLAY_KINDS
from vpnmesh.host.probes import PROBES
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, ask, both, together

TRAFFIC_S = 1.0
MTUS = (1500, 1450, 1400, 1360, 1280)
"""Path MTUs in bytes that are tried, greatest first: native needs the first, a VPN of MTU 1280 about 1360."""
_IP_AND_ICMP_BYTES = 28

# constant scripts; interfaces, addresses and sizes are arguments
_COUNTERS = """
look() {
  for i in "$@"; do
    echo "$i $(cat "/sys/class/net/$i/statistics/rx_bytes") $(cat "/sys/class/net/$i/statistics/tx_bytes")"
  done
}
s="$1"; shift; look "$@"; sleep "$s"; look "$@"
"""
_PATH_MTU = """
sizes="$1"; shift
for a in "$@"; do (
  for s in $sizes; do
    ping -n -q -M do -c 1 -W 1 -s "$s" "$a" > /dev/null 2>&1 && echo "$a $s" && exit
  done
  echo "$a none"
) & done; wait
"""
_OBJECTS = """
for f in /etc/rancher/k3s/k3s.yaml /etc/kubernetes/admin.conf; do [ -r "$f" ] && export KUBECONFIG="$f"; done
columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name
for k in 'k3s kubectl' kubectl; do
  command -v "${k%% *}" > /dev/null && exec $k get pods,services -A --no-headers -o "custom-columns=$columns"
done
true
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """What passes an interface while nobody measures."""

    interface: str
    received_mbit_s: float
    sent_mbit_s: float


@dataclass(frozen=True, slots=True)
class LoadAverage:
    """Processes that ran or wanted to, on average of the last minute, and the cores that they share."""

    average: float
    cores: int


@dataclass(frozen=True, slots=True)
class NodeAnswers:
    """All that one node said; `lacks` says of each kernel feature that it was asked for what is in the way ("" if
    nothing).
    """

    traffic: tuple[Rate, ...]
    load: LoadAverage
    processes: tuple[str, ...]
    tunnels: tuple[str, ...]
    objects: tuple[str, ...]
    lacks: Mapping[str, str]


_Names = tuple[str, ...]
_Busy = tuple[tuple[Rate, ...], LoadAverage]
_Foreign = tuple[_Names, tuple[_Names, _Names]]


def answers(node: Node, features: Sequence[str]) -> Fact[NodeAnswers]:
    """Everything that can be asked in one round trip."""
    busy = both(traffic(node), load())
    foreign = both(processes(), both(tunnels(), objects()))
    lacking = together({name: feature(name) for name in features})
    return both(busy, both(foreign, lacking)).map(_answers)


def _answers(found: tuple[_Busy, tuple[_Foreign, dict[str, str]]]) -> NodeAnswers:
    (rates, average), ((names, (overlays, there)), lacks) = found
    return NodeAnswers(rates, average, names, overlays, there, lacks)


def clock() -> Fact[float]:
    """The node's clock: seconds since 1970, UTC."""
    return ask("date", "+%s.%N").map(lambda one: float(one.stdout))


def traffic(node: Node) -> Fact[tuple[Rate, ...]]:
    """What passes the node's underlay ports within a second."""
    legs = tuple(leg.interface for leg in node.legs)

    def parse(completed: Sequence[Completed]) -> tuple[Rate, ...]:
        rows = [line.split() for line in completed[0].stdout.splitlines()]
        before, after = rows[: len(legs)], rows[len(legs) :]
        return tuple(
            Rate(
                name, *((int(now) - int(then)) * 8e-6 / TRAFFIC_S for now, then in zip(new, old, strict=True))
            )
            for (name, *new), (_, *old) in zip(after, before, strict=True)
        )

    return Fact((Command(("sh", "-c", _COUNTERS, "sh", f"{TRAFFIC_S:g}", *legs)),), parse)


def load() -> Fact[LoadAverage]:
    """How busy the node is."""
    found = ask("sh", "-c", "cut -d' ' -f1 /proc/loadavg; nproc")
    return found.map(lambda one: LoadAverage(float(one.stdout.split()[0]), int(one.stdout.split()[1])))


def path_mtu(addresses: Sequence[IPv4Address]) -> Fact[dict[IPv4Address, int | None]]:
    """The greatest of MTUS that gets to each address and back unfragmented; None where nothing comes back."""

    def parse(completed: Sequence[Completed]) -> dict[IPv4Address, int | None]:
        rows = dict(line.split() for line in completed[0].stdout.splitlines())
        return {
            IPv4Address(one): None if size == "none" else int(size) + _IP_AND_ICMP_BYTES
            for one, size in rows.items()
        }

    sizes = " ".join(str(mtu - _IP_AND_ICMP_BYTES) for mtu in MTUS)
    argv = ("sh", "-c", _PATH_MTU, "sh", sizes, *map(str, addresses))
    return Fact((Command(argv, timeout_s=2.0 * len(MTUS) + 5),), parse)


def feature(name: str) -> Fact[str]:
    """Whether the node's kernel can do what the probe of that name does: empty if so, else what it said."""
    (probe,) = (one for one in PROBES if one.name == name)
    script = " && ".join(shlex.join(command) for command in probe.commands)
    found = ask("unshare", "--net", "--mount", "sh", "-c", script)
    return found.map(lambda one: "" if one.exit_code == 0 else one.stderr.strip().partition("\n")[0] or "no")


def processes() -> Fact[tuple[str, ...]]:
    """The names of the node's processes, each once, cut after 15 characters as the kernel does."""
    return ask("ps", "-e", "-o", "comm=").map(
        lambda one: tuple(sorted({line.strip() for line in one.stdout.splitlines()}))
    )


def tunnels() -> Fact[tuple[str, ...]]:
    """Interfaces that are up and lead into some overlay, as `NAME (KIND)`."""

    def parse(one: Completed) -> tuple[str, ...]:
        links = json.loads(one.stdout or "[]")
        kinds = ((link.get("ifname", ""), link.get("linkinfo", {}).get("info_kind", "")) for link in links)
        return tuple(f"{name} ({kind})" for name, kind in kinds if kind in OVERLAY_KINDS)

    return ask("ip", "-json", "-details", "link", "show", "up").map(parse)


def objects() -> Fact[tuple[str, ...]]:
    """Pods and services of a Kubernetes on the node, as `KIND NAMESPACE/NAME`; none where there is no Kubernetes."""

    def parse(one: Completed) -> tuple[str, ...]:
        rows = (line.split() for line in one.stdout.splitlines())
        return tuple(f"{row[0]} {row[1]}/{row[2]}" for row in rows if len(row) == 3)  # noqa: PLR2004

    return ask("sh", "-c", _OBJECTS).map(parse)
