"""Headscale's control plane, for `vpnmesh.solutions.headscale`: how each version of it is told what to do.

What differs between versions is a row of `INTERFACES`; which row holds is read from what `headscale version` says on
the control-plane node, whatever the scenario is called. Sources: config-example.yaml, cmd/headscale and acls.go of
Headscale 0.21.0; config-example.yaml, docs/ref/policy.md and hscontrol/policy of 0.29.2; its CHANGELOG for what lies
between.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import yaml

from vpnmesh.errors import NO_JSON, CheckError
from vpnmesh.host import tls
from vpnmesh.host.dual_stack import written
from vpnmesh.host.files import printed
from vpnmesh.host.pods import PORT as VXLAN_PORT
from vpnmesh.host.rest import answer, field_of, records
from vpnmesh.host.service import RUN_DIRECTORY, Service, content, made, running, until
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, both, reveal, unified_diff
from vpnmesh.solutions.control import Access, Gateway
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Mesh

CONTROL_PORT = 443
STUN_PORT = 3478
REGION, REGION_CODE = 900, "vpnmesh"
RANGE = "100.64.0.0/24"
"""The members' addresses: Tailscale clients take none outside 100.64.0.0/10."""
BASE_DOMAIN = "vpnmesh.internal"
"""Of the members' names, which nobody resolves: not the testbed's name, which may be any text."""
RELAY_NAME = "derp.vpnmesh.internal"
"""What the relay's certificate is for: derper 1.58 serves none to a client that asks for an address."""
USER = "mesh"

SERVER = f"{STATE_DIRECTORY}/headscale"
CONFIG = f"{SERVER}/config.yaml"
POLICY = f"{SERVER}/policy.json"
AUTH_KEY = f"{SERVER}/authkey"
REFUSED_KEY = f"{SERVER}/refused"

# constant script: configuration, user's name, the user as keys name it, where to put the key; the key is shown once
# and never on a command line; all members join with it, which takes them minutes
_MAKE_KEY = """
umask 077
headscale -c "$1" users create "$2" -o json > /dev/null
headscale -c "$1" preauthkeys create -u "$3" --reusable -e 1h -o json > "$4.new" && mv "$4.new" "$4"
"""
# constant script: configuration, the user as keys name it, where to put the key that was taken back at once
_MAKE_REFUSED = """
umask 077
headscale -c "$1" preauthkeys create -u "$2" --reusable -e 1h -o json > "$3.new"
id=$(python3 -I -c 'import json, sys; print(json.load(sys.stdin)["id"])' < "$3.new")
headscale -c "$1" preauthkeys expire --id "$id" > /dev/null && mv "$3.new" "$3"
"""
# constant script: the pid file of the server, which reads its policy again
_RELOAD = 'kill -HUP "$(cat "$1")"'

Version = tuple[int, ...]
Config = dict[str, object]


@dataclass(frozen=True, slots=True)
class Interface:
    """How Headscale is told things, from version `since` up to (and without) version `until`."""

    since: Version
    until: Version | None
    config: Callable[[], Config]
    """The keys of config.yaml that only these versions have."""
    key_user: str
    """How `preauthkeys create -u` names our user: by its number, or by its name."""
    nodes: str
    """How a policy names all nodes of our user."""
    policy_file: bool
    """Whether the policy lies in a file, read again at SIGHUP; else it lies in the database."""
    grants: bool
    """Whether a policy may hold grants, by which a node is allowed to relay for others."""

    @property
    def span(self) -> str:
        """The versions in words."""
        first, last = (".".join(map(str, one)) for one in (self.since, self.until or ()))
        return f"{first} to before {last}" if last else f"{first} and newer"


def _config_now() -> Config:
    return {
        "noise": {"private_key_path": f"{SERVER}/noise.key"},
        "prefixes": {"v4": RANGE, "allocation": "sequential"},
        "database": {"type": "sqlite", "sqlite": {"path": f"{SERVER}/db.sqlite"}},
        "policy": {"mode": "database"},
        "dns": {"magic_dns": False, "override_local_dns": False, "base_domain": BASE_DOMAIN},
    }


def _config_then() -> Config:
    return {
        "private_key_path": f"{SERVER}/private.key",
        "noise": {"private_key_path": f"{SERVER}/noise.key"},
        "ip_prefixes": [RANGE],
        "db_type": "sqlite3",
        "db_path": f"{SERVER}/db.sqlite",
        "acl_policy_path": POLICY,
        "dns_config": {
            "magic_dns": False,
            "override_local_dns": False,
            "nameservers": [],
            "base_domain": BASE_DOMAIN,
        },
    }


