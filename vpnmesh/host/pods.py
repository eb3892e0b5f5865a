"""Pods and `vxlan.calico` as Calico makes them, without Kubernetes: one pod a node, VXLAN over any underlay.

VNI 4096, UDP 4789, no learning, static neighbours and routes per peer; the pod is a namespace behind a `cali*`
veth with a /32 and 169.254.1.1 as its gateway (Calico 3.25, `felix/dataplane/linux/vxlan_mgr.go`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

from vpnmesh.host.links import mtu_of
from vpnmesh.host.strangers import KUBERNETES, unless_strangers
from vpnmesh.host.tuning import NOTE, Tuning, noted, widened, without_offloads
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

VXLAN = "vxlan.calico"
VXLAN_BYTES = 50
"""What VXLAN takes of every packet of a pod (RFC 7348, section 5: outer Ethernet, IPv4, UDP and VXLAN headers)."""
POD = "vpnmesh-pod"
HOST_VETH = "cali0"
POD_VETH = "eth0"
GATEWAY = "169.254.1.1"
GATEWAY_MAC = "ee:ee:ee:ee:ee:ee"
VNI = 4096
PORT = 4789
CALICO_INTERFACES = ("cali", VXLAN)
"""Interface name prefixes that no VPN may take for a way to its peers."""
UNTUNED = Tuning()


@dataclass(frozen=True, slots=True)
class PodSite:
    """A node's share of the pod network: its block, its tunnel address and its one pod's address."""

    node: str
    underlay: IPv4Address
    block: IPv4Network
    tunnel: IPv4Address
    pod: IPv4Address
    mac: str


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """The pods of all Kubernetes nodes over one underlay; `mtu` in bytes, at the pod.

    `own_pods` says that the node's one pod is a namespace that we make; else a cluster makes pods, and only
    `vxlan.calico` is ours.
    """

    mtu: int
    device: Mapping[str, str]
    sites: tuple[PodSite, ...]
    tuning: Tuning = UNTUNED
    own_pods: bool = True

    def site(self, node: str) -> PodSite:
        """The share of that node; KeyError if it carries no pods."""
        for site in self.sites:
            if site.node == node:
                return site
        raise KeyError(node)


def pod_network(
    testbed: Testbed, mtu: int, over: Mapping[str, tuple[str, IPv4Address]], tuning: Tuning = UNTUNED
) -> PodNetwork:
    """Lay out the pods over the given (interface, address) of each Kubernetes node."""
    blocks = list(testbed.pods.subnets(new_prefix=26))
    sites = tuple(
        PodSite(
            node=node.name,
            underlay=over[node.name][1],
            block=block,
            tunnel=block[0],
            pod=block[1],
            mac=_mac(node.name),
        )
        for node, block in zip(testbed.k8s, blocks, strict=False)
    )
    return PodNetwork(mtu, {name: interface for name, (interface, _) in over.items()}, sites, tuning)


def pod_address(testbed: Testbed, node: Node) -> IPv4Address:
    """The address of that node's pod, whatever lies below."""
    return _block(testbed, node)[1]


def tunnel_address(testbed: Testbed, node: Node) -> IPv4Address:
    """The node's own address in the pod network, on `vxlan.calico`: the first of its block."""
    return _block(testbed, node)[0]


def _block(testbed: Testbed, node: Node) -> IPv4Network:
    """The node's part of the pod network; there are a thousand, of which only those before it are made."""
    index = [one.name for one in testbed.k8s].index(node.name)
    return next(islice(testbed.pods.subnets(new_prefix=26), index, None))


def in_pod(*argv: str) -> tuple[str, ...]:
    """The argv, run inside the node's pod."""
    return ("ip", "netns", "exec", POD, *argv)


def attached(network: PodNetwork, node: Node) -> Fact[Plan]:
    """Ensure the node's pod and VXLAN device, exactly as the network lays them out."""
    wanted = _wanted(network, node)

    def plan(found: tuple[str, ...]) -> Plan:
        ours = found if network.own_pods else tuple(line for line in found if not _of_own_pod(line))
        return _plan(ours, wanted, network, node)

    return held().map(plan)


def detached() -> Fact[Plan]:
    """Ensure that the node has neither pod nor VXLAN device; an answer that cannot be read may hide one.

    Where another Kubernetes runs, the VXLAN device is its own, which has the same name, and stays.
    """
    question = held()
    alone = unless_strangers(Command(("echo", "ours")), KUBERNETES, at_once=True)

    def plan(completed: Sequence[Completed]) -> Plan:
        *there, ours = completed
        try:
            found = question.parse(there)
        except json.JSONDecodeError as error:
            found = (f"what iproute2 says cannot be read: {error}",)
        found = found if ours.stdout.strip() else tuple(filter(_of_own_pod, found))
        return Plan(_remove(), unified_diff("pod network", "\n".join(found), "")) if found else Plan()

    return Fact((*question.commands, alone), plan)


