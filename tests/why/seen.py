"""A pair as the nodes would tell it, healthy unless a test says otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from tests.conftest import ROOT
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.model import DataPlane, Path
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh, Peer, Status
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.tools.ping import PingSummary, Rtt
from vpnmesh.why.observed import CpuUse, Daemon, Link, NodeState, Observed, PodPings, Probed, UdpSocket
from vpnmesh.why.questions import SIZES

BED = read_testbed(ROOT / "inventory" / "lab")
SCENARIO = "headscale-direct"
MESH = Mesh(BED, scenario_named(SCENARIO))
SOLUTION = solution_named(MESH.scenario.solution)
PAIR = BED.pairs[0]
NODES = ("worker1", "worker2", "relay", "hypervisor", "firewall")
PORT = SOLUTION.data_port(MESH) or 0
DAEMON = SOLUTION.processes[0]
ALL_ON = {
    "tcp-segmentation-offload": True,
    "generic-segmentation-offload": True,
    "generic-receive-offload": False,
}


def state(name: str) -> NodeState:
    """What a healthy node holds."""
    legs = {
        leg.interface: Link(leg.interface, 1500, "veth", (leg.address.ip,)) for leg in BED.node(name).legs
    }
    worker = name.startswith("worker")
    daemons = (Daemon(DAEMON, 7, "S", 0, "0-1", replaced=False),) if worker else ()
    sockets = (UdpSocket(DAEMON, PORT, 212992, 3),) if worker else ()
    listening = {f"{one.protocol} {one.port}" for one in SOLUTION.listeners(MESH) if one.node == name}
    peer = BED.node("worker2" if name == "worker1" else "worker1").underlay
    return NodeState(
        links=legs | {SOLUTION.interfaces[0]: Link(SOLUTION.interfaces[0], 1280, "tun")},
        offloads={BED.node(name).leg.interface: ALL_ON},
        daemons=daemons,
        sockets=sockets,
        listening=frozenset(listening),
        routes={str(peer): "eth0"},
        cores=2,
        pod_mtu=1230 if worker else None,
    )


def probed(name: str) -> Probed:
    """What a healthy node's probes were told."""
    node = BED.node(name)
    peer = "worker2" if name == "worker1" else "worker1"
    others = [one for one in NODES[:4] if one != name]
    needed = [one for one in SOLUTION.listeners(MESH) if one.node != name]
    where = {one: f"{BED.node(one.node).underlay}:{one.port}" for one in needed}
    return Probed(
        mapped={other: (str(node.underlay), 40000) for other in others},
        arrived={peer: (PORT,)},
        sizes={peer: SIZES},
        tcp={where[one]: "open" for one in needed if not one.stun},
        stun={where[one]: f"{node.underlay}:40001" for one in needed if one.stun},
        burst=(320, 320),
        cpu={f"{DAEMON} 7": CpuUse(0.1, 0.05, 1.0)},
        seconds=1.0,
    )


def status(name: str, path: Path | None = Path.DIRECT, endpoint: IPv4Address | None = None) -> Status:
    """What a worker's daemon says of the other worker."""
    peer = BED.node("worker2" if name == "worker1" else "worker1")
    at = endpoint or (peer.underlay if path is Path.DIRECT else BED.relay.underlay if path else None)
    return Status(DataPlane.USERSPACE, SOLUTION.interfaces[0], None, 1280, (Peer(peer.name, path, at),))


def pings(received: int = 5) -> PingSummary:
    """Five pings of which so many came back."""
    return PingSummary(5, received, Rtt(1, 1, 1, 0) if received else None)


def healthy(path: Path | None = Path.DIRECT, **changes: Any) -> Observed:
    """All of it, with these changes."""
    states = {name: state(name) for name in NODES}
    seen = Observed(
        MESH,
        SOLUTION,
        PAIR,
        states,
        states,
        {name: probed(name) for name in NODES[:4]},
        {name: status(name, path) for name in ("worker1", "worker2")},
        pods=PodPings(pings(), pings()),
    )
    return replace(seen, **changes)


def with_state(seen: Observed, name: str, **changes: Any) -> Observed:
    """The node's later state changed."""
    return replace(seen, after={**seen.after, name: replace(seen.after[name], **changes)})


def with_probes(seen: Observed, name: str, **changes: Any) -> Observed:
    """The node's probes told otherwise."""
    return replace(seen, probed={**seen.probed, name: replace(seen.probed[name], **changes)})


def without(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A mapping without these."""
    return {name: value for name, value in found.items() if name not in names}