INTERFACES = (
    Interface((0, 29), None, _config_now, key_user="1", nodes=f"{USER}@", policy_file=False, grants=True),
    # keys by the user's number and policies with an @ came with 0.26, grants with 0.29: read, not tried
    Interface((0, 26), (0, 29), _config_now, key_user="1", nodes=f"{USER}@", policy_file=False, grants=False),
    # 0.23 renamed most keys of the configuration
    Interface((0, 21), (0, 23), _config_then, key_user=USER, nodes=USER, policy_file=True, grants=False),
)
"""Newest first; tried: 0.29.2 and 0.21.0."""


def interface_for(told: str) -> Interface:
    """The interface of the version that `headscale version` told; of a build without one, the newest.

    CheckError for a version whose interface nobody wrote down.
    """
    found = re.search(r"\d+(?:\.\d+)+", told)
    version = tuple(map(int, found.group().split("."))) if found else INTERFACES[0].since
    for one in INTERFACES:
        if version >= one.since and (one.until is None or version < one.until):
            return one
    spans = ", or ".join(one.span for one in INTERFACES)
    raise CheckError("provision", f"Headscale {'.'.join(map(str, version))} is not supported: take {spans}")


def interface_of(mesh: Mesh) -> Interface:
    """The interface of the Headscale that the control-plane node has."""
    return interface_for(reveal(mesh.published_by(mesh.testbed.control_plane.name, "headscale-version")))


def by_peer(mesh: Mesh) -> bool:
    """Whether a tailscaled on the relay node relays for the others (a peer relay); else DERP does."""
    return mesh.scenario.options.get("relay") == "peer"


def server_config(mesh: Mesh, node: Node) -> Config:
    """Headscale's config.yaml: no relay, no name server and no address outside the testbed."""
    return {
        "server_url": f"https://{written(mesh.addresses(node)[0], CONTROL_PORT)}",
        "listen_addr": f"[::]:{CONTROL_PORT}" if mesh.families else f"{node.underlay}:{CONTROL_PORT}",
        "tls_cert_path": f"{SERVER}/tls.crt",
        "tls_key_path": f"{SERVER}/tls.key",
        "metrics_listen_addr": "",
        "grpc_listen_addr": "127.0.0.1:50443",
        **interface_of(mesh).config(),
        "derp": {
            "server": {"enabled": False},
            "urls": [],
            "paths": [f"{SERVER}/derp.yaml"],
            "auto_update_enabled": False,
        },
        "unix_socket": f"{SERVER}/headscale.sock",
        "unix_socket_permission": "0700",
        "disable_check_updates": True,
        "log": {"level": "info", "format": "text"},
    }


def derp_map(mesh: Mesh) -> Config:
    """The one relay that clients may know; they trust its certificate because we hand it to them."""
    relay = mesh.testbed.relay
    node = {
        "name": f"{REGION}a",
        "regionid": REGION,
        "hostname": RELAY_NAME,
        "ipv4": str(relay.underlay),
        "ipv6": next((str(one) for one in mesh.addresses(relay) if one != relay.underlay), "none"),
        "stunport": STUN_PORT,
        "derpport": 443,
    }
    region = {"regionid": REGION, "regioncode": REGION_CODE, "regionname": REGION_CODE, "nodes": [node]}
    return {"regions": {REGION: region}}


def policy(mesh: Mesh) -> Config:
    """Who may reach whom: everyone everything (coarse), or members only what a cluster needs (granular).

    A peer relay needs a grant as well; only one node of the mesh offers to relay.
    """
    interface, granular = interface_of(mesh), mesh.scenario.options.get("access") == "granular"
    wanted = _granular(interface.nodes) if granular else COARSE
    if not by_peer(mesh):
        return wanted
    if not interface.grants:
        spans = ", or ".join(one.span for one in INTERFACES if one.grants)
        raise CheckError(
            "provision", f"this Headscale knows no grants, which a peer relay needs: take {spans}"
        )
    who = [interface.nodes]
    return {**wanted, "grants": [{"src": who, "dst": who, "app": {"tailscale.com/cap/relay": []}}]}


COARSE: Config = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}


def _granular(who: str) -> Config:
    return {
        "acls": [
            {"action": "accept", "proto": "udp", "src": [who], "dst": [f"{who}:{VXLAN_PORT}"]},
            {"action": "accept", "proto": "tcp", "src": [who], "dst": [f"{who}:6443,10250"]},
            {"action": "accept", "proto": "icmp", "src": [who], "dst": [f"{who}:*"]},
        ]
    }


def certificate(mesh: Mesh, node: Node) -> Fact[Plan]:
    """TLS, because a client that lost a plain HTTP connection insists on port 443 for the next two minutes."""
    return tls.certificate(SERVER, mesh.addresses(node))


def told(_mesh: Mesh, _node: Node) -> Fact[dict[str, Text]]:
    """What all others must know of the server: its certificate and its version."""
    question = Fact((Command(("headscale", "version")),), lambda completed: content(completed[0]))
    return both(tls.read_certificate(SERVER), question).map(
        lambda found: {**found[0], "headscale-version": found[1].splitlines()[0]}
    )


