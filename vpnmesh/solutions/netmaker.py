"""Netmaker 1.4, direct or through a gateway on the relay node (paper, section 3.2.5, which left it out).

The server decides every endpoint: `netclient` only takes the peers that it is sent, as WireGuard's. Auto-relay and
fail-over are in Netmaker's `pro` folder under another licence; the community edition relays for the nodes that are
named, whether a direct path would work or not. `netclient` keeps its files in /etc/netclient and cannot be told
otherwise, so it runs with an /etc of its own. Sources: cmd/, daemon/ and wireguard/ of netclient 1.4.0.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from types import MappingProxyType

from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.firewall.policy import Protocol
from vpnmesh.host import leftovers, tls
from vpnmesh.host.dual_stack import Family, gateway_of
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.links import WIREGUARD, endpoint_address
from vpnmesh.host.service import Service, content, removed, running, until
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, reveal, unified_diff
from vpnmesh.solutions import netmaker_access as running_server
from vpnmesh.solutions import netmaker_control as server
from vpnmesh.solutions.control import Access, Gateway
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
from vpnmesh.solutions.stack import Stack
from vpnmesh.solutions.ways import Listener

INTERFACE = "netmaker"
PORT = 51821
CLIENT = f"{STATE_DIRECTORY}/netclient"
KNOWN = f"{CLIENT}/etc/netclient/servers.json"
"""Where netclient keeps the servers that it is registered with."""
JOIN_S = 60.0
ENROLLMENT = "enrollment"
OWN_TABLE, OWN_METRIC = "111", "4278"
"""netclient's own routing table, which nothing leads to until it is told to, and the metric of our route there."""
RULES = r"NETMAKER|netmaker"
"""What netclient's packet filter rules have in common: names of chains, interface, comments."""

# netclient makes /etc/netclient and a test interface whatever it is asked, its version too, and ends without telling it
# where no interface has a hardware address, or nobody is user 0
_VERSION = """
ip link add vmversion0 type veth peer name vmversion1 2> /dev/null || :
mount -t tmpfs tmpfs /tmp; cp /etc/passwd /tmp; mount -t tmpfs tmpfs /etc; cp /tmp/passwd /etc
netclient version 2> /dev/null | tail -n 1
"""
# an /etc of its own: netclient's files, and what it reads of the machine's. Forwarding is written down as it was found
_APART = """
state="$1"; shift
umask 077; mkdir -p "$state/etc/netclient" "$state/tmp"
for f in hosts resolv.conf nsswitch.conf passwd group os-release; do
  cp -L "/etc/$f" "$state/etc/" 2> /dev/null || :
done
cp -a /etc/alternatives "$state/etc/" 2> /dev/null || :
v4=/proc/sys/net/ipv4/ip_forward v6=/proc/sys/net/ipv6/conf/all/forwarding
for f in $v4 $v6; do
  [ -e "$state/${f##*/}" ] || cat "$f" > "$state/${f##*/}" 2> /dev/null || :
done
mount --bind "$state/etc" /etc
exec "$@"
"""
_FORWARD_AS_BEFORE = """
v4=/proc/sys/net/ipv4/ip_forward v6=/proc/sys/net/ipv6/conf/all/forwarding
for f in $v4 $v6; do if [ -s "$1/${f##*/}" ]; then cat "$1/${f##*/}" > "$f" || :; fi; done
"""
# it ends with 0 whatever came of it; the token is used up by this very call
_REGISTER = """
token="$0"
said=$(timeout "$@" -t "$(cat "$token")" 2>&1) || :
rm -f "$token"
case "$said" in *"registered with server"*) exit 0 ;; esac
printf '%s\\n' "$said" | grep -vF -e token | tail -n 3 | cut -c1-300 >&2
exit 1
"""
# it takes no change of peers on a node without a default route, and looks into its own table first
_HAS_WAY_OUT = (
    "ip -4 route show default; ip -6 route show default;"
    ' for f in -4 -6; do ip "$f" route show table "$1" 2> /dev/null; done; true'
)
_KNOWN = '[ -s "$1" ] && echo "$2" || echo "$3"'
# one interface for three seconds: what would make the daemon build it anew comes as soon as it knows the broker
_STEADY = """
index=$(cat "/sys/class/net/$1/ifindex") i=0
while [ $i -lt 15 ]; do
  [ "$(cat "/sys/class/net/$1/ifindex")" = "$index" ] || exit 1
  ip -4 address show dev "$1" | grep -q inet || exit 1
  sleep 0.2; i=$((i+1))
done
"""
# where the machine is slow, the address may come later than that
_SOON = """
i=0; until said=$("$@" 2> /dev/null) && [ -n "$said" ] || [ $i -ge 50 ]; do sleep 0.2; i=$((i+1)); done
"$@"
"""


