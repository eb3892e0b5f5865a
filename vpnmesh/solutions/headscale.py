"""Headscale 0.29 with Tailscale 1.98 clients and one DERP relay of our own (paper, section 3.2.2).

Headscale runs on the control-plane node, derper on the relay node, tailscaled on the members. Tailscale's own
relays are in no map, so nothing can leave the testbed. `headscale-relay` also tells the clients to use DERP
only, since a scenario must not hang on how fast a blocked path is noticed; the convergence test lets them
find out by themselves. The policy lies in Headscale's database and is replaced while it runs.
Sources: config-example.yaml and derp-example.yaml of Headscale 0.29, `tailscaled -help`, ipnstate.PeerStatus.
"""

import hashlib
import json
import ssl
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import yaml

from vpnmesh.errors import CheckError
from vpnmesh.host import leftovers, tls
from vpnmesh.host.files import printed
from vpnmesh.host.links import endpoint_address
from vpnmesh.host.pods import PORT as VXLAN_PORT
from vpnmesh.host.rest import field_of, fields, records
from vpnmesh.host.service import RUN_DIRECTORY, Service, content, made, removed, running, until
from vpnmesh.model import Node, Path
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, unified_diff
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Binary, Mesh, MeshRole, Peer, Solution, Stage, Status

INTERFACE = "tailscale0"
PORT = 41641
CONTROL_PORT = 443
REGION, REGION_CODE = 900, "vpnmesh"
RANGE = "100.64.0.0/24"
"""The members' addresses: Tailscale clients take none outside 100.64.0.0/10."""
BASE_DOMAIN = "vpnmesh.internal"
"""Of the members' names, which nobody resolves: not the testbed's name, which may be any text."""
USER = "mesh"

SERVER = f"{STATE_DIRECTORY}/headscale"
SERVER_CONFIG = f"{SERVER}/config.yaml"
AUTH_KEY = f"{SERVER}/authkey"
DERP = f"{STATE_DIRECTORY}/derper"
CLIENT = f"{STATE_DIRECTORY}/tailscale"
SOCKET = f"{RUN_DIRECTORY}/tailscaled.sock"
JOIN_S = 40.0
FIREWALL = "nftables"
"""Left to itself tailscaled chooses by what it finds, that is, by which scenario was there before."""
RULES = r"(^|[[:space:]])ts-|0x0000ff00"
"""What Tailscale's own rules have in common: chains and connection marks."""

# constant script: configuration, user, where to put the key; the key is shown once and never on a command line
_MAKE_KEY = """
umask 077
headscale -c "$1" users create "$2" -o json > /dev/null
headscale -c "$1" preauthkeys create -u 1 --reusable -e 24h -o json > "$3.new" && mv "$3.new" "$3"
"""

# what a tailscaled that was killed leaves in the routing policy: its four rules and its table
_UNROUTE = """
for pref in 5210 5230 5250 5270; do ip rule del pref $pref; ip -6 rule del pref $pref; done
ip route flush table 52; ip -6 route flush table 52
"""


class Headscale(Solution):
    """Headscale, Tailscale clients and one DERP server, direct or relayed over TCP 443."""

    name = "headscale"
    binaries = (
        Binary("tailscaled", version=("tailscaled", "--version")),
        Binary("tailscale", version=("tailscale", "version")),
        Binary("headscale", version=("headscale", "version"), at=MeshRole.CONTROL),
        Binary("openssl", "openssl", at=MeshRole.CONTROL),
        Binary("derper", version=("derper", "--version"), at=MeshRole.RELAY),
    )
    processes = ("tailscaled", "headscale", "derper")
    interfaces = (INTERFACE,)
    # Tailscale's and Headscale's keys for joining, Tailscale's private keys
    secret_shapes = (r"\b(?:ts|hs)key-[\w-]{8,}", r"\bprivkey:[0-9a-f]{16,}")
    colour, marker = "#3b7dd8", "s"
    options = MappingProxyType({"access": ("coarse", "granular")})
    fallback_s = 60.0

    def stages(self, mesh: Mesh, /) -> tuple[Stage, ...]:
        """The relay first, because the server hands out its certificate; then server, policy, clients."""
        relay = (mesh.testbed.relay.name,)
        control = (mesh.testbed.control_plane.name,)
        members = tuple(node.name for node in mesh.members)
        return (
            Stage("relay", relay, _derper, _certificate),
            Stage("certificate", control, _tls, lambda _mesh, _node: tls.read_certificate(SERVER)),
            Stage("server", control, _server),
            Stage("key", control, lambda _mesh, _node: _key(), lambda _mesh, _node: _read_key()),
            Stage("policy", control, lambda mesh, _node: _policy_set(mesh)),
            Stage("daemons", members, lambda mesh, _node: running(daemon(mesh), mesh.scenario)),
            Stage("members", members, _joined, lambda _mesh, _node: _read_self()),
        )

    def leave(self, _mesh: Mesh, _node: Node, /) -> Fact[Plan]:
        """Stop what runs here, let tailscaled take its rules and routes back, remove keys and state."""
        unroute = Command(("sh", "-c", f"({_UNROUTE}) 2> /dev/null; true"))
        return removed(
            ("tailscaled", "derper", "headscale"),
            (CLIENT, DERP, SERVER, SOCKET),
            interfaces=(INTERFACE,),
            find=(leftovers.find(RULES), Command(("ip", "rule", "show", "pref", "5270"))),
            cleanup=(unroute, leftovers.remove(RULES)),
        )

    def status(self, mesh: Mesh, node: Node, /) -> Fact[Status]:
        """`tailscale status --json`: a current address means direct, none and traffic means through DERP."""
        question = Command(
            ("tailscale", f"--socket={SOCKET}", "status", "--json"), ok=(0, 1, 127), timeout_s=5
        )
        return self.reported(Fact((question,), lambda found: parse_status(mesh, node, found[0].stdout)))


