"""What a node is asked, and how its answers become values; nothing of it changes a node."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from ipaddress import IPv4Address
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vpnmesh.doctor.judge import underlay_mtu
from vpnmesh.errors import ToolError
from vpnmesh.firewall.policy import Protocol
from vpnmesh.host.links import mtu_of
from vpnmesh.host.pods import VXLAN, pod_mtu
from vpnmesh.host.strangers import RUN_DIRECTORY
from vpnmesh.model import Node, Pair, Path
from vpnmesh.plan import Command, Completed, Fact, both
from vpnmesh.solutions.protocol import Mesh, Solution, Status
from vpnmesh.why.observed import CpuUse, Daemon, DropRule, Link, NodeState, Probed, UdpSocket

PROGRAM = resources.files(__package__).joinpath("probe_program.py").read_text(encoding="utf-8")
PORT = 33998
"""UDP, on every node for some seconds: where probes are answered."""
PROBE_S = 6.0
"""How long nodes probe where something gives no answer; where all does they are through in one or two."""
RELAYED_PROBE_S = 3.0
"""The same where a scenario relays: there no answer is what is to be expected, in every run."""
SIZES = (1500, 1450, 1400, 1360, 1280, 500)
"""Packets in bytes that are tried between the two ends, beside the one that the scenario needs."""
OFFLOADS = ("tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload")
_ANY_EXIT = tuple(range(256))
_VERDICTS = ("drop", "reject")
_DECIDES_NOTHING = ("counter", "comment", "log", *_VERDICTS)
"""Parts of a rule that say nothing of which packets it is for."""

# constant scripts; names, interfaces and addresses are arguments
_OFFLOADS = 'for i in "$@"; do echo "@link $i"; ethtool -k "$i" 2> /dev/null; done; true'
_ROUTES = """
for a in "$@"; do
  echo "$a $(ip -o route get "$a" 2> /dev/null)"
  ip -4 -o route show exact "$a/32" 2> /dev/null | sed 's/^/@own /'
done
"""
_DAEMONS = """
run="$1"; shift; names=" $* "
for f in "$run"/*.pid; do
  [ -e "$f" ] || continue
  kill -0 "$(cat "$f")" 2> /dev/null || { base="${f##*/}"; echo "@lost ${base%.pid}"; }
done
for d in /proc/[0-9]*; do
  read -r comm < "$d/comm" 2> /dev/null || continue
  case "$names" in *" $comm "*) ;; *) continue;; esac
  stat=$(sed 's/^.*) //' "$d/stat" 2> /dev/null) || continue
  cores=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$d/status")
  v1=/sys/fs/cgroup/cpu$(sed -n 's/^[0-9]*:\\(cpu\\|cpu,cpuacct\\)://p' "$d/cgroup")
  v2=/sys/fs/cgroup$(sed -n 's/^0:://p' "$d/cgroup")
  quota=$(cat "$v1/cpu.cfs_quota_us" "$v1/cpu.cfs_period_us" 2> /dev/null || cat "$v2/cpu.max" 2> /dev/null)
  # only in version 1 a quota is ours to change
  [ -e "$v1/cpu.cfs_quota_us" ] || v1=-
  set -- $stat
  letter=$1 nice=${17}
  set -- $quota
  echo "$comm ${d#/proc/} $letter $nice $cores ${1:-max}/${2:-100000} $v1 $(readlink "$d/exe")"
done
"""
_MACHINE = "nproc --all; cut -d' ' -f1 /proc/loadavg; grep '^Udp: ' /proc/net/snmp"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at on one node: interfaces, processes, and addresses whose routes matter."""

    interfaces: tuple[str, ...]
    processes: tuple[str, ...]
    routes: tuple[str, ...] = ()


def watched(mesh: Mesh, solution: Solution, node: Node) -> Watched:
    """Its legs, the tunnel, Calico's device, the solution's processes, and the ways to the other members."""
    legs = tuple(leg.interface for leg in node.legs)
    if node == mesh.testbed.firewall:
        return Watched(legs, ())
    others = tuple(str(peer.underlay) for peer in mesh.members if peer != node)
    return Watched((*legs, *solution.interfaces[:1], VXLAN), solution.processes, others)


def state(asked: Watched) -> Fact[NodeState]:
    """All of a node's state, in one round trip."""
    argvs = (
        ("ip", "-j", "-d", "address"),
        ("sh", "-c", _OFFLOADS, "sh", *asked.interfaces),
        ("nft", "-j", "list", "ruleset"),
        ("ss", "-uanmpH"),
        ("ss", "-tlnH"),
        ("sh", "-c", _DAEMONS, "sh", RUN_DIRECTORY, *asked.processes),
        ("sh", "-c", _ROUTES, "sh", *asked.routes),
        ("sh", "-c", _MACHINE),
    )
    commands = tuple(Command(argv, ok=_ANY_EXIT) for argv in argvs)
    seen = Fact(commands, lambda found: _state(asked, [one.stdout for one in found]))
    return both(seen, pod_mtu()).map(lambda found: _with_pod(*found))


def _with_pod(seen: dict[str, Any], mtu: int | None) -> NodeState:
    return NodeState(**seen, pod_mtu=mtu)