class Netmaker(Solution):
    """Netmaker's community edition, direct or through its gateway."""

    name = "netmaker"
    binaries = (
        Binary("netclient", version=("unshare", "-m", "-n", "sh", "-ec", _VERSION)),
        Binary("wg", "wireguard-tools"),
        Binary("iptables", "iptables"),
        Binary("netmaker", version=checksum("netmaker"), at=MeshRole.CONTROL),
        Binary("mosquitto", "mosquitto", at=MeshRole.CONTROL),
        Binary("mosquitto_passwd", "mosquitto", at=MeshRole.CONTROL),
        Binary("socat", "socat", at=MeshRole.CONTROL),
        Binary("openssl", "openssl", at=MeshRole.CONTROL),
        Binary("curl", "curl", at=MeshRole.CONTROL),
        Binary("netclient", at=MeshRole.RELAY),
    )
    processes = ("netclient", "netmaker", "mosquitto")
    interfaces = (INTERFACE,)
    foreign: Foreign = Foreign("Netmaker", ("netclient",), stop="systemctl disable --now netclient")
    kernel_links = (WIREGUARD,)
    host_folders = ("/etc/netclient", "/etc/mosquitto")
    colour, marker = "#b04a92", "v"
    lacks = MappingProxyType(
        {
            "nat-traversal": "endpoints are static here: netclient 1.4.0 asks icanhazip.com, ifconfig.me and"
            " myexternalip.com for its address before it asks any STUN server, one of our own as well"
        }
    )

    def unbuildable_reason(self, mesh: Mesh, /) -> str:
        """The server tells every client one address of its interface and one of its broker."""
        try:
            mesh.server(mesh.testbed.control_plane, *server.participants(mesh))
        except UnavailableError as error:
            return f"Netmaker tells all clients one address of its server and broker: {error}"
        return ""

    def stack(self, _scenario: Scenario, /) -> Stack:
        """WireGuard over UDP on both paths; which size netclient's sockets have was not looked up."""
        return Stack(single_packets=True)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Broker before the server, which ends without one; the gateway before the daemons.

        A daemon reads everything once when it starts. What changes later comes through the broker, and is thrown away
        on a node without a default route (`HostPeerUpdate` in functions/mqhandlers.go), as those of the lab are: such
        a node gets one in netclient's own table, by which no packet goes.
        """
        control = (mesh.testbed.control_plane.name,)
        clients = tuple(node.name for node in server.participants(mesh))
        relayed = mesh.scenario.path is Path.RELAY
        gateway = Stage("gateway", control, lambda mesh, _node: server.gateway(mesh))
        return (
            Stage(
                "certificate",
                control,
                server.certificate,
                lambda _mesh, _node: tls.read_certificate(server.SERVER),
            ),
            Stage("secrets", control, lambda _mesh, _node: server.secrets()),
            Stage("broker", control, lambda mesh, _node: server.broker(mesh)),
            Stage("server", control, lambda mesh, _node: server.server(mesh)),
            Stage("https", control, lambda mesh, _node: server.https(mesh)),
            Stage("network", control, lambda mesh, _node: server.network(mesh)),
            Stage("way out", clients, _way_out, lambda _mesh, _node: _read_registered()),
            Stage(
                "enrollment keys",
                control,
                lambda mesh, _node: server.enrollment_keys(mesh),
                lambda mesh, _node: server.read_enrollment_keys(mesh),
            ),
            Stage(ENROLLMENT, clients, _registered),
            Stage("nodes", control, lambda mesh, _node: server.nodes(mesh)),
            *((gateway,) if relayed else ()),
            Stage(
                "daemons",
                clients,
                lambda mesh, _node: running(daemon(mesh), mesh.scenario),
                lambda _mesh, _node: _read_self(),
            ),
        )

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Stop what runs here; remove its rules, keys and state, and forward packets as before."""
        pid, socket = "/run/netclient.pid", f"/run/wireguard/{INTERFACE}.sock"
        return removed(
            ("netclient", *server.SERVICES),
            (CLIENT, server.SERVER, pid, socket),
            interfaces=(INTERFACE,),
            strangers=self.foreign.processes,
            find=(
                leftovers.find(RULES),
                *_own_routes("show", ok=(0, 2, 127)),
            ),
            cleanup=(
                leftovers.remove(RULES),
                *_own_routes("delete", "default", ok=(0, 2)),
                Command(("sh", "-c", _FORWARD_AS_BEFORE, "sh", CLIENT)),
            ),
        )

    def refusal(self, mesh: Mesh, member: str, /) -> Refusal:
        """An enrollment key that the server is told to forget; its place is that member's own."""
        control = (mesh.testbed.control_plane.name,)
        made = Stage("refused key", control, lambda _mesh, _node: running_server.refused_key(member))
        taken = Stage(
            "key taken back",
            control,
            lambda _mesh, _node: running_server.taken_back(),
            lambda _mesh, _node: running_server.read_refused_key(member),
        )
        return Refusal(server.token_of(member), (made, taken), joins=ENROLLMENT)

    def access(self, mesh: Mesh, access: Access | None, /) -> tuple[Stage, ...]:
        """Policies of the server, which tells members their peers; the community edition has none of one direction."""
        control = (mesh.testbed.control_plane.name,)
        return (
            Stage("owner", control, lambda _mesh, _node: running_server.owner()),
            Stage("policies", control, lambda _mesh, _node: running_server.policies(access)),
        )

    def gateway(self, mesh: Mesh, gateway: Gateway, /) -> tuple[Stage, ...]:
        """An egress of the network by that member, which all others are told of."""
        control = (mesh.testbed.control_plane.name,)
        return (Stage("egress", control, lambda _mesh, _node: running_server.egress(gateway)),)

    def data_port(self, _mesh: Mesh, /) -> int:
        """The client's `-p`."""
        return PORT

    def listeners(self, mesh: Mesh, /) -> tuple[Listener, ...]:
        """The server's interface and its broker; the gateway is a client like any other, and answers no probe."""
        control, relay = mesh.testbed.control_plane.name, mesh.testbed.relay.name
        gateway = Listener("Netmaker gateway", relay, Protocol.UDP, PORT, relays=True)
        return (
            *((gateway,) if mesh.scenario.path is Path.RELAY else ()),
            Listener("Netmaker server", control, Protocol.TCP, server.TLS_PORT),
            Listener("Netmaker broker", control, Protocol.TCP, server.BROKER_TLS_PORT),
        )

    def identity(self, _mesh: Mesh, _node: Node, /) -> Fact[dict[str, Text]]:
        """The client's public key, and the address that the server chose."""
        return _read_self()

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """WireGuard's own tables: whose key a member's address belongs to, and where that key's packets go."""
        shows = ("allowed-ips", "endpoints", "latest-handshakes")
        questions = tuple(Command(("wg", "show", INTERFACE, show), ok=(0, 1)) for show in shows)
        return self.reported(Fact(questions, lambda found: parse_peers(mesh, node, *map(_table, found))))


