"""NetBird 0.74 with management, signal and relays of our own (paper, section 3.2.3).

Management (with its embedded identity provider) and signal run on the control-plane node. The relay node runs
coturn in `netbird-relay`, as the paper did, and NetBird's own relay over TCP 443 otherwise. Everything is set up
through the REST interface, without a browser. Relay scenarios force the relay: `NB_ICE_FORCE_RELAY_CONN` with
coturn, `NB_FORCE_RELAY` with NetBird's own. Sources: infrastructure_files/ and shared/management/http/api of
NetBird 0.74, turnserver.conf(5) of coturn 4.6.
"""

import json
from collections.abc import Mapping, Sequence

from vpnmesh import tls
from vpnmesh.firewall import leftovers
from vpnmesh.model import Node, Path
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, reveal, unified_diff
from vpnmesh.pods import PORT as VXLAN_PORT
from vpnmesh.rest import Api, Json, answer, asked, field_of, fields, pretty, records
from vpnmesh.service import RUN_DIRECTORY, Service, content, made, removed, running, until
from vpnmesh.solutions.protocol import (
    STATE_DIRECTORY,
    Binary,
    Mesh,
    Peer,
    Seat,
    Stage,
    Status,
    endpoint_address,
    interface_fact,
)

INTERFACE = "wt0"
TABLE = "netbird"
RULES = r"NETBIRD|wt0|0x1bd[12]"
"""What NetBird's own iptables rules have in common: chains, interface, marks."""
PORT = 51820
MANAGEMENT_PORT = 8080
SIGNAL_PORT = 10000
STUN_PORT = 3478
RELAY_PORT = 443
TURN_USER = "netbird"
GROUP = "members"
KEY_NAME = "vpnmesh"
KEY_S = 86_400
CREDENTIALS_TTL = "20s"
"""Clients of 0.74 forget the relay's address when another joins, until the next credentials come."""

SERVER = f"{STATE_DIRECTORY}/netbird-management"
SIGNAL = f"{STATE_DIRECTORY}/netbird-signal"
RELAY = f"{STATE_DIRECTORY}/netbird-relay"
CLIENT = f"{STATE_DIRECTORY}/netbird"
SETUP_KEY = f"{SERVER}/setup-key.json"
STORE_KEY = f"{SERVER}/store.key"
"""Left to itself management makes one and writes it into its configuration, which we write anew at every start."""
API = Api(f"http://127.0.0.1:{MANAGEMENT_PORT}", f"{SERVER}/header")
SOCKET = f"unix://{RUN_DIRECTORY}/netbird.sock"
JOIN_S = 40.0

# constant scripts; secrets are made on the node and never stand on a command line
_MAKE_OWNER = """
umask 077
password=$(head -c 24 /dev/urandom | base64)
printf '{"email":"owner@vpnmesh.internal","name":"owner","password":"%s","create_pat":true,"pat_expire_in":1}' \
  "$password" | curl -sSf --max-time 20 -X POST -H 'Content-Type: application/json' --data-binary @- \
  "$1/api/setup" > "$2.answer"
sed -n 's/.*"personal_access_token":"\\([^"]*\\)".*/Authorization: Token \\1/p' "$2.answer" > "$2.new"
rm -f "$2.answer"; test -s "$2.new" && mv "$2.new" "$2"
"""
_MAKE_RANDOM = (
    'umask 077; mkdir -p "$(dirname "$1")"; head -c 24 /dev/urandom | base64 | tr -d "+/=\\n" > "$1"'
)
_MAKE_STORE_KEY = 'umask 077; mkdir -p "$(dirname "$1")"; head -c 32 /dev/urandom | base64 -w 0 > "$1"'
# the client tries again and again without a word: what its daemon logged last is why
_CONNECT = """
timeout "$@" && exit
{ tail -n 2 "$0" || journalctl -q -u vpnmesh-netbird -n 2 -o cat; } 2> /dev/null | cut -c1-300 >&2
exit 1
"""
_WITH_IT = 'NB_AUTH_SECRET=$(cat "$0"); export NB_AUTH_SECRET; exec "$@"'


