"""NetBird's control plane and relays, for `vpnmesh.solutions.netbird`: management, signal, coturn, its own relay.

Everything is set up through the REST interface, without a browser; secrets are made on the nodes. Sources:
infrastructure_files/ and shared/management/http/api of NetBird 0.77.1, turnserver.conf(5) of coturn 4.6.
"""

import json
from collections.abc import Iterable, Sequence

from vpnmesh.host import tls
from vpnmesh.host.dual_stack import name_of, written
from vpnmesh.host.pods import PORT as VXLAN_PORT
from vpnmesh.host.rest import Json, RestApi, answer, asked, field_of, pretty, records
from vpnmesh.host.service import Service, content, listens, made, running, until
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, reveal, unified_diff
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Mesh

MANAGEMENT_PORT = 8080
SIGNAL_PORT = 10000
STUN_PORT = 3478
RELAY_PORT = 443
TURN_USER = "netbird"
GROUP = "members"
KEY_NAME = "vpnmesh"
KEY_S = 86_400
CREDENTIALS_TTL = "12h"
"""Of the relay's and of coturn's credentials: longer than any run, so that nothing heals by new ones."""

SERVER = f"{STATE_DIRECTORY}/netbird-management"
SIGNAL = f"{STATE_DIRECTORY}/netbird-signal"
RELAY = f"{STATE_DIRECTORY}/netbird-relay"
SETUP_KEY = f"{SERVER}/setup-key.json"
STORE_KEY = f"{SERVER}/store.key"
"""Left to itself management makes one and writes it into its configuration, which we write anew at every start."""
API = RestApi(f"http://127.0.0.1:{MANAGEMENT_PORT}", f"{SERVER}/header")

# constant scripts; secrets are made on the node and never on a command line
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
_WITH_IT = 'NB_AUTH_SECRET=$(cat "$0"); export NB_AUTH_SECRET; exec "$@"'


def by_turn(mesh: Mesh) -> bool:
    """Whether coturn relays, as in the paper; else NetBird's own relay does."""
    return mesh.scenario.options.get("relay") == "turn"


def management_config(mesh: Mesh) -> Json:
    """Management's configuration; it names one kind of relay, so that the other cannot carry anything."""
    bed = mesh.testbed
    # all clients are told the same
    control, relay = mesh.known_as(bed.control_plane), mesh.known_as(bed.relay)
    config: Json = {
        "Stuns": [{"Proto": "udp", "URI": f"stun:{written(relay, STUN_PORT)}"}],
        "Signal": {"Proto": "http", "URI": written(control, SIGNAL_PORT)},
        "Datadir": SERVER,
        "StoreConfig": {"Engine": "sqlite"},
        "DataStoreEncryptionKey": reveal(mesh.published_by(bed.control_plane.name, "store-key")),
        "HttpConfig": {
            "Address": f"[::]:{MANAGEMENT_PORT}" if mesh.families else f"0.0.0.0:{MANAGEMENT_PORT}"
        },
        "EmbeddedIdP": {"Enabled": True, "Issuer": f"http://{written(control, MANAGEMENT_PORT)}/oauth2"},
        "DisableDefaultPolicy": True,
        "TURNConfig": {
            "Turns": [],
            "CredentialsTTL": CREDENTIALS_TTL,
            "Secret": "",
            "TimeBasedCredentials": False,
        },
    }
    secret = reveal(mesh.published_by(bed.relay.name, "secret"))
    if by_turn(mesh):
        turn = {
            "Proto": "udp",
            "URI": f"turn:{written(relay, STUN_PORT)}",
            "Username": TURN_USER,
            "Password": secret,
        }
        config["TURNConfig"] = {
            "Turns": [turn],
            "CredentialsTTL": CREDENTIALS_TTL,
            "TimeBasedCredentials": False,
        }
    else:
        address = f"rels://{written(relay, RELAY_PORT)}"
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
    ready = listens("-t", f"sport = :{SIGNAL_PORT}")
    return Service("netbird-signal", argv, (folder,), {"HOME": SIGNAL}, ready)


