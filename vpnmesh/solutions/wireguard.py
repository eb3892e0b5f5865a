"""WireGuard as a static full mesh: in the kernel where it has it, else wireguard-go; peers are configured, not found.

A scenario that wants an environment, a version or a folder wants it of wireguard-go, whatever the kernel could.

Private keys are made on the nodes and stay there. Commands: wg(8), wireguard-tools 1.0.
"""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from types import MappingProxyType

from vpnmesh.host.dual_stack import written
from vpnmesh.host.files import existing
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.links import WIREGUARD, interface_fact
from vpnmesh.host.service import content, made
from vpnmesh.model import DataPlane, Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, unified_diff
from vpnmesh.solutions.control import Gateway
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Binary, Mesh, Peer, Solution, Stage, Status
from vpnmesh.solutions.stack import Stack
from vpnmesh.solutions.ways import Ways

INTERFACE = "vmwg0"
PORT = 51821
KEEPALIVE_S = "25"
DIRECTORY = f"{STATE_DIRECTORY}/wireguard"
KEY = f"{DIRECTORY}/private.key"

# constant scripts; the path or the name is an argument
_MAKE_KEY = 'umask 077; mkdir -p "$(dirname "$1")" && wg genkey > "$1"'
_CREATE = 'ip link add "$1" type wireguard 2>/dev/null || wireguard-go "$1" >/dev/null 2>&1'
_CREATE_BY_PROGRAM = 'wireguard-go "$1" > /dev/null 2>&1'


class WireGuard(Solution):
    """A static full mesh between master and workers."""

    name = "wireguard"
    binaries = (
        Binary("wg", "wireguard-tools", ("wg", "--version")),
        Binary("wireguard-go", "wireguard-go", ("wireguard-go", "--version"), or_link=WIREGUARD),
    )
    processes = ("wireguard-go",)
    interfaces = (INTERFACE,)
    kernel_links = (WIREGUARD,)
    foreign = Foreign(
        "WireGuard",
        ("wireguard-go", "boringtun-cli"),
        links=(WIREGUARD,),
        own=(INTERFACE,),
        stop="wg-quick down INTERFACE",
        shares=False,
    )
    colour, marker = "#9657d6", "P"
    lacks = MappingProxyType(
        {
            "unattended-registration": "peers are written into every node's configuration: nobody is asked to join",
            "acl": "it has no rules but which addresses a peer may use",
            "granular-acl": "it has no rules but which addresses a peer may use",
            "isolated-meshes": "there is no control plane that meshes could share",
            "control-plane-down": "there is no control plane that could go down",
        }
    )

    def needed(self, scenario: Scenario, /) -> tuple[Binary, ...]:
        """The program is for kernels without WireGuard, and for scenarios that want something of it."""
        if by_program(scenario):
            return tuple(replace(one, or_link="") for one in self.binaries)
        return self.binaries

    def stack(self, _scenario: Scenario, /) -> Stack:
        """Kernel: drivers/net/wireguard/device.c, WG_NETDEV_FEATURES, has no segmentation of tunnels' packets.

        Debian's wireguard-go is older than `socketBufferSize` (conn/controlfns.go): its sockets have the default size.
        """
        return Stack(single_packets=True)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Keys, the interface with all peers, and only then what makes WireGuard talk: its keepalives.

        A handshake to a peer that has no interface yet is lost, and one that two ends begin at the same moment fails
        at both; either is tried again only after 5 s (REKEY_TIMEOUT). So one end of each pair begins.
        """
        names = tuple(node.name for node in mesh.members)
        return (
            Stage("keys", names, lambda _mesh, _node: _key(), lambda _mesh, _node: _public_key()),
            Stage("interface", names, _interface, joining=True),
            Stage("handshakes", names[:-1], lambda mesh, node: _kept(mesh, _later(mesh, node), greet=True)),
            Stage("keepalives", names, lambda mesh, node: _kept(mesh, mesh.peers(node))),
        )

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Remove interface (which ends wireguard-go) and keys."""
        return Fact((existing(f"/sys/class/net/{INTERFACE}", DIRECTORY),), _leave_plan)

    def gateway(self, mesh: Mesh, gateway: Gateway, /) -> tuple[Stage, ...]:
        """The network is among the gateway's addresses at every other member, with a route there."""
        others = tuple(node.name for node in mesh.members if node.name != gateway.member)
        return (Stage("route", others, lambda mesh, _node: _routed(mesh, gateway)),)

    def data_port(self, _mesh: Mesh, /) -> int:
        """`listen-port` of every member."""
        return PORT

    def ways(self, mesh: Mesh, _node: Node, peer: Node, /) -> Fact[Ways]:
        """The one endpoint that is configured; it is used once there was a handshake."""
        key = str(mesh.published.get((peer.name, "public-key"), ""))
        question = Command(("wg", "show", INTERFACE, "endpoints"), ok=(0, 1))
        return Fact((question,), lambda found: _ways(_table(found[0]).get(key, "")))

    def identity(self, _mesh: Mesh, _node: Node, /) -> Fact[dict[str, Text]]:
        """The public half of the node's key."""
        return _public_key()

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """The kernel's or wireguard-go's own table of peers: direct when the endpoint is the peer's underlay."""
        questions = tuple(
            Command(("wg", "show", INTERFACE, show), ok=(0, 1)) for show in ("endpoints", "latest-handshakes")
        )
        return self.reported(
            Fact(questions, lambda found: _peers(mesh, node, _table(found[0]), _table(found[1])))
        )


