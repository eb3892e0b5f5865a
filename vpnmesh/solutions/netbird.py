"""NetBird 0.77 with management, signal and relays of our own (paper, section 3.2.3).

Management (with its embedded identity provider) and signal run on the control-plane node. The relay node runs
coturn in `netbird-relay`, as the paper did, and NetBird's own relay on port 443 otherwise
(`vpnmesh.solutions.netbird_control`), which clients reach over WebSocket (TCP) or QUIC (UDP). Relay scenarios
force the relay: `NB_ICE_FORCE_RELAY_CONN` with coturn, `NB_FORCE_RELAY` with NetBird's own. Source: the client's
commands and status of NetBird 0.77.1.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vpnmesh.firewall.policy import Protocol
from vpnmesh.host import leftovers
from vpnmesh.host.dual_stack import written
from vpnmesh.host.files import read
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.links import WIREGUARD
from vpnmesh.host.rest import field_of, fields, records
from vpnmesh.host.service import RUN_DIRECTORY, Service, listens_at, removed, running
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, unified_diff
from vpnmesh.solutions import netbird_access as running_server
from vpnmesh.solutions import netbird_control as server
from vpnmesh.solutions.control import Access
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
    checksum,
)
from vpnmesh.solutions.stack import WIREGUARD_GO_BYTES, Stack
from vpnmesh.solutions.ways import Listener, Ways

INTERFACE = "wt0"
TABLE = "netbird"
RULES = r"NETBIRD|wt0|0x1bd[12]"
"""What NetBird's own iptables rules have in common: chains, interface, marks."""
PORT = 51820
CLIENT = f"{STATE_DIRECTORY}/netbird"
SOCKET = f"unix://{RUN_DIRECTORY}/netbird.sock"
JOIN_S = 40.0
# the client tries again and again without a word: what its daemon complained of last is why, and not that our
# time limit then cancelled it
_CONNECT = """
timeout "$@" && exit
{ cat "$0" || journalctl -q -u vpnmesh-netbird -o cat; } 2> /dev/null \\
  | grep -E 'ERRO|WARN' | grep -v -e 'context canceled' -e caller_not_available | tail -n 2 | cut -c1-300 >&2
exit 1
"""