def client_environment(mesh: Mesh) -> dict[str, str]:
    """What every call of netclient needs: our certificate, and nowhere else to go than to our server."""
    return {
        "SSL_CERT_FILE": f"{CLIENT}/server.crt",
        "TMPDIR": f"{CLIENT}/tmp",  # noqa: S108 - a folder of ours
        "HTTP_PROXY": server.CLOSED,
        "HTTPS_PROXY": server.CLOSED,
        "NO_PROXY": f"127.0.0.1,{mesh.server(mesh.testbed.control_plane)}",
    }


def daemon(mesh: Mesh) -> Service:
    """The client's daemon; ready when its interface has an address and keeps it."""
    trusted = WriteFile(
        f"{CLIENT}/server.crt", mesh.published_by(mesh.testbed.control_plane.name, "certificate")
    )
    ready = until("sh", "-c", _STEADY, "sh", INTERFACE, deadline_s=JOIN_S)
    return Service("netclient", _apart("netclient", "daemon"), (trusted,), client_environment(mesh), ready)


def parse_peers(
    mesh: Mesh, node: Node, allowed: Mapping[str, str], ends: Mapping[str, str], seen: Mapping[str, str]
) -> tuple[Peer, ...]:
    """Peers from `wg show`: direct by the member's own key, relayed by the relay's."""

    def peer_of(peer: Node) -> Peer:
        address = endpoint_address(reveal(mesh.published.get((peer.name, "address"), "")))
        key = _carrier(address, allowed) if address else ""
        endpoint = mesh.endpoint(ends.get(key, ""))
        if not key or endpoint is None or seen.get(key, "0") == "0":
            return Peer(peer.name, None, None)
        if key == reveal(mesh.published.get((peer.name, "node-key"), "")):
            return Peer(peer.name, Path.DIRECT, endpoint)
        return Peer(peer.name, Path.RELAY, endpoint, via=key)

    return tuple(peer_of(peer) for peer in mesh.peers(node))


