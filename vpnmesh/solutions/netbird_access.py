"""What NetBird's management is asked while a mesh runs, for `vpnmesh.solutions.netbird`: rules, and keys taken back.

Source: shared/management/http/api of NetBird 0.77.1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vpnmesh.errors import CheckError
from vpnmesh.host.rest import Json, answer, asked, fields, records
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff
from vpnmesh.solutions import netbird_control as server
from vpnmesh.solutions.control import Access

REFUSED_KEY, REFUSED_NAME = f"{server.SERVER}/refused-key.json", "vpnmesh, taken back"


def member_groups(access: Access) -> Fact[Plan]:
    """Ensure a group for every member, with that one peer in it: rules name groups, not peers."""

    def plan(found: Sequence[object]) -> Plan:
        held = {str(one.get("name")): one for one in records(found[0])}
        peers = {str(one.get("ip")): str(one.get("id")) for one in records(found[1])}
        steps = []
        for name, address in access.addresses.items():
            peer, there = peers.get(str(address)), held.get(_alone(name))
            if peer is None:
                raise CheckError("provision", f"management knows no peer at {name}'s {address}")
            body: Json = {"name": _alone(name), "peers": [peer]}
            if there is None:
                steps.append(server.API.send("POST", "/api/groups", body))
            elif [str(one.get("id")) for one in records(there.get("peers"))] != [peer]:
                steps.append(server.API.send("PUT", f"/api/groups/{there.get('id')}", body))
        return Plan(tuple(steps), unified_diff("groups", "", "\n".join(access.addresses)) if steps else "")

    return asked(server.API, ("/api/groups", "/api/peers"), plan)


def _alone(member: str) -> str:
    return f"only {member}"


def access_policies(access: Access) -> Fact[Plan]:
    """Ensure exactly these rules; one of everything always holds in both directions, so such a pair is one policy."""

    def plan(found: Sequence[object]) -> Plan:
        groups = {str(one.get("name")): str(one.get("id")) for one in records(found[0])}
        return server.policy_plan(found[1], _access_policies(access, groups))

    return asked(server.API, ("/api/groups", "/api/policies"), plan)


def _access_policies(access: Access, groups: Mapping[str, str]) -> Iterator[Json]:
    rules = set(access.rules)
    for rule in access.rules:
        both = replace(rule, source=rule.destination, destination=rule.source) in rules
        if both and rule.source > rule.destination:
            continue
        name = f"{rule.source} {'and' if both else 'to'} {rule.destination} {rule.transport or 'all'} {rule.port or ''}"
        wanted: Json = {
            "name": name.strip(),
            "enabled": True,
            "action": "accept",
            "bidirectional": both,
            "protocol": str(rule.transport or "all"),
            "sources": [groups.get(_alone(rule.source), "")],
            "destinations": [groups.get(_alone(rule.destination), "")],
        }
        if rule.port is not None:
            wanted["ports"] = [str(rule.port)]
        yield {"name": name.strip(), "enabled": True, "rules": [wanted]}


def made_key() -> Fact[Plan]:
    """Ensure a setup key that is to be taken back; its text is shown once, in the answer that is kept."""
    return server.made_key(REFUSED_KEY, REFUSED_NAME)


def refused_key() -> Fact[Plan]:
    """Ensure that this key is taken back."""

    def plan(completed: Sequence[Completed]) -> Plan:
        number = str(fields(completed[1].stdout).get("id"))
        held = {str(one.get("id")): one for one in records(answer(completed[2]))}
        if held.get(number, {}).get("revoked") is True:
            return Plan()
        body: Json = {"revoked": True, "auto_groups": [server.group_id(answer(completed[0]))]}
        take_back = server.API.send("PUT", f"/api/setup-keys/{number}", body)
        return Plan((take_back,), unified_diff("refused key", "valid", "revoked"))

    return Fact(
        (server.API.get("/api/groups"), Command(("cat", REFUSED_KEY)), server.API.get("/api/setup-keys")),
        plan,
    )