class NetBird(Solution):
    """NetBird, direct, relayed by coturn over UDP, or by its own relay over WebSocket or QUIC."""

    name = "netbird"
    binaries = (
        Binary("netbird", version=("netbird", "version")),
        Binary("netbird-mgmt", version=("netbird-mgmt", "--version"), at=MeshRole.CONTROL),
        Binary("netbird-signal", version=("netbird-signal", "--version"), at=MeshRole.CONTROL),
        Binary("curl", "curl", at=MeshRole.CONTROL),
        Binary("netbird-relay", version=checksum("netbird-relay"), at=MeshRole.RELAY),
        Binary("turnserver", "coturn", ("turnserver", "--version"), at=MeshRole.RELAY),
        Binary("openssl", "openssl", at=MeshRole.RELAY),
    )
    processes = ("netbird", "netbird-mgmt", "netbird-signal", "netbird-relay", "turnserver")
    interfaces = (INTERFACE,)
    foreign: Foreign = Foreign("NetBird", ("netbird",), stop="systemctl disable --now netbird")
    kernel_links = (WIREGUARD,)
    # personal access tokens of the management's interface
    secret_shapes = (r"nbp_\w{8,}",)
    colour, marker = "#cc6a00", "^"
    options = MappingProxyType(
        {
            "relay": ("turn", "own"),
            "transport": ("ws", "quic", "prefer-quic"),
            "access": ("coarse", "granular"),
        }
    )
    # candidates that come before an end's ICE agent is there are dropped, and offered again only after 20 to 30 s
    ready_s = 240.0
    fallback_s = 90.0
    parted_by = (
        "by policies between groups of its one account: management with users of its own takes no second one"
        " (management/cmd/management.go of 0.77.1)"
    )
    lacks = MappingProxyType(
        {"subnet-routers": "clients join here with routes of the server disabled (--disable-client-routes)"}
    )

    def unbuildable_reason(self, mesh: Mesh, /) -> str:
        """A transport is of NetBird's own relay: beside coturn it would say something that is not so."""
        if server.by_turn(mesh) and "transport" in mesh.scenario.options:
            name = mesh.scenario.name
            return f"{name}: transport is of NetBird's own relay; write relay: own, or leave transport out"
        return ""

    def stack(self, scenario: Scenario, /) -> Stack:
        """Its own relay is TCP from both members unless it is QUIC; coturn and the direct path are UDP.

        Userspace sockets are netbirdio/wireguard-go's (conn/controlfns.go); the kernel's WireGuard uses the defaults.
        """
        transport = scenario.options.get("transport", "ws")
        by_own = scenario.path is Path.RELAY and scenario.options.get("relay") != "turn"
        if by_own and transport == "ws":
            return Stack(own_tcp=True, single_packets=True)
        return Stack(single_packets=True, buffers_bytes=None if by_own else WIREGUARD_GO_BYTES)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Relay, because its secret goes into the management's configuration; management, account, clients."""
        relay = (mesh.testbed.relay.name,)
        control = (mesh.testbed.control_plane.name,)
        members = tuple(node.name for node in mesh.members)
        return (
            Stage("relay's secrets", relay, server.relay_secrets, server.read_relay_secrets),
            Stage(
                "store key",
                control,
                lambda _mesh, _node: server.store_key(),
                lambda _mesh, _node: server.read_store_key(),
                beside=True,
            ),
            Stage("packet filter", members, lambda _mesh, _node: _nftables(), beside=True),
            Stage(
                "management",
                control,
                lambda mesh, _node: running(server.management_service(mesh), mesh.scenario),
            ),
            Stage("relay", relay, server.relay, beside=True),
            Stage("daemons", members, lambda mesh, _node: running(daemon(mesh), mesh.scenario), beside=True),
            Stage("signal", control, lambda mesh, _node: running(server.signal_service(), mesh.scenario)),
            Stage("owner", control, lambda _mesh, _node: server.owner()),
            Stage("settings", control, lambda mesh, _node: server.settings(mesh)),
            Stage("group", control, lambda _mesh, _node: server.group()),
            Stage("policy", control, lambda mesh, _node: server.held_policies(mesh)),
            Stage(
                "key",
                control,
                lambda _mesh, _node: server.setup_key(),
                lambda _mesh, _node: server.read_setup_key(),
            ),
            Stage("members", members, _joined, lambda _mesh, _node: _read_self()),
        )

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Stop what runs here, and remove its rules, keys and state."""
        return removed(
            ("netbird", "netbird-mgmt", "netbird-signal", "netbird-relay", "coturn"),
            (CLIENT, server.SERVER, server.SIGNAL, server.RELAY, f"{RUN_DIRECTORY}/netbird.sock"),
            interfaces=(INTERFACE,),
            strangers=self.foreign.processes,
            find=(leftovers.find(RULES), Command(("nft", "list", "table", "ip", TABLE), ok=(0, 1, 127))),
            # netbird takes its rules back when it ends in peace; after a kill they are still there
            cleanup=(leftovers.delete_table("ip", TABLE), leftovers.remove(RULES)),
            # at TERM it does the same, and then sleeps for two seconds (client/cmd/service_controller.go)
            goodbyes={"netbird": _netbird("down")},
        )

    def blacklist(self, mesh: Mesh, node: Node, /) -> Fact[Plan]:
        """Make the client ignore these interfaces: it connects again with the new list if it already runs."""
        listed = ",".join(mesh.blacklisted(node)) or "none"
        join = _join_steps(mesh, node)

        def plan(before: str) -> Plan:
            return (
                Plan() if before == listed else Plan(join, unified_diff("netbird blacklist", before, listed))
            )

        return read(f"{CLIENT}/blacklist").map(plan)

    def refusal(self, mesh: Mesh, _member: str, /) -> Refusal | None:
        """A setup key that is revoked; making it and taking it back are two calls, one after the other."""
        control = (mesh.testbed.control_plane.name,)
        made = Stage("refused key", control, lambda _mesh, _node: running_server.made_key())
        taken = Stage(
            "key taken back",
            control,
            lambda _mesh, _node: running_server.refused_key(),
            lambda _mesh, _node: server.read_setup_key(running_server.REFUSED_KEY),
        )
        return Refusal("setup-key", (made, taken))

    def access(self, mesh: Mesh, access: Access | None, /) -> tuple[Stage, ...]:
        """Management tells the clients at once, nothing restarts; rules name groups, so each member gets its own."""
        control = (mesh.testbed.control_plane.name,)
        if access is None:
            return (Stage("policy", control, lambda mesh, _node: server.held_policies(mesh)),)
        return (
            Stage("groups", control, lambda _mesh, _node: running_server.member_groups(access)),
            Stage("access", control, lambda _mesh, _node: running_server.access_policies(access)),
        )

    def data_port(self, _mesh: Mesh, /) -> int:
        """The client's `--wireguard-port`."""
        return PORT

    def listeners(self, mesh: Mesh, /) -> tuple[Listener, ...]:
        """The relay and its STUN, management and signal."""
        relay, control = mesh.testbed.relay.name, mesh.testbed.control_plane.name
        stun = Listener("STUN of the relay", relay, Protocol.UDP, server.STUN_PORT, stun=True)
        own = Listener("NetBird relay", relay, Protocol.TCP, server.RELAY_PORT, relays=True)
        turn = Listener("TURN relay", relay, Protocol.UDP, server.STUN_PORT, stun=True, relays=True)
        return (
            *((turn,) if server.by_turn(mesh) else (own, stun)),
            Listener("NetBird management", control, Protocol.TCP, server.MANAGEMENT_PORT),
            Listener("NetBird signal", control, Protocol.TCP, server.SIGNAL_PORT),
        )

    def ways(self, mesh: Mesh, _node: Node, peer: Node, /) -> Fact[Ways]:
        """The pair of ICE candidates in use; the client's status tells no others."""
        key = str(mesh.published_by(peer.name, "node-key"))
        question = Command(_netbird("status", "--json"), ok=(0, 1, 127), timeout_s=5)
        return Fact((question,), lambda found: _ways(found[0].stdout, key))

    def identity(self, _mesh: Mesh, _node: Node, /) -> Fact[dict[str, Text]]:
        """The client's own key."""
        return _read_self()

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """`netbird status --json`; the endpoints decide, since one end may say P2P over TURN."""
        question = Command(_netbird("status", "--json"), ok=(0, 1, 127), timeout_s=5)
        return self.reported(Fact((question,), lambda found: parse_status(mesh, node, found[0].stdout)))


