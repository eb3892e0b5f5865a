"""What the REST driver needs of an appliance's API, held against the schema that the appliance shows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from vpnmesh.firewall import pfsense_rest as rest
from vpnmesh.firewall.pfsense_objects import Alias, FloatingRule, NatMapping
from vpnmesh.firewall.policy import Action

SCHEMA = "/api/v2/schema/openapi"
PACKAGE_READ = "2.9.0"
"""The version of pfSense-pkg-RESTAPI whose source the driver follows."""
_ALIAS = Alias("a", (IPv4Address("192.0.2.1"),), "d")
_RULE = FloatingRule(Action.BLOCK, ("a", "b"), "udp", "any", 53, "d", "s")
_MAPPING = NatMapping("a", "192.0.2.0/24", keeps_port=True, descr="d")


@dataclass(frozen=True, slots=True)
class RequiredCall:
    """A call with the keys that its body has; without it `loss` is what cannot be done, empty = nothing works."""

    method: str
    path: str
    keys: frozenset[str] = frozenset()
    loss: str = ""


def required_calls() -> tuple[RequiredCall, ...]:
    """Every call that the driver makes."""
    expiry, nat = "rules cannot end by themselves", "no NAT policies"
    return (
        RequiredCall("GET", rest.RULES),
        RequiredCall("DELETE", rest.RULES),
        RequiredCall("POST", rest.RULE, frozenset(rest.rule_body(_RULE))),
        RequiredCall("GET", rest.ALIASES),
        RequiredCall("DELETE", rest.ALIASES),
        RequiredCall("POST", rest.ALIAS, frozenset(rest.alias_body(_ALIAS))),
        RequiredCall("GET", rest.APPLY),
        RequiredCall("POST", rest.APPLY),
        RequiredCall("DELETE", rest.STATES),
        RequiredCall(
            "POST",
            rest.COMMAND,
            frozenset({"command"}),
            "loaded rules cannot be listed (optional, root's power)",
        ),
        RequiredCall("GET", rest.SCHEDULES, loss=expiry),
        RequiredCall("POST", rest.SCHEDULE, frozenset({"name", "descr", "timerange"}), expiry),
        RequiredCall("PATCH", rest.SCHEDULE, frozenset({"timerange"}), expiry),
        RequiredCall("DELETE", rest.SCHEDULES, loss=expiry),
        RequiredCall("GET", rest.TIMEZONE, loss=expiry),
        RequiredCall("GET", rest.MAPPINGS, loss=nat),
        RequiredCall("POST", rest.MAPPING, frozenset(rest.mapping_body(_MAPPING)), nat),
        RequiredCall("DELETE", rest.MAPPINGS, loss=nat),
        RequiredCall("GET", rest.NAT_MODE, loss=nat),
        RequiredCall("GET", rest.VERSION, loss="the version cannot be recorded"),
        RequiredCall("GET", rest.PACKAGE, loss="the package's version cannot be compared"),
        RequiredCall("GET", rest.REVISIONS, loss="the revision is recorded as a digest alone"),
    )


def privileges() -> tuple[str, ...]:
    """The least privileges of the API's user, as pfSense's user manager lists them."""
    return tuple(rest.Request(need.method, need.path).privilege for need in required_calls())


@dataclass(frozen=True, slots=True)
class ApiGap:
    """What an appliance's API has not; `fatal` when the driver cannot work without it."""

    text: str
    fatal: bool


def api_gaps(document: Mapping[str, object]) -> tuple[ApiGap, ...]:
    """What the driver needs and the OpenAPI document does not have, the fatal first."""
    found = [lack for need in required_calls() for lack in _gaps(document, need)]
    return tuple(sorted(found, key=lambda lack: not lack.fatal))


def package_gap(version: str) -> ApiGap | None:
    """What is to be said of the REST API package's version (`v2.9.0`); None when it is the one that was read."""
    found = version.removeprefix("v")
    if found == PACKAGE_READ:
        return None
    if not found[:1].isdigit():
        return ApiGap(f"the package's version is unknown; this driver follows {PACKAGE_READ}", fatal=False)
    other = found.split(".")[0] != PACKAGE_READ.split(".", maxsplit=1)[0]
    words = "wrong package version" if other else "another package version"
    return ApiGap(f"{words}: {found} is there, this driver follows {PACKAGE_READ}", fatal=other)


def _gaps(document: Mapping[str, object], need: RequiredCall) -> Iterator[ApiGap]:
    call = f"{need.method} {need.path}"
    loss = f": {need.loss}" if need.loss else ""
    operation = _get(document, "paths", need.path, need.method.lower())
    if not operation:
        yield ApiGap(f"no {call}{loss}", fatal=not need.loss)
        return
    if not need.keys:
        return
    body = _get(operation, "requestBody", "content", "application/json", "schema")
    known = frozenset(_properties(document, body))
    for key in sorted(need.keys - known):
        yield ApiGap(f"{call} knows no '{key}'{loss}", fatal=not need.loss)


def _properties(document: Mapping[str, object], schema: object) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    if reference := schema.get("$ref"):
        yield from _properties(document, _get(document, *str(reference).removeprefix("#/").split("/")))
    yield from schema.get("properties", {})
    for part in schema.get("allOf", []):
        yield from _properties(document, part)


def _get(node: object, *keys: str) -> Mapping[str, object]:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}