def server(mesh: Mesh, node: Node) -> Fact[Plan]:
    """Ensure that Headscale runs; where the policy is a file, it starts with one that lets everything pass."""
    files = (
        WriteFile(f"{SERVER}/derp.yaml", yaml.safe_dump(derp_map(mesh), sort_keys=False)),
        WriteFile(CONFIG, yaml.safe_dump(server_config(mesh, node), sort_keys=False)),
        *((WriteFile(POLICY, _text(COARSE)),) if interface_of(mesh).policy_file else ()),
    )
    ready = until("headscale", "-c", CONFIG, "users", "list", deadline_s=20)
    service = Service("headscale", ("headscale", "serve", "-c", CONFIG), files, ready=ready)
    return running(service, mesh.scenario)


def key(mesh: Mesh, _node: Node) -> Fact[Plan]:
    """Ensure that there is a key with which members join."""
    script = Command(("sh", "-ec", _MAKE_KEY, "sh", CONFIG, USER, interface_of(mesh).key_user, AUTH_KEY))
    return made(AUTH_KEY, script, "<a new key>")


def read_key(_mesh: Mesh, _node: Node) -> Fact[dict[str, Text]]:
    """The key itself."""
    question = Command(("cat", AUTH_KEY))
    return Fact((question,), lambda completed: {"auth-key": Secret(field_of(completed[0].stdout, "key"))})


def refused_key(mesh: Mesh, _node: Node) -> Fact[Plan]:
    """Ensure that there is a key that was taken back."""
    script = Command(("sh", "-ec", _MAKE_REFUSED, "sh", CONFIG, interface_of(mesh).key_user, REFUSED_KEY))
    return made(REFUSED_KEY, script, "<a key that is taken back>")


def read_refused_key(_mesh: Mesh, _node: Node) -> Fact[dict[str, Text]]:
    """That key, in the place of the valid one."""
    question = Command(("cat", REFUSED_KEY))
    return Fact((question,), lambda completed: {"auth-key": Secret(field_of(completed[0].stdout, "key"))})


def policy_set(mesh: Mesh, _node: Node) -> Fact[Plan]:
    """Ensure that Headscale holds the policy; it tells the clients at once, nothing restarts."""
    return held_policy(mesh, policy(mesh))


def access_policy(access: Access) -> Config:
    """A rule of ours as one of Headscale's; what no rule names is forbidden."""
    acls = []
    for rule in access.rules:
        source, destination = access.addresses[rule.source], access.addresses[rule.destination]
        acl: Config = {"action": "accept", "src": [str(source)], "dst": [f"{destination}:{rule.port or '*'}"]}
        acls.append(acl if rule.transport is None else {**acl, "proto": str(rule.transport)})
    return {"acls": acls}


def approved(mesh: Mesh, gateway: Gateway) -> Fact[Plan]:
    """Ensure that the member may be the way to its network."""
    key, wanted = str(mesh.published_by(gateway.member, "node-key")), str(gateway.network)

    def plan(completed: Sequence[Completed]) -> Plan:
        found = [one for one in records(answer(completed[0])) if one.get("node_key") == key]
        if not found:
            raise CheckError("provision", f"Headscale knows no node with {gateway.member}'s key")
        held = found[-1].get("approved_routes")
        if isinstance(held, list) and wanted in held:
            return Plan()
        number = str(found[-1].get("id"))
        approve = ("headscale", "-c", CONFIG, "nodes", "approve-routes", "-i", number, "-r", wanted)
        return Plan((Command(approve),), unified_diff("approved routes", str(held), wanted))

    return Fact((Command(("headscale", "-c", CONFIG, "nodes", "list", "-o", "json")),), plan)


def held_policy(mesh: Mesh, policy: Config) -> Fact[Plan]:
    """Ensure that Headscale holds that policy."""
    wanted = _text(policy)
    if interface_of(mesh).policy_file:
        ask = Command(("cat", POLICY), ok=(0, 1))
        tell = Command(("sh", "-c", _RELOAD, "sh", f"{RUN_DIRECTORY}/headscale.pid"))
    else:
        ask = Command(("headscale", "-c", CONFIG, "policy", "get"), ok=(0, 1))
        tell = Command(("headscale", "-c", CONFIG, "policy", "set", "-f", POLICY))

    def plan(completed: Sequence[Completed]) -> Plan:
        held = printed(completed[0])
        try:
            same = json.loads(held) == json.loads(wanted)
        except NO_JSON:
            same = False
        if same:
            return Plan()
        return Plan((WriteFile(POLICY, wanted), tell), unified_diff(POLICY, held, wanted))

    return Fact((ask,), plan)


def _text(wanted: Config) -> str:
    return json.dumps(wanted, indent=2)