class NetBird:
    """NetBird, direct, relayed by coturn over UDP, or by its own relay over TCP."""

    name = "netbird"
    binaries = (
        Binary("netbird", version=("netbird", "version")),
        Binary("netbird-mgmt", version=("netbird-mgmt", "--version"), at=Seat.CONTROL),
        Binary("netbird-signal", version=("netbird-signal", "--version"), at=Seat.CONTROL),
        Binary("curl", "curl", at=Seat.CONTROL),
        Binary("netbird-relay", at=Seat.RELAY),
        Binary("turnserver", "coturn", ("turnserver", "--version"), at=Seat.RELAY),
        Binary("openssl", "openssl", at=Seat.RELAY),
    )
    processes = ("netbird", "netbird-mgmt", "netbird-signal", "netbird-relay", "turnserver")
    traces = (INTERFACE,)
    fallback_s: float | None = 90.0

    def refuse(self, mesh: Mesh) -> str:
        """Nothing stands in the way."""
        del mesh
        return ""

    def stages(self, mesh: Mesh) -> tuple[Stage, ...]:
        """Relay, because its secret goes into the management's configuration; management, account, clients."""
        relay = (mesh.testbed.relay.name,)
        control = (mesh.testbed.control_plane.name,)
        members = tuple(node.name for node in mesh.members)
        return (
            Stage("relay's secrets", relay, _relay_secrets, _read_relay_secrets),
            Stage("relay", relay, _relay),
            Stage("signal", control, lambda _mesh, _node: running(signal_service())),
            Stage(
                "store key",
                control,
                lambda _mesh, _node: _store_key(),
                lambda _mesh, _node: _read_store_key(),
            ),
            Stage("management", control, lambda mesh, _node: running(management_service(mesh))),
            Stage("owner", control, lambda _mesh, _node: _owner()),
            Stage("settings", control, lambda mesh, _node: _settings(mesh)),
            Stage("group", control, lambda _mesh, _node: _group()),
            Stage("policy", control, lambda mesh, _node: _policies(mesh)),
            Stage("key", control, lambda _mesh, _node: _key(), lambda _mesh, _node: _read_key()),
            Stage("packet filter", members, lambda _mesh, _node: _nftables()),
            Stage("daemons", members, lambda mesh, _node: running(daemon(mesh))),
            Stage("members", members, _joined, lambda _mesh, _node: _read_self()),
        )

    def leave(self, mesh: Mesh, node: Node) -> Fact[Plan]:
        """Stop what runs here, and remove its rules, keys and state."""
        del mesh, node
        return removed(
            ("netbird", "netbird-mgmt", "netbird-signal", "netbird-relay", "coturn"),
            (CLIENT, SERVER, SIGNAL, RELAY, f"{RUN_DIRECTORY}/netbird.sock"),
            interfaces=(INTERFACE,),
            find=(leftovers.find(RULES), Command(("nft", "list", "table", "ip", TABLE), ok=(0, 1, 127))),
            # netbird takes its rules back when it ends in peace; after a kill they are still there
            cleanup=(leftovers.delete_table("ip", TABLE), leftovers.remove(RULES)),
        )

    def blacklist(self, mesh: Mesh, node: Node) -> Fact[Plan]:
        """Have the client ignore these interfaces: it connects again with the new list if it already runs."""
        listed = ",".join(mesh.blacklisted(node)) or "none"
        question = Command(("cat", f"{CLIENT}/blacklist"), ok=(0, 1))
        join = _join_steps(mesh, node)

        def plan(completed: Sequence[Completed]) -> Plan:
            before = completed[0].stdout if completed[0].exit_code == 0 else ""
            return (
                Plan() if before == listed else Plan(join, unified_diff("netbird blacklist", before, listed))
            )

        return Fact((question,), plan)

    def status(self, mesh: Mesh, node: Node) -> Fact[Status]:
        """`netbird status --json`; the endpoints decide, since one end may say P2P over TURN."""
        question = Command(_netbird("status", "--json"), ok=(0, 1, 127), timeout_s=5)
        link = interface_fact(INTERFACE)

        def parse(completed: Sequence[Completed]) -> Status:
            plane, address, mtu = link.parse(completed[1:])
            return Status(plane, INTERFACE, address, mtu, parse_status(mesh, node, completed[0].stdout))

        return Fact((question, *link.commands), parse)


def by_turn(mesh: Mesh) -> bool:
    """Whether coturn relays, as in the paper; else NetBird's own relay does."""
    return mesh.scenario.options.get("relay") == "turn"