def server_config(node: Node) -> dict[str, object]:
    """Headscale's config.yaml: no relay, no name server and no address outside the testbed."""
    return {
        "server_url": f"https://{node.underlay}:{CONTROL_PORT}",
        "listen_addr": f"{node.underlay}:{CONTROL_PORT}",
        "tls_cert_path": f"{SERVER}/tls.crt",
        "tls_key_path": f"{SERVER}/tls.key",
        "metrics_listen_addr": "",
        "grpc_listen_addr": "127.0.0.1:50443",
        "noise": {"private_key_path": f"{SERVER}/noise.key"},
        "prefixes": {"v4": RANGE, "allocation": "sequential"},
        "derp": {
            "server": {"enabled": False},
            "urls": [],
            "paths": [f"{SERVER}/derp.yaml"],
            "auto_update_enabled": False,
        },
        "database": {"type": "sqlite", "sqlite": {"path": f"{SERVER}/db.sqlite"}},
        "policy": {"mode": "database"},
        "dns": {
            "magic_dns": False,
            "override_local_dns": False,
            "base_domain": BASE_DOMAIN,
        },
        "unix_socket": f"{SERVER}/headscale.sock",
        "unix_socket_permission": "0700",
        "disable_check_updates": True,
        "log": {"level": "info", "format": "text"},
    }


def derp_map(mesh: Mesh) -> dict[str, object]:
    """The one relay that clients may know; its self-signed certificate is pinned by fingerprint."""
    relay = mesh.testbed.relay
    node = {
        "name": f"{REGION}a",
        "regionid": REGION,
        "hostname": str(relay.underlay),
        "ipv4": str(relay.underlay),
        "ipv6": "none",
        "stunport": 3478,
        "derpport": 443,
        "certname": f"sha256-raw:{mesh.published_by(relay.name, 'fingerprint')}",
    }
    region = {"regionid": REGION, "regioncode": REGION_CODE, "regionname": REGION_CODE, "nodes": [node]}
    return {"regions": {REGION: region}}


