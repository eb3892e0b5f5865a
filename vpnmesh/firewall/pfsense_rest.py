"""pfSense through its REST API v2: what to ask, what to write and in which order, as values; no connection here.

The shapes follow pfSense-pkg-RESTAPI 2.x. Ids are array indexes that shift with every deletion, so our objects are
found by their description alone; deletions go by query; nothing is ever replaced as a whole.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from vpnmesh.errors import CheckError
from vpnmesh.firewall.pfsense_config import ConfigEntry, PfsenseConfig
from vpnmesh.firewall.pfsense_objects import (
    PREFIX,
    Alias,
    FloatingRule,
    Mark,
    NatMapping,
    PfsenseObjects,
    Schedule,
)
from vpnmesh.firewall.policy import Action

API = "/api/v2"
RULE, RULES = f"{API}/firewall/rule", f"{API}/firewall/rules"
ALIAS, ALIASES = f"{API}/firewall/alias", f"{API}/firewall/aliases"
APPLY, STATES = f"{API}/firewall/apply", f"{API}/firewall/states"
COMMAND = f"{API}/diagnostics/command_prompt"
# the paths below follow the package's source, not its published schema; tried only on our own stand-in
SCHEDULE, SCHEDULES = f"{API}/firewall/schedule", f"{API}/firewall/schedules"
MAPPING, MAPPINGS = f"{API}/firewall/nat/outbound/mapping", f"{API}/firewall/nat/outbound/mappings"
NAT_MODE = f"{API}/firewall/nat/outbound/mode"
VERSION, TIMEZONE = f"{API}/system/version", f"{API}/system/timezone"
PACKAGE, REVISIONS = f"{API}/system/restapi/version", f"{API}/diagnostics/config_history/revisions"
PUBLISHED = (RULE, RULES, ALIAS, ALIASES, APPLY, STATES, COMMAND)
FROM_SOURCE = (
    *(SCHEDULE, SCHEDULES, MAPPING, MAPPINGS, NAT_MODE),
    *(VERSION, TIMEZONE, PACKAGE, REVISIONS),
)

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the API; `why` is what messages call it."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Json | None = None
    why: str = ""

    @property
    def writes(self) -> bool:
        """Whether the call may change the firewall."""
        return self.method != "GET"

    @property
    def privilege(self) -> str:
        """The least privilege that allows it, as pfSense's user manager lists it."""
        return self.path.removeprefix("/").replace("/", "-").replace("_", "-") + f"-{self.method.lower()}"


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """Calls in order, and the difference they make; falsy when the firewall is as wanted."""

    requests: tuple[Request, ...] = ()
    diff: str = ""
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.requests)


OBSERVE = (Request("GET", RULES, why="read the rules"), Request("GET", ALIASES, why="read the aliases"))
OBSERVE_BEYOND = (
    Request("GET", SCHEDULES, why="read the schedules"),
    Request("GET", MAPPINGS, why="read the outbound NAT"),
    Request("GET", NAT_MODE, why="read the outbound NAT mode"),
)
# the answer comes when the rules are loaded; asked asynchronously it says nothing
APPLY_NOW = Request("POST", APPLY, body={"async": False}, why="load the rules")
APPLIED = Request("GET", APPLY, why="see whether changes are pending")


def entries(data: object) -> tuple[ConfigEntry, ...]:
    """The `data` of a plural GET as entries."""
    items = data if isinstance(data, list) else []
    return tuple(_entry(item) for item in items if isinstance(item, dict))


def _entry(item: dict[str, object]) -> ConfigEntry:
    fields = {key: value for key, value in item.items() if key not in ("id", "active")}
    return ConfigEntry(
        int(str(item.get("id", -1))), str(item.get("descr", "")), json.dumps(fields, sort_keys=True)
    )


def plan(
    held: PfsenseConfig, wanted: PfsenseObjects, mark: Mark, schedule: Schedule | None = None
) -> ChangePlan:
    """The calls that make the firewall hold exactly `wanted` of this run's objects, and nothing else differ.

    Raises CheckError when another run's objects are there, or when a foreign rule above would decide before ours.
    """
    check_alone(held, mark)
    if problems := conflicts(held, wanted):
        raise CheckError("firewall", "; ".join(problems))
    before, after = _describe_held(held, mark), _describe(wanted)
    if before == after:
        return ChangePlan()
    diff = "\n".join(difflib.unified_diff(before, after, "firewall", "firewall", lineterm=""))
    if not after:
        return ChangePlan(roll_back(held, mark), diff)
    make = [post_schedule(schedule)] if schedule and not _of(held.schedules, mark) else []
    # making a schedule loads the rules at once, so it comes before anything is pending
    make += _deletions(held, mark, schedules=False)
    make += [_post_alias(alias) for alias in wanted.aliases]
    make += [_post_rule(rule) for rule in wanted.rules]
    make += [_post_mapping(mapping) for mapping in wanted.mappings]
    return ChangePlan((*make, APPLY_NOW), diff)


