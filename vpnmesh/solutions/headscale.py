"""Headscale with Tailscale clients and one relay of our own: DERP (paper, section 3.2.2), or a peer relay.

Headscale runs on the control-plane node, derper on the relay node, tailscaled on the members. Tailscale's own
relays are in no map, so nothing can leave the testbed. `headscale-relay` also tells the clients to use DERP
only, since a scenario must not hang on how fast a blocked path is noticed; the convergence test lets them
find out by themselves. With option `relay: peer` a tailscaled on the relay node relays over UDP, and DERP only
introduces the clients to each other. Versions of Headscale: `vpnmesh.solutions.headscale_control`.
Sources: `tailscaled -help`, `tailscale set -help`, ipnstate.PeerStatus, wgengine/magicsock/debugknobs.go of 1.98.10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from types import MappingProxyType

from vpnmesh.firewall.policy import Protocol
from vpnmesh.host import leftovers, tls
from vpnmesh.host.dual_stack import written
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.rest import field_of, fields, records
from vpnmesh.host.service import RUN_DIRECTORY, Service, listens, listens_at, removed, running
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, unified_diff
from vpnmesh.solutions import headscale_control as control
from vpnmesh.solutions.control import Access, Gateway
from vpnmesh.solutions.headscale_control import by_peer
from vpnmesh.solutions.protocol import (
    STATE_DIRECTORY,
    Binary,
    Mesh,
    MeshRole,
    Peer,
    Refusal,
    Solution,
    Stage,
    Status,
)
from vpnmesh.solutions.stack import WIREGUARD_GO_BYTES, Stack
from vpnmesh.solutions.ways import Listener, Ways

INTERFACE = "tailscale0"
PORT = 41641
RELAY_PORT = 41642
"""UDP, on the relay node: where a peer relay takes packets of others."""

DERP = f"{STATE_DIRECTORY}/derper"
CLIENT = f"{STATE_DIRECTORY}/tailscale"
TRUSTED = f"{CLIENT}/trusted"
SOCKET = f"{RUN_DIRECTORY}/tailscaled.sock"
TOOL = ("tailscale", f"--socket={SOCKET}")
JOIN_S = 40.0
FIREWALL = "nftables"
"""Left to itself tailscaled chooses by what it finds, that is, by which scenario was there before."""
RULES = r"(^|[[:space:]])ts-|0x0000ff00"
"""What Tailscale's own rules have in common: chains and connection marks."""

# what a tailscaled that was killed leaves in the routing policy: its four rules and its table
_UNROUTE = """
for pref in 5210 5230 5250 5270; do ip rule del pref $pref; ip -6 rule del pref $pref; done
ip route flush table 52; ip -6 route flush table 52
"""


CLIENTS = (
    Binary("tailscaled", version=("tailscaled", "--version")),
    Binary("tailscale", version=("tailscale", "version")),
)


