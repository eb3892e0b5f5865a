"""Netmaker 1.4, direct or through a gateway on the relay node (paper, section 3.2.5, which left it out).

The server decides every endpoint: `netclient` only takes the peers that it is sent, as WireGuard's. Auto-relay and
fail-over are in Netmaker's `pro` folder under another licence; the community edition relays for the nodes that are
named, whether a direct path would work or not. `netclient` keeps its files in /etc/netclient and cannot be told
otherwise, so it runs with an /etc of its own. Sources: cmd/, daemon/ and wireguard/ of netclient 1.4.0.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from vpnmesh.errors import CheckError
from vpnmesh.host import leftovers, tls
from vpnmesh.host.foreign import Foreign
from vpnmesh.host.links import WIREGUARD, endpoint_address
from vpnmesh.host.service import Service, content, removed, running, until
from vpnmesh.model import Node, Path, Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, reveal, unified_diff
from vpnmesh.solutions import netmaker_control as server
from vpnmesh.solutions.protocol import (
    STATE_DIRECTORY,
    Binary,
    Mesh,
    MeshRole,
    Peer,
    Solution,
    Stage,
    Status,
    checksum,
)
from vpnmesh.solutions.stack import Stack

INTERFACE = "netmaker"
PORT = 51821
CLIENT = f"{STATE_DIRECTORY}/netclient"
JOIN_S = 60.0
RULES = r"NETMAKER|netmaker"
"""What netclient's packet filter rules have in common: names of chains, interface, comments."""

# netclient makes /etc/netclient and a test interface whatever it is asked, its version too
_VERSION = """
mount -t tmpfs tmpfs /etc; mount -t tmpfs tmpfs /tmp; netclient version 2> /dev/null | tail -n 1
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

    def stack(self, _scenario: Scenario, /) -> Stack:
        """WireGuard over UDP on both paths; which size netclient's sockets have was not looked up."""
        return Stack(single_packets=True)

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """Broker before the server, which ends without one; the gateway before the daemons.

        A daemon reads everything once when it starts. What changes later comes through the broker, and is thrown away
        on a node without a default route (`HostPeerUpdate` in functions/mqhandlers.go), as those of the lab are.
        """
        control = (mesh.testbed.control_plane.name,)
        clients = tuple(node.name for node in server.participants(mesh))
        relayed = mesh.scenario.path is Path.RELAY
        gateway = Stage("gateway", control, lambda mesh, _node: server.gateway(mesh))
        return (
            Stage(
                "certificate",
                control,
                lambda _mesh, node: server.certificate(node),
                lambda _mesh, _node: tls.read_certificate(server.SERVER),
            ),
            Stage("secrets", control, lambda _mesh, _node: server.secrets()),
            Stage("broker", control, server.broker),
            Stage("server", control, lambda mesh, _node: server.server(mesh)),
            Stage("https", control, server.https),
            Stage("network", control, lambda mesh, _node: server.network(mesh)),
            Stage(
                "enrollment keys",
                control,
                lambda mesh, _node: server.enrollment_keys(mesh),
                lambda mesh, _node: server.read_enrollment_keys(mesh),
            ),
            Stage("enrollment", clients, _registered),
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
            find=(leftovers.find(RULES),),
            cleanup=(
                leftovers.remove(RULES),
                Command(("sh", "-c", _FORWARD_AS_BEFORE, "sh", CLIENT)),
            ),
        )

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
        "NO_PROXY": f"127.0.0.1,{mesh.testbed.control_plane.underlay}",
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
        endpoint = endpoint_address(ends.get(key, ""))
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


def _registered(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that the client knows our server, which then makes it a node of the network."""
    control = mesh.testbed.control_plane.name
    known = f"{CLIENT}/etc/netclient/servers.json"
    token = f"{CLIENT}/token"
    register = (
        *("netclient", "register", "-o", node.name, "-e", str(node.underlay), "-i"),
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

    return Fact((Command(("test", "-s", known), ok=(0, 1)),), plan)


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