def roll_back(held: PfsenseConfig, mark: Mark) -> tuple[Request, ...]:
    """The calls that leave nothing of this run: rules before the aliases and the schedule that they name."""
    rules = [*_deletions(held, mark, aliases=False, schedules=False)]
    rest = [*_deletions(held, mark, rules=False)]
    return (*rules, *([APPLY_NOW] if rules else ()), *rest, *([APPLY_NOW] if rest else ()))


def newest_revision(data: object) -> str:
    """The newest entry of the configuration history, as `seconds description`; empty when there is none."""
    found = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    newest = max(found, key=lambda one: int(str(one.get("time") or 0)), default=None)
    return f"{newest.get('time')} {newest.get('description', '')}".strip() if newest else ""


def check_alone(held: PfsenseConfig, mark: Mark) -> None:
    """One writer per firewall: CheckError when objects of another run are there."""
    others = {entry.descr.removeprefix(PREFIX).split(":")[0] for _, entry in held.marked(PREFIX)} - {mark.run}
    if others:
        run = min(others)
        raise CheckError(
            "firewall",
            f"run {run} holds this firewall; wait for it, or: python -m workflows.teardown --run {run}",
        )


def check_held(held: PfsenseConfig, wanted: PfsenseObjects, mark: Mark) -> None:
    """After a change: CheckError unless the firewall has exactly our objects, in order, none disabled."""
    before, after = _describe_held(held, mark), _describe(wanted)
    if before != after:
        missing = [line for line in after if line not in before] or ["their order"]
        raise CheckError("firewall", f"after the change the firewall lacks: {missing[0]}")
    check_alone(held, mark)


def conflicts(held: PfsenseConfig, wanted: PfsenseObjects) -> tuple[str, ...]:
    """Foreign floating quick rules and outbound mappings that would decide a packet before ours, and otherwise."""
    found = []
    for entry in held.rules:
        if entry.descr.startswith(PREFIX):
            continue
        fields = entry.fields
        if fields.get("disabled") or not (fields.get("floating") and fields.get("quick")):
            continue
        if rule := next((rule for rule in wanted.rules if _overlap(fields, rule)), None):
            found.append(
                f"the foreign floating rule '{entry.descr or entry.place}' ({fields.get('type')}) stands above"
                f" '{rule.descr}' ({rule.action}) and decides first: move it down or disable it"
            )
    return (*found, *_mapping_conflicts(held, wanted))


def _mapping_conflicts(held: PfsenseConfig, wanted: PfsenseObjects) -> Iterator[str]:
    """The first mapping that fits translates, and the foreign ones come first."""
    for entry in held.mappings or ():
        fields = entry.fields
        if entry.descr.startswith(PREFIX) or fields.get("disabled"):
            continue
        for mapping in wanted.mappings:
            if fields.get("interface") == mapping.interface and _same_source(fields.get("source"), mapping):
                yield (
                    f"the foreign outbound mapping '{entry.descr or entry.place}' stands above '{mapping.descr}'"
                    " and translates first: disable it"
                )
                break


def _same_source(source: object, mapping: NatMapping) -> bool:
    """Whether one packet may come from both; a name that cannot be judged here counts."""
    try:
        return ip_network(str(source)).overlaps(ip_network(mapping.source))
    except (ValueError, TypeError):
        return True


def _overlap(fields: Json, rule: FloatingRule) -> bool:
    """Whether both can match one packet and disagree; a narrower foreign address counts, for it may be a node's."""
    interfaces = fields.get("interface")
    shared = set(interfaces if isinstance(interfaces, list) else [str(interfaces)]) & {
        *rule.interfaces,
        "any",
    }
    protocols = str(fields.get("protocol") or "any").split("/")
    same_protocol = "any" in protocols or rule.protocol is None or rule.protocol in protocols
    action = Action.PASS if fields.get("type") == "pass" else Action.BLOCK
    return bool(shared) and same_protocol and fields.get("direction") != "out" and action is not rule.action


def post_schedule(schedule: Schedule) -> Request:
    """Make the schedule; unlike rules it counts at once."""
    return Request(
        "POST",
        SCHEDULE,
        body={"name": schedule.name, "descr": schedule.descr, **_ranges(schedule)},
        why="make the schedule",
    )