class Headscale(Solution):
    """Headscale and Tailscale clients, direct, or relayed by DERP over TCP 443 or by a peer relay over UDP."""

    name = "headscale"
    binaries = (
        *CLIENTS,
        Binary("headscale", version=("headscale", "version"), at=MeshRole.CONTROL),
        Binary("openssl", "openssl", at=MeshRole.CONTROL),
        Binary("derper", version=("derper", "--version"), at=MeshRole.RELAY),
        Binary("openssl", "openssl", at=MeshRole.RELAY),
    )
    processes = ("tailscaled", "headscale", "derper")
    interfaces = (INTERFACE,)
    foreign: Foreign = Foreign("Tailscale", ("tailscaled",), stop="systemctl disable --now tailscaled")
    # Tailscale's and Headscale's keys for joining, Tailscale's private keys
    secret_shapes = (r"tskey-[\w-]{8,}", r"hskey-[\w-]{8,}", r"privkey:[0-9a-f]{16,}")
    colour, marker = "#3b7dd8", "s"
    options = MappingProxyType({"access": ("coarse", "granular"), "relay": ("derp", "peer")})
    fallback_s = 60.0
    parted_by = "by rules of its tailnet, of which Headscale has a single one (docs/about/faq.md of 0.29.2)"
    # tailscaled's own service is at 100.100.100.100 (net/tsaddr/tsaddr.go)
    own_ranges = (IPv4Network(control.RANGE), IPv4Network("100.100.100.100/32"))

    def needed(self, scenario: Scenario, /) -> tuple[Binary, ...]:
        """A peer relay is a client on the relay node."""
        on_relay = tuple(replace(one, at=MeshRole.RELAY) for one in CLIENTS)
        return (*self.binaries, *on_relay) if scenario.options.get("relay") == "peer" else self.binaries

    def stack(self, scenario: Scenario, /) -> Stack:
        """DERP is TCP from both members to the relay; else UDP. Linux's tun devices do not segment tunnels' packets.

        `ethtool -k tailscale0`: tx-udp_tnl-segmentation off [fixed].
        """
        if scenario.path is Path.RELAY and scenario.options.get("relay") != "peer":
            return Stack(own_tcp=True, single_packets=True)
        return Stack(single_packets=True, buffers_bytes=WIREGUARD_GO_BYTES)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Certificates first, because all clients must trust them; then relay, server, policy, clients."""
        relay = (mesh.testbed.relay.name,)
        server = (mesh.testbed.control_plane.name,)
        members = tuple(node.name for node in mesh.members)
        return (
            Stage("relay-certificate", relay, _relay_certificate, _read_relay_certificate),
            Stage("certificate", server, control.certificate, control.told, beside=True),
            Stage("server", server, control.server),
            Stage("relay", relay, _derper, beside=True),
            Stage("daemons", members, lambda mesh, _node: running(daemon(mesh), mesh.scenario), beside=True),
            Stage("key", server, control.key, control.read_key),
            Stage("policy", server, control.policy_set),
            *(_peer_relay_stages(relay) if by_peer(mesh) else ()),
            Stage("members", members, _joined, lambda _mesh, _node: _read_self()),
        )

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Stop what runs here, let tailscaled take its rules and routes back, remove keys and state."""
        unroute = Command(("sh", "-c", f"({_UNROUTE}) 2> /dev/null; true"))
        return removed(
            ("tailscaled", "derper", "headscale"),
            (CLIENT, DERP, control.SERVER, SOCKET),
            interfaces=(INTERFACE,),
            strangers=self.foreign.processes,
            find=(leftovers.find(RULES), Command(("ip", "rule", "show", "pref", "5270"))),
            cleanup=(unroute, leftovers.remove(RULES)),
        )

    def refusal(self, mesh: Mesh, _member: str, /) -> Refusal | None:
        """A key that expires at once; how that is said is written down for the versions of today alone."""
        if control.interface_of(mesh).policy_file:
            return None
        server = (mesh.testbed.control_plane.name,)
        return Refusal(
            "auth-key", (Stage("refused key", server, control.refused_key, control.read_refused_key),)
        )

    def access(self, mesh: Mesh, access: Access | None, /) -> tuple[Stage, ...]:
        """Headscale tells the clients at once, nothing restarts."""
        server, wanted = mesh.testbed.control_plane.name, control.policy(mesh)
        if access is not None:
            wanted = control.access_policy(access)
        return (Stage("access", (server,), lambda mesh, _node: control.held_policy(mesh, wanted)),)

    def gateway(self, mesh: Mesh, gateway: Gateway, /) -> tuple[Stage, ...]:
        """The member offers the route, the server approves it, the others take it."""
        server = mesh.testbed.control_plane.name
        others = tuple(node.name for node in mesh.members if node.name != gateway.member)
        routes = (f"--advertise-routes={gateway.network}", "AdvertiseRoutes", [str(gateway.network)])
        return (
            Stage("offered route", (gateway.member,), lambda _mesh, _node: _set(*routes)),
            Stage("approved route", (server,), lambda mesh, _node: control.approved(mesh, gateway)),
            Stage(
                "taken routes", others, lambda _mesh, _node: _set("--accept-routes", "RouteAll", wanted=True)
            ),
        )

    def data_port(self, _mesh: Mesh, /) -> int:
        """The daemon's `--port`."""
        return PORT

    def listeners(self, mesh: Mesh, /) -> tuple[Listener, ...]:
        """DERP and its STUN on the relay node, a peer relay beside them, and Headscale itself."""
        relay = mesh.testbed.relay.name
        derp = Listener("DERP relay", relay, Protocol.TCP, 443, relays=not by_peer(mesh))
        peer = Listener("peer relay", relay, Protocol.UDP, RELAY_PORT, relays=True)
        control_plane = mesh.testbed.control_plane.name
        return (
            derp,
            Listener(
                "STUN of the DERP relay",
                relay,
                Protocol.UDP,
                control.STUN_PORT,
                stun=True,
                software="tailnode",
            ),
            *((peer,) if by_peer(mesh) else ()),
            Listener("Headscale", control_plane, Protocol.TCP, control.CONTROL_PORT),
        )

    def ways(self, mesh: Mesh, _node: Node, peer: Node, /) -> Fact[Ways]:
        """`Addrs` and `CurAddr` of the peer in `tailscale status --json`."""
        key = str(mesh.published_by(peer.name, "node-key"))
        question = Command((*TOOL, "status", "--json"), ok=(0, 1, 127), timeout_s=5)
        return Fact((question,), lambda found: _ways(found[0].stdout, key))

    def identity(self, _mesh: Mesh, _node: Node, /) -> Fact[dict[str, Text]]:
        """The daemon's own key."""
        return _read_self()

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """`tailscale status --json`: direct by a current address, else by a peer relay's, else by DERP."""
        question = Command((*TOOL, "status", "--json"), ok=(0, 1, 127), timeout_s=5)
        return self.reported(Fact((question,), lambda found: parse_status(mesh, node, found[0].stdout)))