def turn_config(mesh: Mesh, relay: Node) -> str:
    """turnserver.conf: one user, relayed addresses on the underlay only, nothing on loopback."""
    lines = (
        *(f"listening-ip={address}" for address in mesh.addresses(relay)),
        *(f"relay-ip={address}" for address in mesh.addresses(relay)),
        f"listening-port={STUN_PORT}",
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
        f"user={TURN_USER}:{reveal(mesh.published_by(relay.name, 'secret'))}",
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


def relay_secrets(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure the relay's password and certificate; both are of this run only."""
    secret = made(
        f"{RELAY}/secret", Command(("sh", "-ec", _MAKE_RANDOM, "sh", f"{RELAY}/secret")), "<a new secret>"
    )
    certificate = tls.certificate(RELAY, (*mesh.addresses(node), *([name_of(node)] if mesh.families else [])))
    return Fact(
        (*secret.commands, *certificate.commands),
        lambda completed: secret.parse(completed[:1]) + certificate.parse(completed[1:]),
    )


def read_relay_secrets(_mesh: Mesh, _node: Node) -> Fact[dict[str, Text]]:
    """What management and clients need of them."""
    questions = (Command(("cat", f"{RELAY}/secret")), Command(("cat", f"{RELAY}/tls.crt")))
    return Fact(questions, lambda c: {"secret": Secret(content(c[0])), "certificate": f"{content(c[1])}\n"})


def relay(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that coturn runs, or NetBird's own relay with its STUN server."""
    if by_turn(mesh):
        config = WriteFile(f"{RELAY}/turnserver.conf", Secret(turn_config(mesh, node)))
        ready = listens("-u", f"sport = :{STUN_PORT}")
        coturn = Service("coturn", ("turnserver", "-c", config.path), (config,), ready=ready)
        return running(coturn, mesh.scenario)
    relay = (
        *("netbird-relay", "--listen-address", f":{RELAY_PORT}", "--log-file", "console"),
        *(
            "--exposed-address",
            f"rels://{written(mesh.known_as(node), RELAY_PORT)}",
            "--enable-stun",
            "--stun-ports",
            str(STUN_PORT),
        ),
        *("--tls-cert-file", f"{RELAY}/tls.crt", "--tls-key-file", f"{RELAY}/tls.key"),
    )
    argv = ("sh", "-c", _WITH_IT, f"{RELAY}/secret", *relay)
    ready = listens("-t", f"sport = :{RELAY_PORT}")
    return running(Service("netbird-relay", argv, ready=ready), mesh.scenario)


def store_key() -> Fact[Plan]:
    """Ensure the key that management's database is encrypted with; without it a restart finds no owner and no peer."""
    return made(STORE_KEY, Command(("sh", "-ec", _MAKE_STORE_KEY, "sh", STORE_KEY)), "<a new key>")


def read_store_key() -> Fact[dict[str, Text]]:
    """What goes into management's configuration."""
    return Fact(
        (Command(("cat", STORE_KEY)),), lambda completed: {"store-key": Secret(content(completed[0]))}
    )


def owner() -> Fact[Plan]:
    """Ensure an owner with a token of one day, made by the setup call that works only once."""
    script = Command(("sh", "-ec", _MAKE_OWNER, "sh", API.url, API.header_file), timeout_s=30)
    return made(API.header_file, script, "<a new owner and token>")


def settings(mesh: Mesh) -> Fact[Plan]:
    """Ensure that connections are made at once, logins do not expire, and addresses are from our range."""
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


def group() -> Fact[Plan]:
    """Ensure the group that setup key and policies name."""

    def plan(found: Sequence[object]) -> Plan:
        if group_id(found[0]):
            return Plan()
        return Plan((API.send("POST", "/api/groups", {"name": GROUP}),), unified_diff("groups", "", GROUP))

    return asked(API, ("/api/groups",), plan)


def group_id(groups: object) -> str:
    """The id of the members' group, "" where there is none yet."""
    return next((str(one["id"]) for one in records(groups) if one.get("name") == GROUP), "")


def held_policies(mesh: Mesh) -> Fact[Plan]:
    """Ensure exactly the wanted policies; management tells the clients at once, nothing restarts."""

    def plan(found: Sequence[object]) -> Plan:
        return policy_plan(found[1], policies(mesh, group_id(found[0])))

    return asked(API, ("/api/groups", "/api/policies"), plan)


def policy_plan(found: object, policies: Iterable[Json]) -> Plan:
    """What is missing of these policies, and what is there beside them; they are told apart by name."""
    held = {str(one.get("name")): str(one.get("id")) for one in records(found)}
    wanted = {str(one["name"]): one for one in policies}
    steps = [API.send("POST", "/api/policies", one) for name, one in wanted.items() if name not in held]
    steps += [API.send("DELETE", f"/api/policies/{key}") for name, key in held.items() if name not in wanted]
    return Plan(tuple(steps), unified_diff("policies", "\n".join(sorted(held)), "\n".join(sorted(wanted))))


def _key_body(name: str, group: str) -> Json:
    return {
        "name": name,
        "type": "reusable",
        "expires_in": KEY_S,
        "usage_limit": 0,
        "auto_groups": [group],
        "ephemeral": False,
    }


def setup_key() -> Fact[Plan]:
    """Ensure a setup key that every member may use; its text is shown once, in the answer that is kept."""
    return made_key(SETUP_KEY, KEY_NAME)


def made_key(path: str, name: str) -> Fact[Plan]:
    """Ensure a reusable setup key of that name, kept at that path."""
    question = Command(("test", "-s", path), ok=(0, 1))

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[1].exit_code == 0:
            return Plan()
        body = _key_body(name, group_id(answer(completed[0])))
        post = API.send("POST", "/api/setup-keys", body, save=path)
        return Plan((post,), unified_diff("setup key", "", "<a new setup key>"))

    return Fact((API.get("/api/groups"), question), plan)


def read_setup_key(path: str = SETUP_KEY) -> Fact[dict[str, Text]]:
    """What members join with."""
    question = Command(("cat", path))
    return Fact((question,), lambda completed: {"setup-key": Secret(field_of(completed[0].stdout, "key"))})