def _state(asked: Watched, texts: Sequence[str]) -> dict[str, Any]:
    links, offloads, rules, udp, tcp, daemons, routes, machine = texts
    lost, running = _daemons(daemons)
    cores, load, *snmp = machine.splitlines() or ["1", "0"]
    listening = {f"udp {socket.port}" for socket in _sockets(udp)}
    listening |= {f"tcp {address.rpartition(':')[2]}" for address in _addresses(tcp)}
    return {
        "links": _links(links),
        "offloads": _offloads(offloads),
        "rules": tuple(_rules(rules)),
        "daemons": running,
        "lost_services": lost,
        "sockets": tuple(one for one in _sockets(udp) if one.owner in asked.processes),
        "listening": frozenset(listening),
        "routes": _routes(routes),
        "own_routes": _own_routes(routes),
        "receive_errors": _receive_errors(snmp),
        "cores": int(cores),
        "load": float(load),
    }


def _links(text: str) -> dict[str, Link]:
    return {
        link["ifname"]: Link(
            link["ifname"],
            mtu_of(link),
            link.get("linkinfo", {}).get("info_kind", ""),
            tuple(IPv4Address(one["local"]) for one in link.get("addr_info", []) if one["family"] == "inet"),
        )
        for link in json.loads(text or "[]")
        if link
    }


def _offloads(text: str) -> dict[str, dict[str, bool]]:
    """Those that can be changed, of every interface that is there."""
    parts = (part.partition("\n") for part in f"\n{text}".split("\n@link ")[1:])
    told = {
        name: dict(re.findall(r"^\s*([\w-]+): (on|off)(?! \[fixed\])", said, re.MULTILINE))
        for name, _, said in parts
    }
    return {
        name: {one: held[one] == "on" for one in OFFLOADS if one in held}
        for name, held in told.items()
        if held
    }


def _rules(text: str) -> Iterator[DropRule]:
    """Rules with a counter that drop or reject; nft prints none where it is not installed."""
    for entry in json.loads(text or "{}").get("nftables", []):
        if not isinstance(rule := entry.get("rule"), dict):
            continue
        parts = rule.get("expr", [])
        verdict = next((name for one in parts for name in one if name in _VERDICTS), "")
        packets = next(
            (one["counter"]["packets"] for one in parts if isinstance(one.get("counter"), dict)), None
        )
        if verdict and packets is not None:
            words = " ".join(word for one in parts if (word := _words(one)))
            family, table, chain = (str(rule[key]) for key in ("family", "table", "chain"))
            text = f"{words} {verdict}".strip()
            yield DropRule(family, table, chain, int(rule["handle"]), text, int(packets))


def _words(part: Mapping[str, Any]) -> str:
    """A match as nft writes it; whatever else decides which packets are meant is JSON, so that it is not left out."""
    match = part.get("match")
    if not isinstance(match, dict):
        return " ".join(json.dumps({key: said}) for key, said in part.items() if key not in _DECIDES_NOTHING)
    operator = "" if match.get("op") in ("==", "in") else f" {match.get('op')}"
    return f"{_subject(match['left'])}{operator} {_values(match['right'])}"


def _subject(left: Mapping[str, Any]) -> str:
    payload, meta = left.get("payload", {}), left.get("meta", {})
    if "protocol" in payload:
        return f"{payload['protocol']} {payload['field']}"
    return _meta(meta.get("key", "")) or json.dumps(left)


def _values(right: object) -> str:
    """A value, or several; a prefix, a range or whatever else is no plain one stays JSON."""
    values = right.get("set", right) if isinstance(right, dict) else right
    if isinstance(values, dict):
        return json.dumps(values)
    if not isinstance(values, list):
        return str(values)
    return "{ " + ", ".join(json.dumps(one) if isinstance(one, dict) else str(one) for one in values) + " }"


def _meta(key: str) -> str:
    """Some keys stand alone, others need the word before them (nft(8), meta expressions)."""
    return f"meta {key}" if key in ("l4proto", "nfproto", "length") else key


def _sockets(text: str) -> list[UdpSocket]:
    """`ss -uanmp`: a socket that nothing owns, or without figures, is named and counts nothing."""
    found = []
    for one in re.split(r"\n(?=\S)", text):
        if len(words := one.split()) < 4:  # noqa: PLR2004 - state, two queues, address
            continue
        port = words[3].rpartition(":")[2]
        owner = re.search(r'users:\(\("([^"]+)"', one)
        buffer, drops = re.search(r"skmem:\(r\d+,rb(\d+)", one), re.search(r",d(\d+)\)", one)
        found.append(
            UdpSocket(
                owner[1] if owner else "",
                int(port) if port.isdigit() else 0,
                int(buffer[1]) if buffer else 0,
                int(drops[1]) if drops else 0,
            )
        )
    return found


def _addresses(text: str) -> list[str]:
    """The own addresses of sockets that `ss` lists: state, two queues, address."""
    return [words[3] for line in text.splitlines() if len(words := line.split()) > 3]  # noqa: PLR2004