def daemon(mesh: Mesh) -> Service:
    """The client's daemon; relay scenarios make it use their relay whatever else would work."""
    forced = {}
    if mesh.scenario.path is Path.RELAY:
        forced = {"TS_DEBUG_NEVER_DIRECT_UDP" if by_peer(mesh) else "TS_DEBUG_ALWAYS_USE_DERP": "true"}
    return _tailscaled(mesh, INTERFACE, {"TS_DEBUG_MTU": str(mesh.tunnel_mtu)} | forced)


def peer_relay(mesh: Mesh) -> Service:
    """The daemon on the relay node: without an interface, since it opens no packet and has none of its own."""
    return _tailscaled(mesh, "userspace-networking", {})


def _tailscaled(mesh: Mesh, tun: str, environment: Mapping[str, str]) -> Service:
    servers = (mesh.testbed.control_plane.name, mesh.testbed.relay.name)
    trusted = tuple(
        WriteFile(f"{TRUSTED}/{name}.crt", mesh.published_by(name, "certificate")) for name in servers
    )
    argv = (
        *("tailscaled", "--no-logs-no-support", f"--statedir={CLIENT}", f"--state={CLIENT}/state"),
        *(f"--socket={SOCKET}", f"--tun={tun}", f"--port={PORT}"),
    )
    ours = {
        "TS_DEBUG_FIREWALL_MODE": FIREWALL,
        # the node's own list of authorities is none of ours
        "SSL_CERT_FILE": trusted[0].path,
        "SSL_CERT_DIR": TRUSTED,
    }
    return Service("tailscaled", argv, trusted, {**ours, **environment}, listens_at(SOCKET))


def parse_status(mesh: Mesh, node: Node, text: str) -> tuple[Peer, ...]:
    """Peers from `tailscale status --json`; a member it does not name has neither path nor endpoint."""
    said = fields(text).get("Peer")
    peers = records(list(said.values())) if isinstance(said, dict) else []
    # by key, not by name: a node that joined before leaves its name behind
    entries = {str(entry.get("PublicKey")): entry for entry in peers}
    return tuple(
        _peer(mesh, peer, entries.get(str(mesh.published_by(peer.name, "node-key"))))
        for peer in mesh.peers(node)
    )


def _peer(mesh: Mesh, peer: Node, entry: Mapping[str, object] | None) -> Peer:
    if entry is None:
        return Peer(peer.name, None, None, known=False)
    if current := str(entry.get("CurAddr") or ""):
        # where the underlay is IPv4 alone, IPv6 is on no path that a scenario has
        endpoint = mesh.endpoint(current)
        return Peer(peer.name, Path.DIRECT if endpoint else None, endpoint, via="" if endpoint else current)
    # of the two kinds of relay only the scenario's own is its path: figures of the other would be under its name
    if through := str(entry.get("PeerRelay") or ""):
        endpoint = mesh.endpoint(through)
        path = Path.RELAY if by_peer(mesh) and endpoint else None
        return Peer(peer.name, path, endpoint, via="peer relay")
    # the home relay is always named; only a peer with recent traffic and no address is really reached through it
    if entry.get("Relay") and entry.get("Active"):
        # our map has that one region, and the region that one address
        ours = mesh.addresses(mesh.testbed.relay)[0] if entry["Relay"] == control.REGION_CODE else None
        return Peer(peer.name, None if by_peer(mesh) else Path.RELAY, ours, via=f"DERP {entry['Relay']}")
    # before the server has told where it is at home, a first packet to it has nowhere to go
    return Peer(peer.name, None, None, known=bool(entry.get("Relay")))