def held() -> Fact[tuple[str, ...]]:
    """What the node has of a pod network, as sorted lines; none when it has nothing."""
    asks = (
        ("ip", "-j", "-d", "link", "show"),
        ("ip", "-j", "route", "show"),
        ("ip", "-j", "neigh", "show", "nud", "permanent"),
        ("bridge", "-j", "fdb", "show"),
        ("ip", "netns", "list"),
        in_pod("ip", "-j", "addr", "show", "dev", POD_VETH),
    )
    return Fact(tuple(Command(argv, ok=(0, 1, 255)) for argv in asks), _parse)


def pod_mtu() -> Fact[int | None]:
    """The MTU that the pod's interface has, in bytes."""

    def parse(completed: Sequence[Completed]) -> int | None:
        links = _json(completed[0])
        return mtu_of(links[0]) if links else None

    return Fact((Command(in_pod("ip", "-j", "link", "show", "dev", POD_VETH), ok=(0, 1, 255)),), parse)


def _mac(name: str) -> str:
    digest = hashlib.sha256(f"vxlan.calico {name}".encode()).hexdigest()
    return "66:" + ":".join(digest[index : index + 2] for index in range(0, 10, 2))


def _wanted(network: PodNetwork, node: Node) -> tuple[str, ...]:
    own = network.site(node.name)
    device = network.device[node.name]
    lines = [f"vxlan {VNI} local {own.underlay} dev {device} mtu {network.mtu} mac {own.mac}"]
    if network.own_pods:
        lines += [
            f"veth {HOST_VETH} mtu {network.mtu} mac {GATEWAY_MAC}",
            f"pod {own.pod} mtu {network.mtu}",
            f"route {own.pod} dev {HOST_VETH}",
        ]
        if network.tuning.note:
            lines.append(f"pod {NOTE} {network.tuning.note}")
    for peer in network.sites:
        if peer != own:
            lines += [
                f"route {peer.block} via {peer.tunnel}",
                f"neighbour {peer.tunnel} {peer.mac}",
                f"fdb {peer.mac} dst {peer.underlay}",
            ]
    return tuple(sorted(lines))


def _plan(found: tuple[str, ...], wanted: tuple[str, ...], network: PodNetwork, node: Node) -> Plan:
    if found == wanted:
        return Plan()
    diff = unified_diff("pod network", "\n".join(found), "\n".join(wanted))
    remove = _remove(own_pod=network.own_pods) if found else ()
    return Plan(remove + _create(network, node), diff)


def _of_own_pod(line: str) -> bool:
    """Whether that line of what a node has is a pod's, or of what leads to the pod that we make."""
    return line.startswith(("pod ", "veth ")) or line.endswith(f" dev {HOST_VETH}")


def _remove(*, own_pod: bool = True) -> tuple[Command, ...]:
    vxlan = unless_strangers(Command(("ip", "link", "delete", VXLAN), ok=(0, 1, 2)), KUBERNETES)
    if not own_pod:
        return (vxlan,)
    veth, pod = ("ip", "link", "delete", HOST_VETH), ("ip", "netns", "delete", POD)
    return Command(veth, ok=(0, 1, 2)), vxlan, Command(pod, ok=(0, 1, 2))


def _create(network: PodNetwork, node: Node) -> tuple[Command, ...]:
    own, device, mtu = network.site(node.name), network.device[node.name], str(network.mtu)
    peers = [peer for peer in network.sites if peer != own]
    with_pod = network.own_pods
    return (
        *((Command(("ip", "netns", "add", POD)),) if with_pod else ()),
        _at_once("ip", *_make_vxlan(own, device, mtu), *(_make_veth(own, mtu) if with_pod else ())),
        _at_once("bridge", *(_make_entry(peer) for peer in peers)),
        _at_once("ip", *(words for peer in peers for words in _make_peer(peer))),
        *((_at_once("ip", *_make_pod(own), options=("-n", POD)),) if with_pod else ()),
        Command(("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")),
        *(Command(argv) for argv in (_tune(network.tuning) if with_pod else ())),
    )


def _at_once(program: str, *lines: tuple[str, ...], options: tuple[str, ...] = ()) -> Command:
    """Many commands of iproute2 in one process, which ends at the first that fails."""
    text = "".join(f"{' '.join(words)}\n" for words in lines)
    return Command((program, *options, "-batch", "-"), stdin=text)


def _make_vxlan(own: PodSite, device: str, mtu: str) -> Iterator[tuple[str, ...]]:
    """In Calico's order: the device first, then its address; the peers follow later."""
    yield (
        *("link", "add", VXLAN, "address", own.mac, "mtu", mtu, "type", "vxlan", "id", str(VNI)),
        *("local", str(own.underlay), "dev", device, "dstport", str(PORT), "nolearning"),
    )
    yield ("address", "add", f"{own.tunnel}/32", "dev", VXLAN)
    yield ("link", "set", VXLAN, "up")