def management_config(mesh: Mesh) -> Json:
    """Management's configuration; it names one kind of relay, so that the other cannot carry anything."""
    bed = mesh.testbed
    control, relay = bed.control_plane.underlay, bed.relay.underlay
    config: Json = {
        "Stuns": [{"Proto": "udp", "URI": f"stun:{relay}:{STUN_PORT}"}],
        "Signal": {"Proto": "http", "URI": f"{control}:{SIGNAL_PORT}"},
        "Datadir": SERVER,
        "StoreConfig": {"Engine": "sqlite"},
        "DataStoreEncryptionKey": reveal(mesh.got(bed.control_plane.name, "store-key")),
        "HttpConfig": {"Address": f"0.0.0.0:{MANAGEMENT_PORT}"},
        "EmbeddedIdP": {"Enabled": True, "Issuer": f"http://{control}:{MANAGEMENT_PORT}/oauth2"},
        "DisableDefaultPolicy": True,
        "TURNConfig": {"Turns": [], "CredentialsTTL": "12h", "Secret": "", "TimeBasedCredentials": False},
    }
    secret = reveal(mesh.got(bed.relay.name, "secret"))
    if by_turn(mesh):
        turn = {"Proto": "udp", "URI": f"turn:{relay}:{STUN_PORT}", "Username": TURN_USER, "Password": secret}
        config["TURNConfig"] = {"Turns": [turn], "CredentialsTTL": "12h", "TimeBasedCredentials": False}
    else:
        address = f"rels://{relay}:{RELAY_PORT}"
        config["Relay"] = {"Addresses": [address], "CredentialsTTL": CREDENTIALS_TTL, "Secret": secret}
    return config


def management_service(mesh: Mesh) -> Service:
    """The control plane; ready when it says whether it was set up."""
    config = WriteFile(f"{SERVER}/management.json", Secret(json.dumps(management_config(mesh), indent=2)))
    argv = (
        *("netbird-mgmt", "management", "--port", str(MANAGEMENT_PORT), "--config", config.path),
        *(
            "--datadir",
            SERVER,
            "--log-file",
            "console",
            "--disable-anonymous-metrics",
            "--disable-legacy-port",
        ),
        *("--single-account-mode-domain", "vpnmesh.internal", "--dns-domain", "vpnmesh.internal"),
    )
    environment = {"NB_SETUP_PAT_ENABLED": "true", "NB_DISABLE_GEOLOCATION": "true"}
    ready = until("curl", "-sSf", "--max-time", "2", f"{API.url}/api/instance", deadline_s=30)
    return Service("netbird-mgmt", argv, (config,), environment, ready)


def signal_service() -> Service:
    """What clients find each other through."""
    argv = (
        "netbird-signal",
        "run",
        "--port",
        str(SIGNAL_PORT),
        "--log-file",
        "console",
        "--metrics-port",
        "9091",
    )
    folder = WriteFile(f"{SIGNAL}/README", "NetBird's signal server\n")
    return Service("netbird-signal", argv, (folder,), {"HOME": SIGNAL})


def turn_config(mesh: Mesh, relay: Node) -> str:
    """turnserver.conf: one user, relayed addresses on the underlay only, nothing on loopback."""
    lines = (
        *(f"listening-ip={relay.underlay}", f"relay-ip={relay.underlay}", f"listening-port={STUN_PORT}"),
        *("min-port=49152", "max-port=49352", "fingerprint", "lt-cred-mech", "realm=vpnmesh.internal"),
        *(
            "no-tls",
            "no-dtls",
            "no-cli",
            "no-tcp-relay",
            "no-multicast-peers",
            "log-file=stdout",
            "simple-log",
        ),
        *(f"userdb={RELAY}/turndb", f"pidfile={RELAY}/turnserver.pid"),
        f"user={TURN_USER}:{reveal(mesh.got(relay.name, 'secret'))}",
    )
    return "\n".join(lines) + "\n"


def policies(mesh: Mesh, group: str) -> list[Json]:
    """Who may reach whom: members each other wholly (coarse), or only with what a cluster needs (granular)."""

    def allow(name: str, protocol: str, *ports: str) -> Json:
        rule: Json = {
            "name": name,
            "enabled": True,
            "action": "accept",
            "bidirectional": True,
            "protocol": protocol,
            "sources": [group],
            "destinations": [group],
        }
        if ports:
            rule["ports"] = list(ports)
        return {"name": name, "enabled": True, "rules": [rule]}

    if mesh.scenario.options.get("access") != "granular":
        return [allow("members", "all")]
    return [
        allow("vxlan", "udp", str(VXLAN_PORT)),
        allow("kubernetes", "tcp", "6443", "10250"),
        allow("ping", "icmp"),
    ]