def _ways(text: str, key: str) -> Ways:
    said = fields(text).get("Peer")
    peers = records(list(said.values())) if isinstance(said, dict) else []
    entry = next((one for one in peers if str(one.get("PublicKey")) == key), {})
    known = entry.get("Addrs")
    candidates = tuple(map(str, known)) if isinstance(known, list) else ()
    relay = f"DERP {entry['Relay']}" if entry.get("Relay") else ""
    return Ways(
        "tailscale status --json", candidates, str(entry.get("CurAddr") or entry.get("PeerRelay") or relay)
    )


def _relay_certificate(mesh: Mesh, node: Node) -> Fact[Plan]:
    return tls.certificate(DERP, mesh.addresses(node), control.RELAY_NAME)


def _read_relay_certificate(_mesh: Mesh, _node: Node) -> Fact[dict[str, Text]]:
    return tls.read_certificate(DERP, control.RELAY_NAME)


def _derper(mesh: Mesh, _node: Node) -> Fact[Plan]:
    argv = (
        *("derper", "-a", ":443", "-http-port", "-1", "-certmode", "manual", "-certdir", DERP),
        *("-hostname", control.RELAY_NAME, "-c", f"{DERP}/derper.key"),
    )
    return running(Service("derper", argv, ready=listens("-t", "sport = :443")), mesh.scenario)


def _peer_relay_stages(relay: tuple[str, ...]) -> tuple[Stage, ...]:
    return (
        Stage("relay-daemon", relay, lambda mesh, _node: running(peer_relay(mesh), mesh.scenario)),
        Stage("relay-member", relay, _joined),
        Stage("peer-relay", relay, lambda _mesh, _node: _relaying()),
    )


def _relaying() -> Fact[Plan]:
    """Ensure that the relay node's daemon takes packets of others."""
    return _set(f"--relay-server-port={RELAY_PORT}", "RelayServerPort", wanted=RELAY_PORT)


def _set(option: str, preference: str, wanted: object) -> Fact[Plan]:
    """Ensure that a daemon's preference has that value; the option sets it."""

    def plan(completed: Sequence[Completed]) -> Plan:
        held = fields(completed[0].stdout).get(preference)
        change = Command((*TOOL, "set", option))
        return Plan() if held == wanted else Plan((change,), unified_diff(preference, str(held), str(wanted)))

    return Fact((Command((*TOOL, "debug", "prefs"), ok=(0, 1)),), plan)


def _read_self() -> Fact[dict[str, Text]]:
    question = Command((*TOOL, "status", "--json", "--peers=false"))

    def parse(completed: Sequence[Completed]) -> dict[str, Text]:
        return {"node-key": field_of(completed[0].stdout, "Self", "PublicKey")}

    return Fact((question,), parse)


def _joined(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that the daemon is logged in at our server under the node's name."""
    server = mesh.testbed.control_plane
    key = f"{CLIENT}/authkey"
    up = (
        *(*TOOL, "up", f"--login-server=https://{written(mesh.server(server, node), control.CONTROL_PORT)}"),
        *(f"--auth-key=file:{key}", "--accept-dns=false", "--accept-routes=false"),
        *(f"--hostname={node.name}", f"--timeout={JOIN_S:.0f}s"),
    )
    steps = (
        WriteFile(key, mesh.published_by(server.name, "auth-key")),
        Command(up, timeout_s=JOIN_S + 5),
        Command(("rm", "-f", key)),
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        state = str(fields(completed[0].stdout).get("BackendState", "not known"))
        return Plan() if state == "Running" else Plan(steps, unified_diff("tailscale", state, "Running"))

    return Fact((Command((*TOOL, "status", "--json"), ok=(0, 1)),), plan)


SOLUTION = Headscale()