def _key() -> Fact[Plan]:
    return made(KEY, Command(("sh", "-c", _MAKE_KEY, "sh", KEY)), "<a new private key>")


def _public_key() -> Fact[dict[str, Text]]:
    question = Command(("sh", "-c", 'wg pubkey < "$1"', "sh", KEY))
    return Fact((question,), lambda completed: {"public-key": content(completed[0])})


def _interface(mesh: Mesh, node: Node) -> Fact[Plan]:
    shows = ("public-key", "listen-port", "endpoints", "allowed-ips")
    questions = tuple(Command(("wg", "show", INTERFACE, show), ok=(0, 1)) for show in shows)
    link = interface_fact(INTERFACE)
    wanted = _wanted(mesh, node)

    def plan(completed: Sequence[Completed]) -> Plan:
        plane, address, mtu = link.parse(completed[4:])
        held = _held(completed[:4], address, mtu)
        fits = not (by_program(mesh.scenario) and plane is DataPlane.KERNEL)
        if held == wanted and fits:
            return Plan()
        # a node that joins or has new keys is no reason to cut the others off
        kept = fits and _without_peers(held) == _without_peers(wanted)
        steps = (_other_peers(mesh, node, held),) if kept else _steps(mesh, node)
        return Plan(steps, unified_diff(INTERFACE, "\n".join(held), "\n".join(wanted)))

    return Fact((*questions, *link.commands), plan)


def _wanted(mesh: Mesh, node: Node) -> list[str]:
    lines = [f"key {mesh.published_by(node.name, 'public-key')}", f"port {PORT}"]
    lines += [f"address {mesh.overlay(node).ip} mtu {mesh.tunnel_mtu}"]
    for peer in mesh.peers(node):
        key = mesh.published_by(peer.name, "public-key")
        lines += [f"peer {key} endpoint {_endpoint(mesh, node, peer)} allows {mesh.overlay(peer).ip}/32"]
    return sorted(lines)


def _held(completed: Sequence[Completed], address: IPv4Address | None, mtu: int | None) -> list[str]:
    key, port, endpoints, allowed = completed
    if key.exit_code:
        return []
    lines = [f"key {key.stdout.strip()}", f"port {port.stdout.strip()}", f"address {address} mtu {mtu}"]
    ends = _table(endpoints)
    lines += [f"peer {peer} endpoint {ends.get(peer)} allows {ips}" for peer, ips in _table(allowed).items()]
    return sorted(lines)


def _without_peers(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.startswith("peer ")]


def _other_peers(mesh: Mesh, node: Node, held: Sequence[str]) -> Command:
    """Take away the peers that are none any more, and set those of now, on the interface as it is."""
    known = {line.split()[1] for line in held if line.startswith("peer ")}
    gone = known - {str(mesh.published_by(peer.name, "public-key")) for peer in mesh.peers(node)}
    removed = [word for key in sorted(gone) for word in ("peer", key, "remove")]
    return Command(("wg", "set", INTERFACE, *removed, *_peer_words(mesh, node)))


def _peer_words(mesh: Mesh, node: Node) -> tuple[str, ...]:
    return tuple(
        word
        for peer in mesh.peers(node)
        for word in (
            *("peer", str(mesh.published_by(peer.name, "public-key"))),
            *(("endpoint", _endpoint(mesh, node, peer)) if mesh.reached(peer, node) else ()),
            *("allowed-ips", f"{mesh.overlay(peer).ip}/32"),
        )
    )


def _endpoint(mesh: Mesh, node: Node, peer: Node) -> str:
    """Where that node is to find the peer, as `wg show` has it; `(none)` where they share no family of addresses."""
    address = mesh.reached(peer, node)
    return written(address, PORT) if address else "(none)"


def _steps(mesh: Mesh, node: Node) -> tuple[Command, ...]:
    peers = _peer_words(mesh, node)
    return (
        Command(("ip", "link", "delete", INTERFACE), ok=(0, 1)),
        _create(mesh),
        Command(("wg", "set", INTERFACE, "listen-port", str(PORT), "private-key", KEY, *peers)),
        Command(("ip", "address", "add", str(mesh.overlay(node)), "dev", INTERFACE)),
        Command(("ip", "link", "set", INTERFACE, "mtu", str(mesh.tunnel_mtu), "up")),
    )