def daemon(mesh: Mesh) -> Service:
    """The client's daemon; relay scenarios have it use the relay whatever else would work."""
    environment = {"NB_STATE_DIR": CLIENT, "NB_DISABLE_SSH_CONFIG": "true", "HOME": CLIENT}
    certificate = WriteFile(f"{CLIENT}/relay.crt", mesh.got(mesh.testbed.relay.name, "certificate"))
    if not by_turn(mesh):
        # over QUIC it takes half a minute to notice that UDP is blocked
        environment |= {"SSL_CERT_FILE": certificate.path, "NB_RELAY_TRANSPORT": "ws"}
    if mesh.scenario.path is Path.RELAY:
        environment["NB_ICE_FORCE_RELAY_CONN" if by_turn(mesh) else "NB_FORCE_RELAY"] = "true"
    argv = _netbird("service", "run", "--config", f"{CLIENT}/config.json", "--log-file", "console")
    ready = until("test", "-S", f"{RUN_DIRECTORY}/netbird.sock", deadline_s=10)
    return Service("netbird", argv, (certificate,), environment, ready)


def parse_status(mesh: Mesh, node: Node, text: str) -> tuple[Peer, ...]:
    """Peers from `netbird status --json`; a member that is not connected has neither path nor endpoint."""
    peers = fields(text).get("peers")
    details = records(peers.get("details")) if isinstance(peers, dict) else []
    # by key, not by name: a node that joined before leaves its name behind
    entries = {str(entry.get("publicKey")): entry for entry in details}
    return tuple(
        _peer(mesh, peer, entries.get(str(mesh.got(peer.name, "node-key")))) for peer in mesh.peers(node)
    )


def _peer(mesh: Mesh, peer: Node, entry: Mapping[str, object] | None) -> Peer:
    if entry is None or entry.get("status") != "Connected":
        return Peer(peer.name, None, None)
    relay = mesh.testbed.relay.underlay
    kinds, ends = entry.get("iceCandidateType"), entry.get("iceCandidateEndpoint")
    kinds = kinds if isinstance(kinds, dict) else {}
    ends = ends if isinstance(ends, dict) else {}
    endpoint = endpoint_address(str(ends.get("remote") or ""))
    if "relay" in kinds.values() or endpoint == relay:
        return Peer(peer.name, Path.RELAY, relay, via="TURN")
    if entry.get("connectionType") == "Relayed":
        return Peer(peer.name, Path.RELAY, relay, via=str(entry.get("relayAddress") or "relay"))
    return Peer(peer.name, Path.DIRECT if endpoint else None, endpoint)


def _netbird(*words: str) -> tuple[str, ...]:
    return ("netbird", *words, "--daemon-addr", SOCKET)


