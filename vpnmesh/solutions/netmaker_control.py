"""Netmaker's control plane, for `vpnmesh.solutions.netmaker`: server, MQTT broker, TLS, network, keys, gateway.

All of it is on the control-plane node and set up through the REST interface with the master key, without a browser
or an owner. Clients speak only https to the interface, which the server itself does not serve, so socat stands in
front of it. Nothing leaves the testbed: telemetry, DNS and STUN are off, the look-up of the server's own public
address is answered by the server, and what would still be asked of the internet over https ends at a closed port.
Sources: servercfg/ and controllers/ of Netmaker 1.4.0, mosquitto.conf(5) of Mosquitto 2.0, socat(1).
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address

from vpnmesh.host import tls
from vpnmesh.host.dual_stack import host, written
from vpnmesh.host.rest import Json, RestApi, answer, asked, field_of, pretty, records
from vpnmesh.host.service import RUN_DIRECTORY, Service, made, running, until
from vpnmesh.model import Node, Path
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, reveal, unified_diff
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Mesh

API_PORT = 8081
TLS_PORT = 443
BROKER_PORT = 1883
BROKER_TLS_PORT = 8883
CLOSED = "http://127.0.0.1:9"
"""A proxy that refuses at once: what asks the internet fails in no time, rather than after ten seconds."""
NETWORK = "vpnmesh"
SERVER_NAME = "netmaker.vpnmesh.internal"
BROKER_USER = "netmaker"

SERVER = f"{STATE_DIRECTORY}/netmaker-server"
SECRETS = f"{SERVER}/secrets.env"
PASSWORDS = f"{SERVER}/passwords"
SERVICES = ("netmaker-tls", "netmaker", "mosquitto")
API = RestApi(f"http://127.0.0.1:{API_PORT}", f"{SERVER}/header")

# constant scripts; secrets are made on the node, never on a command line: printf is the shell's own
_MAKE_SECRETS = """
umask 077; mkdir -p "$1"; cd "$1"
word() { head -c 36 /dev/urandom | base64 | tr -d '+/=\\n'; }
master=$(word); broker=$(word)
printf '%s:%s\\n' "$2" "$broker" > passwords.new
mosquitto_passwd -U passwords.new; mv passwords.new passwords
printf 'Authorization: Bearer %s\\n' "$master" > header
printf 'MASTER_KEY=%s\\nMQ_PASSWORD=%s\\n' "$master" "$broker" > secrets.new; mv secrets.new secrets.env
"""
# the server keeps its database in the folder that it is started in, and writes the tokens that it is shown into its log
_WITH_THEM = """
umask 077; cd "$0"; chmod 600 "$1" 2> /dev/null; shift; set -a; . ./secrets.env; set +a; exec "$@"
"""
NODES = f"/api/nodes/{NETWORK}"
REGISTERED, YES, NO = "registered", "yes", "no"
"""Whether a client is registered already, as it publishes it itself."""


def participants(mesh: Mesh) -> tuple[Node, ...]:
    """The nodes that run a client: the members, and the relay node where the scenario relays."""
    relay = (mesh.testbed.relay,) if mesh.scenario.path is Path.RELAY else ()
    return mesh.members + tuple(node for node in relay if node not in mesh.members)


def environment(mesh: Mesh) -> dict[str, str]:
    """The server's settings without its secrets."""
    address = mesh.server(mesh.testbed.control_plane)
    return {
        "SERVER_NAME": SERVER_NAME,
        "NODE_ID": "vpnmesh",
        "SERVER_HOST": str(address),
        # the client puts it before a colon and the port as it is
        "SERVER_HTTP_HOST": host(address),
        "SERVER_API_CONN_STRING": written(address, TLS_PORT),
        "API_PORT": str(API_PORT),
        "DATABASE": "sqlite",
        "BROKER_TYPE": "mosquitto",
        "BROKER_ENDPOINT": f"ssl://{written(address, BROKER_TLS_PORT)}",
        "SERVER_BROKER_ENDPOINT": f"tcp://127.0.0.1:{BROKER_PORT}",
        "MQ_USERNAME": BROKER_USER,
        "DISABLE_REMOTE_IP_CHECK": "on",
        "PUBLIC_IP_SERVICE": f"{API.url}/api/getip",
        "TELEMETRY": "off",
        "DNS_MODE": "off",
        "MANAGE_DNS": "false",
        "STUN": "false",
        "ENDPOINT_DETECTION": "false",
        "NETCLIENT_AUTO_UPDATE": "disabled",
        "VERBOSITY": "1",
        "HTTP_PROXY": CLOSED,
        "HTTPS_PROXY": CLOSED,
        "NO_PROXY": "127.0.0.1",
    }