def _daemons(text: str) -> tuple[tuple[str, ...], tuple[Daemon, ...]]:
    """Services without a process, and the solution's processes."""
    lost, found = [], []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "@lost":
            lost.append(rest)
            continue
        pid, letter, nice, cores, quota, group, *program = rest.split(" ", 6)
        replaced = any(one.endswith("(deleted)") for one in program)
        found.append(
            Daemon(word, int(pid), letter, int(nice), cores, replaced, _quota_pct(quota), group.strip("-"))
        )
    return tuple(lost), tuple(found)


def _quota_pct(text: str) -> float | None:
    """The share of one core that a control group allows, None where it does not limit it (`-1`, `max`)."""
    quota, _, period = text.partition("/")
    return 100 * int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _routes(text: str) -> dict[str, str]:
    """The interface that leads to each address."""
    rows = (line.partition(" ") for line in text.splitlines())
    found = {address: re.search(r"\bdev (\S+)", said) for address, _, said in rows}
    return {address: one[1] for address, one in found.items() if one and address != "@own"}


def _own_routes(text: str) -> tuple[str, ...]:
    """Routes to single addresses of these, as `ip route` takes them again: without what it only tells of them."""
    rows = (line.split()[1:] for line in text.splitlines() if line.startswith("@own "))
    return tuple(" ".join(word for word in words if word not in ("linkdown", "dead")) for words in rows)


def _receive_errors(lines: Iterable[str]) -> int:
    rows = [line.split() for line in lines]
    if len(rows) != 2 or "RcvbufErrors" not in rows[0]:  # noqa: PLR2004 - names, then values
        return 0
    return int(rows[1][rows[0].index("RcvbufErrors")])


def asked_of(
    mesh: Mesh, solution: Solution, pair: Pair, name: str, names: Sequence[str], overlay: str
) -> dict[str, Any]:
    """What the probe program on that node is told, one of `names` that take part.

    `overlay` is the peer's address in the VPN, "" where it has none.
    """
    bed = mesh.testbed
    end = name in (pair.client, pair.server)
    others = {other: str(bed.node(other).underlay) for other in names if other != name}
    peer = pair.server if name == pair.client else pair.client
    port = solution.data_port(mesh)
    needed = [one for one in solution.listeners(mesh) if end and one.node != name]
    where = {one: f"{bed.node(one.node).underlay}:{one.port}" for one in needed}
    through = end and bool(overlay)
    return {
        "name": name,
        "seconds": RELAYED_PROBE_S if mesh.scenario.path is Path.RELAY else PROBE_S,
        "port": PORT,
        "interface": bed.node(name).leg.interface,
        "targets": others,
        "data": {peer: port} if end and port and peer in others else {},
        "sized": [peer] if end and peer in others else [],
        "sizes": sorted({*SIZES, underlay_mtu(mesh.scenario)}, reverse=True),
        "overlay": overlay,
        "overlay_sizes": [mesh.scenario.tunnel_mtu or mesh.scenario.pod_mtu] if through else [],
        "tcp": sorted({where[one] for one in needed if one.protocol is Protocol.TCP}),
        "stun": {where[one]: one.software for one in needed if one.stun},
        "processes": list(solution.processes) if end else [],
        "burst": name == pair.client and through,
    }


def participants(mesh: Mesh, pair: Pair) -> tuple[str, ...]:
    """Who probes: both ends, and two others that see them from outside."""
    bed = mesh.testbed
    return tuple(dict.fromkeys((pair.client, pair.server, bed.relay.name, bed.control_plane.name)))


def probe(asked: Mapping[str, Any]) -> Fact[Probed]:
    """Run the probe program on a node."""
    argv = ("python3", "-I", "-", json.dumps(asked))
    command = Command(argv, stdin=PROGRAM, timeout_s=float(asked["seconds"]) + 20)
    return Fact((command,), lambda found: _probed(found[0]))


_PROBED = TypeAdapter(dict[str, Any])


def _probed(completed: Completed) -> Probed:
    lines = completed.stdout.strip().splitlines() or [completed.stderr.strip()[-200:]]
    try:
        told = _PROBED.validate_json(lines[-1])
    except ValidationError as error:
        raise ToolError("probes", f"no answers: {lines[-1][:160]}") from error
    return Probed(
        mapped={name: (str(one[0]), int(one[1])) for name, one in told["mapped"].items()},
        arrived={name: tuple(ports) for name, ports in told["arrived"].items()},
        sizes={name: tuple(sizes) for name, sizes in told["sizes"].items()},
        overlay_sizes=tuple(told["overlay_sizes"]),
        told=bool(told["told"]),
        tcp=told["tcp"],
        stun=told["stun"],
        burst=tuple(told["burst"]) if told["burst"] else None,
        cpu={name: CpuUse(*found) for name, found in told["cpu"].items()},
        seconds=float(told["seconds"]),
    )


def overlay_of(statuses: Mapping[str, Status], names: Collection[str]) -> dict[str, str]:
    """The addresses of these members in the VPN, "" where one has none."""
    found = {name: statuses[name].address if name in statuses else None for name in names}
    return {name: str(address) if address else "" for name, address in found.items()}
