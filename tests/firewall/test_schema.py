"""The API's schema as the stand-in judges by it: what is right passes, each kind of wrong call is refused."""

from typing import Any

import pytest

from tests.firewall.appliance import schema
from tests.pfsense_server.schema import RefusedError

JSON = "application/json"
FIREWALL = "/api/v2/firewall"
RULE = {"type": "block", "interface": ["lan"], "ipprotocol": "inet46", "source": "any", "destination": "any"}
ALIAS = {"name": "a", "type": "host", "address": ["192.0.2.1", "192.0.2.2"]}
RANGE = {"month": [2], "day": [29], "hour": "0:00-23:59"}
MAPPING = {"interface": "wan", "source": "192.0.2.0/24", "destination": "any", "target": "wan:ip"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{FIREWALL}/rule", RULE),
        ("POST", f"{FIREWALL}/alias", ALIAS),
        ("POST", f"{FIREWALL}/schedule", {"name": "s", "timerange": [RANGE]}),
        ("PATCH", f"{FIREWALL}/schedule", {"id": 0, "timerange": [RANGE]}),
        ("POST", f"{FIREWALL}/nat/outbound/mapping", MAPPING),
        ("POST", f"{FIREWALL}/apply", {"async": False}),
    ],
)
def test_right_calls_pass(method: str, path: str, body: dict[str, Any]) -> None:
    """The least that each call needs is enough; an alias may hold any number of addresses."""
    schema().check(method, path, {}, body, JSON)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{FIREWALL}/rule", {**RULE, "ipprotocol": "inet64"}),
        (f"{FIREWALL}/rule", {**RULE, "protocol": "sctp"}),
        (f"{FIREWALL}/rule", {**RULE, "interface": "lan"}),
        (f"{FIREWALL}/rule", {**RULE, "floating": "yes"}),
        (f"{FIREWALL}/rule", {**RULE, "descr": "d" * 1025}),
        (f"{FIREWALL}/rule", {**RULE, "description": "a key of another name"}),
        (f"{FIREWALL}/rule", {key: value for key, value in RULE.items() if key != "source"}),
        (f"{FIREWALL}/alias", {**ALIAS, "name": "a" * 32}),
        (f"{FIREWALL}/alias", {**ALIAS, "type": "url"}),
        (f"{FIREWALL}/alias", {"name": "a"}),
        (f"{FIREWALL}/schedule", {"name": "s"}),
        (f"{FIREWALL}/schedule", {"name": "s", "timerange": []}),
        (f"{FIREWALL}/schedule", {"name": "s", "timerange": [{**RANGE, "day": [32]}]}),
        (f"{FIREWALL}/schedule", {"name": "s", "timerange": [{**RANGE, "month": [13]}]}),
        (f"{FIREWALL}/schedule", {"name": "s", "timerange": [{"hour": "0:00-23:59"}]}),
        (f"{FIREWALL}/nat/outbound/mapping", {**MAPPING, "static_nat_port": "no"}),
        (f"{FIREWALL}/nat/outbound/mapping", {**MAPPING, "protocol": "sctp"}),
        (f"{FIREWALL}/nat/outbound/mapping", {**MAPPING, "target_subnet": 129}),
        (f"{FIREWALL}/nat/outbound/mapping", {"interface": "wan"}),
        ("/api/v2/diagnostics/command_prompt", {}),
        ("/api/v2/diagnostics/command_prompt", {"command": "c" * 1025}),
    ],
)
def test_wrong_bodies_are_refused(path: str, body: dict[str, Any]) -> None:
    """A value outside its list or limit, a wrong type, a missing key and a key that does not exist."""
    with pytest.raises(RefusedError):
        schema().check("POST", path, {}, body, JSON)


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("DELETE", f"{FIREWALL}/rule", {}),
        ("DELETE", f"{FIREWALL}/rules", {"description__startswith": "x"}),
        ("DELETE", f"{FIREWALL}/schedules", {"descr__begins": "x"}),
        ("GET", f"{FIREWALL}/states", {"limit": "many"}),
    ],
)
def test_wrong_queries_are_refused(method: str, path: str, query: dict[str, str]) -> None:
    """A missing id, a field or a filter that does not exist, a number that is none."""
    with pytest.raises(RefusedError):
        schema().check(method, path, query, None, "")