def _relay_secrets(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Have the relay's password and certificate; both are of this run only."""
    del mesh
    secret = made(
        f"{RELAY}/secret", Command(("sh", "-ec", _MAKE_RANDOM, "sh", f"{RELAY}/secret")), "<a new secret>"
    )
    certificate = tls.certificate(RELAY, node.underlay)
    return Fact(
        (*secret.commands, *certificate.commands),
        lambda completed: secret.parse(completed[:1]) + certificate.parse(completed[1:]),
    )


def _read_relay_secrets(mesh: Mesh, node: Node) -> Fact[dict[str, Text]]:
    del mesh, node
    questions = (Command(("cat", f"{RELAY}/secret")), Command(("cat", f"{RELAY}/tls.crt")))
    return Fact(questions, lambda c: {"secret": Secret(content(c[0])), "certificate": f"{content(c[1])}\n"})


def _relay(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Have coturn, or NetBird's own relay with its STUN server."""
    if by_turn(mesh):
        config = WriteFile(f"{RELAY}/turnserver.conf", Secret(turn_config(mesh, node)))
        return running(Service("coturn", ("turnserver", "-c", config.path), (config,)))
    relay = (
        *("netbird-relay", "--listen-address", f":{RELAY_PORT}", "--log-file", "console"),
        *(
            "--exposed-address",
            f"rels://{node.underlay}:{RELAY_PORT}",
            "--enable-stun",
            "--stun-ports",
            str(STUN_PORT),
        ),
        *("--tls-cert-file", f"{RELAY}/tls.crt", "--tls-key-file", f"{RELAY}/tls.key"),
    )
    return running(Service("netbird-relay", ("sh", "-c", _WITH_IT, f"{RELAY}/secret", *relay)))


def _store_key() -> Fact[Plan]:
    """Have the key that management's database is encrypted with; without it a restart finds no owner and no peer."""
    return made(STORE_KEY, Command(("sh", "-ec", _MAKE_STORE_KEY, "sh", STORE_KEY)), "<a new key>")


def _read_store_key() -> Fact[dict[str, Text]]:
    return Fact(
        (Command(("cat", STORE_KEY)),), lambda completed: {"store-key": Secret(content(completed[0]))}
    )


def _owner() -> Fact[Plan]:
    """Have an owner with a token of one day, made by the setup call that works only once."""
    script = Command(("sh", "-ec", _MAKE_OWNER, "sh", API.url, API.header_file), timeout_s=30)
    return made(API.header_file, script, "<a new owner and token>")


def _settings(mesh: Mesh) -> Fact[Plan]:
    """Have connections made at once, logins that do not expire, and our range of addresses."""
    wanted: Json = {
        "lazy_connection_enabled": False,
        "peer_login_expiration_enabled": False,
        "peer_inactivity_expiration_enabled": False,
        "network_range": str(mesh.testbed.overlay),
    }

    def plan(found: Sequence[object]) -> Plan:
        account = next(iter(records(found[0])), {})
        settings = account.get("settings")
        held = settings if isinstance(settings, dict) else {}
        before, after = pretty({key: held.get(key) for key in wanted}), pretty(wanted)
        if before == after:
            return Plan()
        body = {"settings": {**held, **wanted}}
        return Plan(
            (API.send("PUT", f"/api/accounts/{account.get('id')}", body),),
            unified_diff("account", before, after),
        )

    return asked(API, ("/api/accounts",), plan)


def _group() -> Fact[Plan]:
    def plan(found: Sequence[object]) -> Plan:
        if _group_id(found[0]):
            return Plan()
        return Plan((API.send("POST", "/api/groups", {"name": GROUP}),), unified_diff("groups", "", GROUP))

    return asked(API, ("/api/groups",), plan)


def _group_id(groups: object) -> str:
    return next((str(one["id"]) for one in records(groups) if one.get("name") == GROUP), "")


def _policies(mesh: Mesh) -> Fact[Plan]:
    """Have exactly the wanted policies; management tells the clients at once, nothing restarts."""

    def plan(found: Sequence[object]) -> Plan:
        held = {str(one.get("name")): str(one.get("id")) for one in records(found[1])}
        wanted = {str(one["name"]): one for one in policies(mesh, _group_id(found[0]))}
        steps = [API.send("POST", "/api/policies", one) for name, one in wanted.items() if name not in held]
        steps += [
            API.send("DELETE", f"/api/policies/{key}") for name, key in held.items() if name not in wanted
        ]
        return Plan(
            tuple(steps), unified_diff("policies", "\n".join(sorted(held)), "\n".join(sorted(wanted)))
        )

    return asked(API, ("/api/groups", "/api/policies"), plan)


def _key() -> Fact[Plan]:
    """Have a setup key that every member may use; its text is shown once, in the answer that is kept."""
    question = Command(("test", "-s", SETUP_KEY), ok=(0, 1))

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[1].exit_code == 0:
            return Plan()
        body = {
            "name": KEY_NAME,
            "type": "reusable",
            "expires_in": KEY_S,
            "usage_limit": 0,
            "auto_groups": [_group_id(answer(completed[0]))],
            "ephemeral": False,
        }
        post = API.send("POST", "/api/setup-keys", body, save=SETUP_KEY)
        return Plan((post,), unified_diff("setup key", "", "<a new setup key>"))

    return Fact((API.get("/api/groups"), question), plan)


def _read_key() -> Fact[dict[str, Text]]:
    question = Command(("cat", SETUP_KEY))
    return Fact((question,), lambda completed: {"setup-key": Secret(field_of(completed[0].stdout, "key"))})


def _nftables() -> Fact[Plan]:
    """Have a chain that makes NetBird take nftables rather than iptables.

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
    """Have the daemon connected to our management under the node's name."""
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
    url = f"http://{control.underlay}:{MANAGEMENT_PORT}"
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
        WriteFile(key, mesh.got(control.name, "setup-key")),
        Command(_netbird("down"), ok=(0, 1)),
        Command(
            ("sh", "-c", _CONNECT, f"{RUN_DIRECTORY}/netbird.log", f"{JOIN_S:.0f}", *up),
            timeout_s=JOIN_S + 5,
        ),
        Command(("rm", "-f", key)),
        WriteFile(f"{CLIENT}/blacklist", listed),
    )
