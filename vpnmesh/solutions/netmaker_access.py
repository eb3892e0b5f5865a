"""What Netmaker's server is asked while a mesh runs, for `vpnmesh.solutions.netmaker`: rules, keys, networks behind.

Rules are made by a user, not by the master key. The community edition refuses a rule of one direction ("uni traffic
flow not allowed on CE") and holds none of protocols and ports: it only tells a member which others are its peers
(`CheckIfAnyPolicyisUniDirectional` in logic/acls.go of Netmaker 1.4.0, which is always false there). Such rules are
made all the same, both ways, so that packets show what comes of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vpnmesh.errors import CheckError
from vpnmesh.host.rest import Json, RestApi, answer, asked, fields, records
from vpnmesh.host.service import made
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, unified_diff
from vpnmesh.solutions import netmaker_control as server
from vpnmesh.solutions.control import Access, Gateway

ACLS = f"/api/v1/acls?network={server.NETWORK}"
EGRESS = f"/api/v1/egress?network={server.NETWORK}"
DEFAULT = f"{server.NETWORK}.all-nodes"
"""The policy that every network is made with: all of its nodes may reach each other."""
PREFIX = "vpnmesh: "
"""What the names of our policies begin with."""
METRIC = 256
REFUSED_KEY = f"{server.SERVER}/refused-key.json"
OWNER = RestApi(server.API.url, f"{server.SERVER}/owner-header")
BOTH_WAYS = 1

# constant scripts; the password is made on the node, used by two calls, and kept by nobody
_MAKE_OWNER = """
umask 077
password=$(head -c 24 /dev/urandom | base64 | tr -d '+/=')
body='{"username":"owner","password":"%s"}'
send() { printf "$body" "$password" | curl -sSf --max-time 20 -X POST -H 'Content-Type: application/json' \\
  --data-binary @- "$1"; }