def _carrier(address: IPv4Address, allowed: Mapping[str, str]) -> str:
    """The key to which WireGuard sends packets for that address: of the longest prefix."""
    found = [
        (network.prefixlen, key)
        for key, words in allowed.items()
        for network in map(IPv4Network, (word for word in words.split() if "." in word))
        if address in network
    ]
    return max(found, default=(0, ""))[1]


def _table(completed: Completed) -> dict[str, str]:
    """`wg show` prints a key, a tab and a value per line."""
    rows = (line.split("\t", 1) for line in completed.stdout.splitlines() if completed.exit_code == 0)
    return {row[0]: row[1] for row in rows if len(row) == 2}  # noqa: PLR2004 - key and value


def _apart(*argv: str) -> tuple[str, ...]:
    return ("unshare", "-m", "sh", "-ec", _APART, "sh", CLIENT, *argv)


_OWN_ROUTE = ("table", OWN_TABLE, "metric", OWN_METRIC)


def _own_routes(*words: str, ok: tuple[int, ...]) -> tuple[Command, ...]:
    """What `ip route` is to do with our route, in either family."""
    return tuple(
        Command(("ip", f"-{family.value}", "route", *words, *_OWN_ROUTE), ok=ok) for family in Family
    )


def _way_out(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that netclient finds a default route; in its own table where there is none, so that packets take none."""
    by_ipv4 = Family.IPV4 in mesh.families_of(node)
    vid = node.leg.vid
    gateway = mesh.testbed.vlan(vid).gateway if by_ipv4 else gateway_of(mesh.testbed, vid)

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[0].exit_code == 0 and completed[0].stdout.strip():
            return Plan()
        add = Command(
            ("ip", f"-{gateway.version}", "route", "replace", "default", "via", str(gateway), *_OWN_ROUTE)
        )
        return Plan((add,), unified_diff(f"table {OWN_TABLE}", "", f"default via {gateway}"))

    return Fact((Command(("sh", "-c", _HAS_WAY_OUT, "sh", OWN_TABLE), ok=(0, 127)),), plan)


def _read_registered() -> Fact[dict[str, Text]]:
    """Whether the client is registered: one that is not needs a key that nobody has used."""
    question = Command(("sh", "-c", _KNOWN, "sh", KNOWN, server.YES, server.NO))

    def told(found: Sequence[Completed]) -> dict[str, Text]:
        word = content(found[0])
        if word not in (server.YES, server.NO):
            raise CheckError("provision", f"whether it is registered: {word[:40]!r}")
        return {server.REGISTERED: word}

    return Fact((question,), told)


def _endpoint(mesh: Mesh, node: Node) -> tuple[str, str]:
    """The address by which all others reach it, one alone: the server prefers IPv4 where a client has both."""
    address = mesh.server(node, *server.participants(mesh))
    return ("-E" if isinstance(address, IPv6Address) else "-e", str(address))


def _registered(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that the client knows our server, which then makes it a node of the network."""
    control = mesh.testbed.control_plane.name
    token = f"{CLIENT}/token"
    register = (
        *("netclient", "register", "-o", node.name, *_endpoint(mesh, node), "-i"),
        *("-p", str(PORT), "-j", "-m", str(mesh.tunnel_mtu), "-f", "iptables"),
    )
    pairs = tuple(f"{key}={value}" for key, value in sorted(client_environment(mesh).items()))
    call = ("env", *pairs, *_apart(*register))
    steps = (
        WriteFile(f"{CLIENT}/server.crt", mesh.published_by(control, "certificate")),
        WriteFile(token, mesh.published_by(control, f"token/{node.name}")),
        Command(("sh", "-c", _REGISTER, token, f"{JOIN_S:.0f}", *call), timeout_s=JOIN_S + 5),
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[0].exit_code == 0:
            return Plan()
        return Plan(steps, unified_diff("netclient", "", f"registered with {server.SERVER_NAME}"))

    return Fact((Command(("test", "-s", KNOWN), ok=(0, 1)),), plan)


def _read_self() -> Fact[dict[str, Text]]:
    """The client's public key and its address, which the server chose."""
    questions = (
        Command(("sh", "-c", _SOON, "sh", "wg", "show", INTERFACE, "public-key")),
        Command(("sh", "-c", _SOON, "sh", "ip", "-4", "-br", "address", "show", "dev", INTERFACE)),
    )

    def told(found: Sequence[Completed]) -> dict[str, Text]:
        words = (word.partition("/")[0] for word in content(found[1]).split() if "/" in word)
        address = next(filter(None, map(endpoint_address, words)), None)
        if address is None:
            raise CheckError("provision", f"{INTERFACE} has no address")
        return {"node-key": content(found[0]), "address": str(address)}

    return Fact(questions, told)


SOLUTION = Netmaker()