def broker_config(mesh: Mesh) -> str:
    """mosquitto.conf: the server on loopback, clients by TLS on the underlay, nobody without the password."""
    address = mesh.server(mesh.testbed.control_plane)
    lines = (
        # the files are root's; without this line mosquitto becomes a user that only its package makes
        *("user root", "per_listener_settings false", "allow_anonymous false", f"password_file {PASSWORDS}"),
        *("persistence false", "log_dest stderr"),
        f"listener {BROKER_PORT} 127.0.0.1",
        f"listener {BROKER_TLS_PORT} {address}",
        *(f"certfile {SERVER}/tls.crt", f"keyfile {SERVER}/tls.key"),
    )
    return "\n".join(lines) + "\n"


def certificate(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure the certificate that broker and interface share."""
    return tls.certificate(SERVER, mesh.addresses(node))


def secrets() -> Fact[Plan]:
    """Ensure master key and broker's password."""
    script = Command(("sh", "-ec", _MAKE_SECRETS, "sh", SERVER, BROKER_USER))
    return made(SECRETS, script, "<a new master key and broker password>")


def broker(mesh: Mesh) -> Fact[Plan]:
    """Ensure that the broker runs, as a process of ours and never as the machine's service."""
    config = WriteFile(f"{SERVER}/mosquitto.conf", broker_config(mesh))
    return running(Service("mosquitto", ("mosquitto", "-c", config.path), (config,)), mesh.scenario)


def server(mesh: Mesh) -> Fact[Plan]:
    """Ensure that the server runs; ready when its interface says so."""
    argv = ("sh", "-c", _WITH_THEM, SERVER, f"{RUN_DIRECTORY}/netmaker.log", "netmaker")
    ready = until("curl", "-sSf", "--max-time", "2", f"{API.url}/api/server/status", deadline_s=30)
    return running(Service("netmaker", argv, (), environment(mesh), ready), mesh.scenario)


def https(mesh: Mesh) -> Fact[Plan]:
    """Ensure that the interface is reached by https."""
    keys = f"cert={SERVER}/tls.crt,key={SERVER}/tls.key,verify=0"
    address = mesh.server(mesh.testbed.control_plane)
    family = "pf=ip6," if isinstance(address, IPv6Address) else ""
    listen = f"OPENSSL-LISTEN:{TLS_PORT},{family}bind={host(address)},reuseaddr,fork,{keys}"
    argv = ("socat", listen, f"TCP4:127.0.0.1:{API_PORT}")
    return running(Service("netmaker-tls", argv), mesh.scenario)


def network(mesh: Mesh) -> Fact[Plan]:
    """Ensure the network with our addresses; all its nodes may reach each other, which is Netmaker's default."""

    def plan(found: Sequence[object]) -> Plan:
        if NETWORK in {one.get("netid") for one in records(found[0])}:
            return Plan()
        body: Json = {"netid": NETWORK, "addressrange": str(mesh.testbed.overlay), "isipv4": "yes"}
        return Plan((API.send("POST", "/api/networks", body),), unified_diff("network", "", pretty(body)))

    return asked(API, ("/api/networks",), plan)


def enrollment_keys(mesh: Mesh) -> Fact[Plan]:
    """Ensure a key for every client, for one use: `netclient` takes it only as an argument, where others see it.

    A client that has left needs another key, and must be unknown: the server gives a host that has the endpoint of one
    it knows another port.
    """
    clients = participants(mesh)
    files = tuple(Command(("test", "-s", _key_file(node.name)), ok=(0, 1)) for node in clients)
    away = [node.name for node in clients if reveal(mesh.published.get((node.name, REGISTERED), YES)) == NO]

    def plan(completed: Sequence[Completed]) -> Plan:
        keys, hosts = (records(answer(one)) for one in completed[:2])
        spent = _clients_of(keys, usable=False) - _clients_of(keys, usable=True)
        missing = [
            node.name
            for node, file in zip(clients, completed[2:], strict=True)
            if file.exit_code or (node.name in away and node.name in spent)
        ]
        stale = [str(one.get("id")) for one in hosts if one.get("name") in away]
        steps = [API.send("DELETE", f"/api/hosts/{host_id}?force=true") for host_id in stale]
        steps += [
            # no two keys may have the same tag
            API.send("POST", "/api/v1/enrollment-keys", key_body(f"{name} {len(keys)}"), save=_key_file(name))
            for name in missing
        ]
        return Plan(tuple(steps), unified_diff("enrollment keys", "\n".join(stale), "\n".join(missing)))

    return Fact((API.get("/api/v1/enrollment-keys"), API.get("/api/hosts"), *files), plan)


def _clients_of(keys: Sequence[Json], *, usable: bool) -> set[str]:
    """The clients that have a key which can, or cannot, be used once more."""
    return {name for key in keys if bool(key.get("uses_remaining")) is usable for name in _names(key)}


def _names(key: Json) -> list[str]:
    """The clients that a key is for: a tag is a name and a number."""
    tags = key.get("tags")
    return [str(tag).partition(" ")[0] for tag in tags] if isinstance(tags, list) else []


def _key_file(name: str) -> str:
    return f"{SERVER}/{name}-key.json"


def key_body(tag: str) -> Json:
    """A key without a network: one with a network leaves a message for the daemon's first start (see `nodes`)."""
    return {"tags": [tag], "networks": [], "uses_remaining": 1, "unlimited": False, "type": 2}


def token_of(name: str) -> str:
    """Under which key a client's token is published."""
    return f"token/{name}"


def token_in(text: str) -> str:
    """The token in the server's answer to a new key; CheckError where there is none."""
    return field_of(text, "token")


def read_enrollment_keys(mesh: Mesh) -> Fact[dict[str, Text]]:
    """What each client joins with."""
    names = [node.name for node in participants(mesh)]
    questions = tuple(Command(("cat", _key_file(name))) for name in names)
    return Fact(
        questions,
        lambda found: {
            token_of(name): Secret(token_in(one.stdout)) for name, one in zip(names, found, strict=True)
        },
    )


def nodes(mesh: Mesh) -> Fact[Plan]:
    """Ensure that every client is a node of the network, and that its daemon is not told so when it starts.

    A daemon takes its network from the server at its start. "Join this network", which the server leaves for it with
    the broker as well, makes it build its interface anew, under pods that are there by then. The broker keeps one
    message per client: naming the host's settings again, as they are, takes the place of that one.
    """

    def plan(found: Sequence[object]) -> Plan:
        hosts = {str(one.get("name")): one for one in records(found[0])}
        there = {one.get("hostid") for one in records(found[1])}
        named = (
            (node.name, hosts.get(node.name, {"id": f"<{node.name}'s id>"})) for node in participants(mesh)
        )
        missing = {name: host for name, host in named if host["id"] not in there}
        paths = {name: f"/api/hosts/{host['id']}" for name, host in missing.items()}
        return Plan(
            (
                *(API.send("POST", f"{paths[name]}/networks/{NETWORK}") for name in missing),
                *(API.send("PUT", paths[name], host) for name, host in missing.items()),
            ),
            unified_diff("nodes", "", "\n".join(missing)),
        )

    return asked(API, ("/api/hosts", NODES), plan)


def gateway(mesh: Mesh) -> Fact[Plan]:
    """Ensure that the relay node is a gateway, and that it relays for exactly the members."""

    def plan(found: Sequence[object]) -> Plan:
        ids = node_ids(found[0], found[1])
        relay = ids.get(mesh.testbed.relay.name, "")
        wanted = sorted(ids.get(node.name, f"<{node.name}'s id>") for node in mesh.members)
        held = next((one for one in records(found[1]) if one.get("id") == relay and relay), {})
        relayed = held.get("relaynodes")
        before = sorted(map(str, relayed)) if isinstance(relayed, list) and held.get("isrelay") else []
        if before == wanted:
            return Plan()
        path = f"{NODES}/{relay or '<relay>'}/gateway"
        # one that is there already with others cannot be changed by the same call
        steps = (API.send("DELETE", path),) if held.get("is_gw") else ()
        body: Json = {"relayaddrs": wanted, "is_internet_gw": False}
        return Plan(
            (*steps, API.send("POST", path, body)),
            unified_diff("gateway", "\n".join(before), "\n".join(wanted)),
        )

    return asked(API, ("/api/hosts", NODES), plan)


def node_ids(hosts: object, nodes: object) -> Mapping[str, str]:
    """The id of every client's node, by the name of its host."""
    names = {str(one.get("id")): str(one.get("name")) for one in records(hosts)}
    return {
        names[str(one.get("hostid"))]: str(one.get("id"))
        for one in records(nodes)
        if str(one.get("hostid")) in names
    }