send "$1/api/users/adm/createsuperadmin" > /dev/null
send "$1/api/users/adm/authenticate" | sed -n 's/.*"AuthToken":"\\([^"]*\\)".*/Authorization: Bearer \\1/p' > "$2.new"
test -s "$2.new" && mv "$2.new" "$2"
"""
_TAKE_BACK = """
value=$(sed -n 's/.*"value":"\\([^"]*\\)".*/\\1/p' "$2")
printf 'url = "%s/api/v1/enrollment-keys/%s"\\n' "$1" "$value" | curl -sSf --max-time 5 -X DELETE -H "@$3" -K -
"""


def owner() -> Fact[Plan]:
    """Ensure a user with a token of twelve hours: the server asks for one before it makes a policy."""
    script = Command(("sh", "-ec", _MAKE_OWNER, "sh", OWNER.url, OWNER.header_file), timeout_s=45)
    return made(OWNER.header_file, script, "<a new owner and token>")


def policies(access: Access | None) -> Fact[Plan]:
    """Ensure exactly these rules, or the network's default without any; members are told by the broker.

    The default decides as long as it is there, so it is changed last.
    """
    questions = (server.API.get("/api/hosts"), server.API.get(server.NODES), server.API.get(ACLS))

    def plan(completed: Sequence[Completed]) -> Plan:
        hosts, nodes, acls = map(answer, completed)
        held = {str(one.get("name")): one for one in _response(acls)}
        wanted = {} if access is None else dict(_wanted(access, server.node_ids(hosts, nodes)))
        stale = [str(one.get("id")) for name, one in held.items() if _is_ours(name) and name not in wanted]
        steps = [OWNER.send("POST", "/api/v1/acls", one) for name, one in wanted.items() if name not in held]
        steps += [server.API.send("DELETE", f"/api/v1/acls?acl_id={number}") for number in stale]
        default = next((one for one in held.values() if one.get("id") == DEFAULT), {})
        if default.get("enabled") is not (access is None):
            body = {**default, "id": DEFAULT, "enabled": access is None}
            steps.append(server.API.send("PUT", "/api/v1/acls", body))
        before = [name for name in held if _is_ours(name)]
        after = [*wanted, *(["all nodes"] if access is None else [])]
        return Plan(
            tuple(steps), unified_diff("policies", "\n".join(before), "\n".join(after)) if steps else ""
        )

    return Fact(questions, plan)


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX)


def _response(found: object) -> list[Json]:
    """What is inside of an answer of the newer paths."""
    return records(found.get("Response")) if isinstance(found, dict) else []


def _wanted(access: Access, ids: Mapping[str, str]) -> Iterator[tuple[str, Json]]:
    """A policy for each pair, since there are none but both ways."""
    rules = set(access.rules)
    for rule in access.rules:
        there_and_back = replace(rule, source=rule.destination, destination=rule.source) in rules
        if there_and_back and rule.source > rule.destination:
            continue
        kind = f"{rule.transport or 'all'} {rule.port or ''}".strip()
        name = f"{PREFIX}{rule.source} and {rule.destination} {kind}"
        yield (
            name,
            {
                "name": name,
                "network_id": server.NETWORK,
                "policy_type": "device-policy",
                "src_type": [_device(rule.source, ids)],
                "dst_type": [_device(rule.destination, ids)],
                "protocol": str(rule.transport or "all"),
                "type": "Custom" if rule.transport else "Any",
                "ports": [str(rule.port)] if rule.port is not None else [],
                "allowed_traffic_direction": BOTH_WAYS,
                "enabled": True,
            },
        )


def _device(member: str, ids: Mapping[str, str]) -> Json:
    if member not in ids:
        raise CheckError("provision", f"the server knows no node of {member}")
    return {"id": "device", "value": ids[member]}


def egress(gateway: Gateway) -> Fact[Plan]:
    """Ensure that the member is the way to the network behind it, which all others are told."""

    def plan(found: Sequence[object]) -> Plan:
        ids, there = server.node_ids(found[0], found[1]), _response(found[2])
        node = ids.get(gateway.member, f"<{gateway.member}'s id>")
        wanted = str(gateway.network)
        for one in there:
            nodes = one.get("nodes")
            if one.get("range") == wanted and isinstance(nodes, dict) and node in nodes:
                return Plan()
        body: Json = {
            "name": wanted,
            "network": server.NETWORK,
            "range": wanted,
            "nodes": {node: METRIC},
            "nat": False,
            "status": True,
        }
        diff = unified_diff("egress", "", f"{wanted} by {gateway.member}")
        return Plan((server.API.send("POST", "/api/v1/egress", body),), diff)

    return asked(server.API, ("/api/hosts", server.NODES, EGRESS), plan)


def refused_key(member: str) -> Fact[Plan]:
    """Ensure a key that is to be taken back."""
    post = server.API.send(
        "POST", "/api/v1/enrollment-keys", server.key_body(f"taken-back {member}"), save=REFUSED_KEY
    )
    return made(REFUSED_KEY, post, "<a new key>")


def taken_back() -> Fact[Plan]:
    """Ensure that the server knows it no more; its value is on no command line, which it still opens then."""
    take = Command(("sh", "-ec", _TAKE_BACK, "sh", server.API.url, REFUSED_KEY, server.API.header_file))

    def plan(completed: Sequence[Completed]) -> Plan:
        value = fields(completed[0].stdout).get("value")
        known = [one.get("value") for one in records(answer(completed[1]))]
        return Plan((take,), unified_diff("refused key", "valid", "taken back")) if value in known else Plan()

    return Fact((Command(("cat", REFUSED_KEY)), server.API.get("/api/v1/enrollment-keys")), plan)


def read_refused_key(member: str) -> Fact[dict[str, Text]]:
    """The key, in the place of the valid one."""
    question = Command(("cat", REFUSED_KEY))
    return Fact(
        (question,), lambda found: {server.token_of(member): Secret(server.token_in(found[0].stdout))}
    )