def _routed(mesh: Mesh, gateway: Gateway) -> Fact[Plan]:
    """Ensure that packets to the gateway's network go to it through the tunnel."""
    key = str(mesh.published_by(gateway.member, "public-key"))
    wanted = f"{mesh.overlay(mesh.testbed.node(gateway.member)).ip}/32 {gateway.network}"
    network = str(gateway.network)

    def plan(completed: Sequence[Completed]) -> Plan:
        allowed, route = _table(completed[0]).get(key, ""), completed[1].stdout
        if sorted(allowed.split()) == sorted(wanted.split()) and INTERFACE in route:
            return Plan()
        steps = (
            Command(("wg", "set", INTERFACE, "peer", key, "allowed-ips", wanted.replace(" ", ","))),
            Command(("ip", "route", "replace", network, "dev", INTERFACE)),
        )
        return Plan(steps, unified_diff("allowed addresses", allowed, wanted))

    shown = Command(("wg", "show", INTERFACE, "allowed-ips"), ok=(0, 1))
    return Fact((shown, Command(("ip", "route", "show", network))), plan)


def _later(mesh: Mesh, node: Node) -> tuple[Node, ...]:
    """The members that come after this one: with them it begins."""
    return mesh.members[mesh.members.index(node) + 1 :]


def _kept(mesh: Mesh, peers: Sequence[Node], *, greet: bool = False) -> Fact[Plan]:
    """Ensure that the connections to these peers are kept alive; `greet` waits a little for each one's answer."""
    keys = {str(mesh.published_by(peer.name, "public-key")): peer for peer in peers}

    def plan(completed: Sequence[Completed]) -> Plan:
        held = _table(completed[0])
        lacking = {key: peer for key, peer in keys.items() if held.get(key) != KEEPALIVE_S}
        if not lacking:
            return Plan()
        words = [word for key in lacking for word in ("peer", key, "persistent-keepalive", KEEPALIVE_S)]
        greetings = [_greeting(mesh, peer) for peer in lacking.values()] if greet else []
        return Plan(
            (Command(("wg", "set", INTERFACE, *words)), *greetings),
            unified_diff("keepalives", "", "\n".join(peer.name for peer in lacking.values())),
        )

    return Fact((Command(("wg", "show", INTERFACE, "persistent-keepalive"), ok=(0, 1)),), plan)


def _greeting(mesh: Mesh, peer: Node) -> Command:
    # whether it answers is judged with all paths, later
    return Command(("ping", "-n", "-q", "-c", "1", "-W", "2", str(mesh.overlay(peer).ip)), ok=(0, 1, 2))


def by_program(scenario: Scenario) -> bool:
    """Whether the scenario wants something of wireguard-go: then the kernel, which knows nothing of it, is left out."""
    return bool(scenario.environment or scenario.version or scenario.program_folder)


def _create(mesh: Mesh) -> Command:
    if not by_program(mesh.scenario):
        return Command(("sh", "-c", _CREATE, "sh", INTERFACE))
    pairs = tuple(f"{name}={value}" for name, value in sorted(mesh.scenario.environment.items()))
    return Command(("env", *pairs, "sh", "-c", _CREATE_BY_PROGRAM, "sh", INTERFACE))


def _leave_plan(completed: Sequence[Completed]) -> Plan:
    left = completed[0].stdout.strip()
    if not left:
        return Plan()
    steps = (
        Command(("ip", "link", "delete", INTERFACE), ok=(0, 1)),
        Command(("rm", "-rf", "--", DIRECTORY)),
    )
    return Plan(steps, unified_diff("wireguard", left, ""))


def _table(completed: Completed) -> dict[str, str]:
    """`wg show` prints a key, a tab and a value per line."""
    rows = (line.split("\t", 1) for line in completed.stdout.splitlines() if completed.exit_code == 0)
    return {row[0]: row[1] for row in rows if len(row) == 2}  # noqa: PLR2004 - key and value


def _peers(mesh: Mesh, node: Node, endpoints: dict[str, str], handshakes: dict[str, str]) -> tuple[Peer, ...]:
    return tuple(_peer(mesh, peer, endpoints, handshakes) for peer in mesh.peers(node))


def _peer(mesh: Mesh, peer: Node, endpoints: dict[str, str], handshakes: dict[str, str]) -> Peer:
    key = str(mesh.published.get((peer.name, "public-key"), ""))
    endpoint = endpoints.get(key, "(none)")
    if endpoint == "(none)" or handshakes.get(key, "0") == "0":
        return Peer(peer.name, None, None)
    address = mesh.endpoint(endpoint)
    return Peer(peer.name, Path.DIRECT if address else None, address, via="" if address else endpoint)


def _ways(endpoint: str) -> Ways:
    known = () if endpoint in ("", "(none)") else (endpoint,)
    return Ways(f"wg show {INTERFACE} endpoints", known, *known)


SOLUTION = WireGuard()