def _make_veth(own: PodSite, mtu: str) -> Iterator[tuple[str, ...]]:
    """The pod's veth pair, the node's end of it, and the route to the pod.

    The address is there from the first moment: of a link that got a random one udev may set another, later than we
    would (systemd.link(5), MACAddressPolicy=persistent, systemd's default), and every packet of the pod is lost.
    """
    yield (
        *("link", "add", HOST_VETH, "address", GATEWAY_MAC, "mtu", mtu, "type", "veth"),
        *("peer", "name", POD_VETH, "mtu", mtu, "netns", POD),
    )
    yield ("link", "set", HOST_VETH, "up")
    yield ("route", "add", f"{own.pod}/32", "dev", HOST_VETH)


def _make_pod(own: PodSite) -> Iterator[tuple[str, ...]]:
    """Inside the pod: its address, and the way out of it."""
    yield ("link", "set", "lo", "up")
    yield ("address", "add", f"{own.pod}/32", "dev", POD_VETH)
    yield ("link", "set", POD_VETH, "up")
    yield ("route", "add", GATEWAY, "dev", POD_VETH, "scope", "link")
    yield ("route", "add", "default", "via", GATEWAY, "dev", POD_VETH)
    yield ("neigh", "add", GATEWAY, "lladdr", GATEWAY_MAC, "dev", POD_VETH, "nud", "permanent")


def _make_entry(peer: PodSite) -> tuple[str, ...]:
    """Behind which node a peer's tunnel address is."""
    return ("fdb", "replace", peer.mac, "dev", VXLAN, "dst", str(peer.underlay))


def _make_peer(peer: PodSite) -> Iterator[tuple[str, ...]]:
    """What leads to a peer's pods: its tunnel address, and its block."""
    tunnel = str(peer.tunnel)
    yield ("neigh", "replace", tunnel, "lladdr", peer.mac, "dev", VXLAN, "nud", "permanent")
    yield ("route", "replace", str(peer.block), "via", tunnel, "dev", VXLAN, "onlink")


def _tune(tuning: Tuning) -> Iterator[tuple[str, ...]]:
    """What makes the pod's TCP other than usual; nothing of it outlives the pod."""
    if not tuning.offloads:
        yield without_offloads(HOST_VETH)
        yield without_offloads(VXLAN)
        yield in_pod(*without_offloads(POD_VETH))
    if tuning.buffers_bytes:
        yield in_pod(*widened(tuning.buffers_bytes))
    yield from noted(HOST_VETH, tuning)


def _json(completed: Completed) -> list[dict[str, object]]:
    """iproute2's JSON; nothing at all is an empty list, as it prints for some empty answers."""
    if completed.exit_code or not completed.stdout.strip():
        return []
    return [entry for entry in json.loads(completed.stdout) if entry]


def _parse(completed: Sequence[Completed]) -> tuple[str, ...]:
    links, routes, neighbours, fdb, namespaces, pod = completed
    lines = [line for link in _json(links) for line in _link_lines(link)]
    lines += [line for route in _json(routes) for line in _route_lines(route)]
    lines += [f"neighbour {n['dst']} {n['lladdr']}" for n in _json(neighbours) if n.get("dev") == VXLAN]
    lines += [
        f"fdb {f['mac']} dst {f['dst']}" for f in _json(fdb) if f.get("ifname") == VXLAN and f.get("dst")
    ]
    if POD in namespaces.stdout.split():
        lines += [_pod_line(link) for link in _json(pod)] or ["pod without address"]
    return tuple(sorted(lines))


def _link_lines(link: Mapping[str, object]) -> list[str]:
    name, mtu = link.get("ifname"), link.get("mtu")
    if name == HOST_VETH:
        alias = str(link.get("ifalias", ""))
        veth = f"veth {name} mtu {mtu} mac {link.get('address')}"
        return [veth, *([f"pod {alias}"] if alias.startswith(NOTE) else [])]
    if name != VXLAN:
        return []
    info = link.get("linkinfo")
    data = info.get("info_data", {}) if isinstance(info, dict) else {}
    return [
        f"vxlan {data.get('id')} local {data.get('local')} dev {data.get('link')} mtu {mtu} mac {link.get('address')}"
    ]


def _route_lines(route: Mapping[str, object]) -> list[str]:
    if route.get("dev") == HOST_VETH:
        return [f"route {route['dst']} dev {HOST_VETH}"]
    if route.get("dev") == VXLAN and "gateway" in route:
        return [f"route {route['dst']} via {route['gateway']}"]
    return []


def _pod_line(link: Mapping[str, object]) -> str:
    addresses = link.get("addr_info")
    found = (
        [a["local"] for a in addresses if a.get("family") == "inet"] if isinstance(addresses, list) else []
    )
    return f"pod {' '.join(found)} mtu {link.get('mtu')}"