def policy(mesh: Mesh) -> dict[str, object]:
    """Who may reach whom: everyone everything (coarse), or members only what a cluster needs (granular)."""
    if mesh.scenario.options.get("access") != "granular":
        return {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
    who = f"{USER}@"
    return {
        "acls": [
            {"action": "accept", "proto": "udp", "src": [who], "dst": [f"{who}:{VXLAN_PORT}"]},
            {"action": "accept", "proto": "tcp", "src": [who], "dst": [f"{who}:6443,10250"]},
            {"action": "accept", "proto": "icmp", "src": [who], "dst": [f"{who}:*"]},
        ]
    }


def daemon(mesh: Mesh) -> Service:
    """The client's daemon; relay scenarios make it use DERP whatever else would work."""
    certificate = WriteFile(
        f"{CLIENT}/control.crt", mesh.published_by(mesh.testbed.control_plane.name, "certificate")
    )
    environment = {
        "TS_DEBUG_MTU": str(mesh.tunnel_mtu),
        "TS_DEBUG_FIREWALL_MODE": FIREWALL,
        "SSL_CERT_FILE": certificate.path,
    }
    if mesh.scenario.path is Path.RELAY:
        environment["TS_DEBUG_ALWAYS_USE_DERP"] = "true"
    argv = (
        *("tailscaled", "--no-logs-no-support", f"--statedir={CLIENT}", f"--state={CLIENT}/state"),
        *(f"--socket={SOCKET}", f"--tun={INTERFACE}", f"--port={PORT}"),
    )
    ready = until("test", "-S", SOCKET, deadline_s=10)
    return Service("tailscaled", argv, (certificate,), environment, ready)


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
        return Peer(peer.name, None, None)
    if current := str(entry.get("CurAddr") or ""):
        endpoint = endpoint_address(current)
        # over IPv6 nothing here can tell a VLAN from the management network: no path that a scenario has
        return Peer(peer.name, Path.DIRECT if endpoint else None, endpoint, via="" if endpoint else current)
    if through := str(entry.get("PeerRelay") or ""):
        # a member that relays over UDP is neither the direct path nor the relay of any scenario here
        return Peer(peer.name, None, endpoint_address(through), via="peer relay")
    # the home relay is always named; only a peer with recent traffic and no address is really reached through it
    if entry.get("Relay") and entry.get("Active"):
        # our map has that one region, and the region that one address
        ours = mesh.testbed.relay.underlay if entry["Relay"] == REGION_CODE else None
        return Peer(peer.name, Path.RELAY, ours, via=f"DERP {entry['Relay']}")
    return Peer(peer.name, None, None)


def _derper(mesh: Mesh, node: Node) -> Fact[Plan]:
    argv = (
        *("derper", "-a", ":443", "-http-port", "-1", "-certmode", "manual", "-certdir", DERP),
        *("-hostname", str(node.underlay), "-c", f"{DERP}/derper.key"),
    )
    certificate = f"{DERP}/{node.underlay}.crt"
    folder = WriteFile(f"{DERP}/README", "certificate and key of this run's relay\n")
    ready = until("test", "-s", certificate, deadline_s=10)
    return running(Service("derper", argv, (folder,), ready=ready), mesh.scenario)


def _certificate(_mesh: Mesh, node: Node) -> Fact[dict[str, Text]]:
    question = Command(("cat", f"{DERP}/{node.underlay}.crt"))
    return Fact((question,), lambda completed: {"fingerprint": fingerprint(content(completed[0]))})


def fingerprint(certificate: str) -> str:
    """What a DERP map pins: the SHA-256 of a certificate's DER bytes, in hexadecimal; CheckError if it is none."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    except ValueError as error:
        raise CheckError("provision", f"the relay's certificate: {error}") from error


def _tls(_mesh: Mesh, node: Node) -> Fact[Plan]:
    """TLS, because a client that lost a plain HTTP connection insists on port 443 for the next two minutes."""
    return tls.certificate(SERVER, node.underlay)


def _server(mesh: Mesh, node: Node) -> Fact[Plan]:
    files = (
        WriteFile(f"{SERVER}/derp.yaml", yaml.safe_dump(derp_map(mesh), sort_keys=False)),
        WriteFile(SERVER_CONFIG, yaml.safe_dump(server_config(node), sort_keys=False)),
    )
    ready = until("headscale", "-c", SERVER_CONFIG, "users", "list", deadline_s=20)
    service = Service("headscale", ("headscale", "serve", "-c", SERVER_CONFIG), files, ready=ready)
    return running(service, mesh.scenario)


def _key() -> Fact[Plan]:
    script = Command(("sh", "-ec", _MAKE_KEY, "sh", SERVER_CONFIG, USER, AUTH_KEY))
    return made(AUTH_KEY, script, "<a new key>")


def _read_key() -> Fact[dict[str, Text]]:
    question = Command(("cat", AUTH_KEY))
    return Fact((question,), lambda completed: {"auth-key": Secret(field_of(completed[0].stdout, "key"))})


def _policy_set(mesh: Mesh) -> Fact[Plan]:
    """Ensure that Headscale's database holds the policy; it tells the clients at once, nothing restarts."""
    wanted = json.dumps(policy(mesh), indent=2)
    path = f"{SERVER}/policy.json"
    tool = ("headscale", "-c", SERVER_CONFIG, "policy")

    def plan(completed: Sequence[Completed]) -> Plan:
        held = printed(completed[0])
        try:
            same = json.loads(held) == json.loads(wanted)
        except json.JSONDecodeError:
            same = False
        if same:
            return Plan()
        return Plan(
            (WriteFile(path, wanted), Command((*tool, "set", "-f", path))), unified_diff(path, held, wanted)
        )

    return Fact((Command((*tool, "get"), ok=(0, 1)),), plan)


def _read_self() -> Fact[dict[str, Text]]:
    question = Command(("tailscale", f"--socket={SOCKET}", "status", "--json", "--peers=false"))

    def parse(completed: Sequence[Completed]) -> dict[str, Text]:
        return {"node-key": field_of(completed[0].stdout, "Self", "PublicKey")}

    return Fact((question,), parse)


def _joined(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that the daemon is logged in at our server under the node's name."""
    control = mesh.testbed.control_plane
    key = f"{CLIENT}/authkey"
    tool = ("tailscale", f"--socket={SOCKET}")
    up = (
        *(*tool, "up", f"--login-server=https://{control.underlay}:{CONTROL_PORT}", f"--auth-key=file:{key}"),
        *(
            "--accept-dns=false",
            "--accept-routes=false",
            f"--hostname={node.name}",
            f"--timeout={JOIN_S:.0f}s",
        ),
    )
    steps = (
        WriteFile(key, mesh.published_by(control.name, "auth-key")),
        Command(up, timeout_s=JOIN_S + 5),
        Command(("rm", "-f", key)),
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        state = str(fields(completed[0].stdout).get("BackendState", "not known"))
        return Plan() if state == "Running" else Plan(steps, unified_diff("tailscale", state, "Running"))

    return Fact((Command((*tool, "status", "--json"), ok=(0, 1)),), plan)


SOLUTION = Headscale()