def patch_schedule(place: int, schedule: Schedule) -> Request:
    """Let the rules hold longer; `place` is the schedule's id right now."""
    return Request("PATCH", SCHEDULE, body={"id": place, **_ranges(schedule)}, why="renew the schedule")


def _ranges(schedule: Schedule) -> dict[str, object]:
    ranges = [{"month": [one.month], "day": [one.day], "hour": one.hours} for one in schedule.ranges]
    return {"timerange": ranges}


def _post_alias(alias: Alias) -> Request:
    return Request("POST", ALIAS, body=alias_body(alias), why=f"make {alias.descr}")


def alias_body(alias: Alias) -> dict[str, object]:
    """The alias as the API wants it; `detail` is given, or pfSense writes the time of day into it."""
    addresses = [str(address) for address in alias.addresses]
    return {
        "name": alias.name,
        "type": "host",
        "descr": alias.descr,
        "address": addresses,
        "detail": ["" for _ in addresses],
    }


def _post_rule(rule: FloatingRule) -> Request:
    return Request("POST", RULE, body=rule_body(rule), why=f"make {rule.descr}")


def rule_body(rule: FloatingRule) -> dict[str, object]:
    """The rule as the API wants it."""
    body: dict[str, object] = {
        "type": str(rule.action),
        "interface": list(rule.interfaces),
        # an alias of IPv4 hosts cannot be matched by IPv6
        "ipprotocol": "inet46",
        "source": "any",
        "destination": rule.destination,
        "descr": rule.descr,
        "floating": True,
        "quick": True,
        "direction": "in",
    }
    # left out, not null: the schema lists no null among the protocols
    if rule.protocol:
        body["protocol"] = rule.protocol
    if rule.port:
        body["destination_port"] = str(rule.port)
    if rule.schedule:
        body["sched"] = rule.schedule
    return body


def _post_mapping(mapping: NatMapping) -> Request:
    return Request("POST", MAPPING, body=mapping_body(mapping), why=f"make {mapping.descr}")


def mapping_body(mapping: NatMapping) -> dict[str, object]:
    """The outbound NAT mapping as the API wants it; a kept (static) port is what makes it endpoint-independent."""
    return {
        "interface": mapping.interface,
        "source": mapping.source,
        "destination": "any",
        "target": f"{mapping.interface}:ip",
        "static_nat_port": mapping.keeps_port,
        "descr": mapping.descr,
    }


def _deletions(
    held: PfsenseConfig, mark: Mark, *, rules: bool = True, aliases: bool = True, schedules: bool = True
) -> Iterable[Request]:
    asked = (
        (rules, RULES, held.rules),
        (rules, MAPPINGS, held.mappings),
        (aliases, ALIASES, held.aliases),
        (schedules, SCHEDULES, held.schedules),
    )
    for wanted, path, found in asked:
        if wanted and _of(found, mark):
            yield Request("DELETE", path, (("descr__startswith", mark.prefix),), why=f"delete {mark.prefix}*")


def _of(found: Sequence[ConfigEntry] | None, mark: Mark) -> list[ConfigEntry]:
    return [entry for entry in found or () if entry.descr.startswith(mark.prefix)]


def _describe(wanted: PfsenseObjects) -> list[str]:
    bodies = [alias_body(alias) for alias in wanted.aliases]
    bodies += [rule_body(rule) for rule in wanted.rules]
    bodies += [mapping_body(mapping) for mapping in wanted.mappings]
    return [_line(body) for body in bodies]


def _describe_held(held: PfsenseConfig, mark: Mark) -> list[str]:
    found = (*_of(held.aliases, mark), *_of(held.rules, mark), *_of(held.mappings, mark))
    return [_line(entry.fields) for entry in found]


_TOLD = (
    "type",
    "interface",
    "ipprotocol",
    "protocol",
    "source",
    "destination",
    "destination_port",
    "direction",
)
_TOLD_TOO = ("floating", "quick", "disabled", "sched", "address", "target", "static_nat_port")


def _line(fields: Json) -> str:
    """An object in one line: what a change decides, and nothing that pfSense adds (tracker, times, users)."""
    told = [
        f"{key}={_word(fields[key])}"
        for key in (*_TOLD, *_TOLD_TOO)
        if fields.get(key) not in (None, False, "")
    ]
    return f"{fields.get('descr')}: {' '.join(told)}"


def _word(value: object) -> str:
    return ",".join(sorted(str(one) for one in value)) if isinstance(value, list) else str(value)