def daemon(mesh: Mesh) -> Service:
    """The client's daemon; relay scenarios make it use the relay whatever else would work."""
    environment = {"NB_STATE_DIR": CLIENT, "NB_DISABLE_SSH_CONFIG": "true", "HOME": CLIENT}
    certificate = WriteFile(f"{CLIENT}/relay.crt", mesh.published_by(mesh.testbed.relay.name, "certificate"))
    if not server.by_turn(mesh):
        # left to itself it races both, and over QUIC it is late to notice that UDP is blocked
        transport = mesh.scenario.options.get("transport", "ws")
        environment |= {"SSL_CERT_FILE": certificate.path, "NB_RELAY_TRANSPORT": transport}
    if mesh.scenario.path is Path.RELAY:
        environment["NB_ICE_FORCE_RELAY_CONN" if server.by_turn(mesh) else "NB_FORCE_RELAY"] = "true"
    argv = _netbird("service", "run", "--config", f"{CLIENT}/config.json", "--log-file", "console")
    ready = listens_at(f"{RUN_DIRECTORY}/netbird.sock")
    return Service("netbird", argv, (certificate,), environment, ready)


def parse_status(mesh: Mesh, node: Node, text: str) -> tuple[Peer, ...]:
    """Peers from `netbird status --json`; a member that is not connected has neither path nor endpoint."""
    answer = fields(text)
    # by key, not by name: a node that joined before leaves its name behind
    entries = {str(entry.get("publicKey")): entry for entry in _details(answer.get("peers"))}
    transports = {
        str(one.get("uri")): str(one["transport"])
        for one in _details(answer.get("relays"))
        if one.get("transport")
    }
    return tuple(
        _peer(mesh, peer, entries.get(str(mesh.published_by(peer.name, "node-key"))), transports)
        for peer in mesh.peers(node)
    )


def _ways(text: str, key: str) -> Ways:
    entries = {str(entry.get("publicKey")): entry for entry in _details(fields(text).get("peers"))}
    ends = entries.get(key, {}).get("iceCandidateEndpoint")
    remote = str(ends.get("remote") or "") if isinstance(ends, dict) else ""
    relay = str(entries.get(key, {}).get("relayAddress") or "")
    return Ways("netbird status --json", (remote,) if remote else (), remote or relay)


def _details(section: object) -> Sequence[Mapping[str, object]]:
    return records(section.get("details")) if isinstance(section, dict) else []


def _peer(mesh: Mesh, peer: Node, entry: Mapping[str, object] | None, transports: Mapping[str, str]) -> Peer:
    """What is said of a peer; `transports` are those of the relays, by their addresses."""
    if entry is None or entry.get("status") != "Connected":
        return Peer(peer.name, None, None)
    kinds, ends = entry.get("iceCandidateType"), entry.get("iceCandidateEndpoint")
    kinds = kinds if isinstance(kinds, dict) else {}
    ends = ends if isinstance(ends, dict) else {}
    local, remote = (mesh.endpoint(str(ends.get(end) or "")) for end in ("local", "remote"))
    if kinds.get("local") == "relay":
        # an address of our own at the TURN server: that is where packets go first
        return Peer(peer.name, Path.RELAY, local, via="TURN")
    at_relay = mesh.addresses(mesh.testbed.relay)
    if kinds.get("remote") == "relay" or (remote in at_relay and remote not in mesh.addresses(peer)):
        return Peer(peer.name, Path.RELAY, remote, via="TURN")
    if entry.get("connectionType") == "Relayed":
        url = str(entry.get("relayAddress") or "")
        via = f"{url} ({transports[url]})" if url in transports else url or "relay"
        return Peer(peer.name, Path.RELAY, mesh.endpoint(url.partition("://")[2]), via=via)
    return Peer(peer.name, Path.DIRECT if remote else None, remote)


def _netbird(*words: str) -> tuple[str, ...]:
    return ("netbird", *words, "--daemon-addr", SOCKET)


def _nftables() -> Fact[Plan]:
    """Ensure a chain that makes NetBird take nftables rather than iptables.

    It chooses by what it finds on the node, that is, by which scenario was there before
    (client/firewall/create_linux.go); a study wants the same every time.
    """
    hook = "{ type filter hook input priority filter; policy accept; }"
    steps = (
        Command(("nft", "add", "table", "ip", "filter")),
        Command(("nft", f"add chain ip filter INPUT {hook}")),
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        # 127: a node without nft has only iptables
        return Plan(steps, "+ip filter INPUT") if completed[0].exit_code == 1 else Plan()

    return Fact((Command(("nft", "list", "chain", "ip", "filter", "INPUT"), ok=(0, 1, 127)),), plan)


def _joined(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that the daemon is connected to our management under the node's name."""
    question = Command(_netbird("status", "--json"), ok=(0, 1))

    def plan(completed: Sequence[Completed]) -> Plan:
        state = str(fields(completed[0].stdout).get("daemonStatus", "not known"))
        if state == "Connected":
            return Plan()
        return Plan(_join_steps(mesh, node), unified_diff("netbird", state, "Connected"))

    return Fact((question,), plan)


def _read_self() -> Fact[dict[str, Text]]:
    def parse(completed: Sequence[Completed]) -> dict[str, Text]:
        return {"node-key": field_of(completed[0].stdout, "publicKey")}

    return Fact((Command(_netbird("status", "--json")),), parse)


def _join_steps(mesh: Mesh, node: Node) -> tuple[Command | WriteFile, ...]:
    control = mesh.testbed.control_plane
    url = f"http://{written(mesh.known_as(control), server.MANAGEMENT_PORT)}"
    key = f"{CLIENT}/setup-key"
    listed = ",".join(mesh.blacklisted(node)) or "none"
    up = _netbird(
        *(
            "up",
            "--management-url",
            url,
            "--admin-url",
            url,
            "--setup-key-file",
            key,
            "--hostname",
            node.name,
        ),
        *("--disable-dns", "--disable-client-routes", "--disable-server-routes", "--disable-ipv6"),
        *("--extra-iface-blacklist", listed, "--network-monitor=false"),
        *("--interface-name", INTERFACE, "--wireguard-port", str(PORT), "--mtu", str(mesh.tunnel_mtu)),
    )
    return (
        WriteFile(key, mesh.published_by(control.name, "setup-key")),
        Command(_netbird("down"), ok=(0, 1)),
        Command(
            ("sh", "-c", _CONNECT, f"{RUN_DIRECTORY}/netbird.log", f"{JOIN_S:.0f}", *up),
            timeout_s=JOIN_S + 5,
        ),
        Command(("rm", "-f", key)),
        WriteFile(f"{CLIENT}/blacklist", listed),
    )


SOLUTION = NetBird()
