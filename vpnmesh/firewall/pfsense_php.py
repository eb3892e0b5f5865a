"""pfSense over SSH: one PHP script on stdin to `php`, which uses pfSense's own config functions and answers in JSON.

One script is one change: it takes pfSense's lock, removes and adds this run's objects in one `write_config`, loads
the rules and ends old states; a connection cut in mid-change cannot leave half of it. It needs a root shell.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vpnmesh.errors import ToolError, UnavailableError, readable
from vpnmesh.firewall.pfsense_config import ConfigEntry, PfsenseConfig
from vpnmesh.firewall.pfsense_objects import Alias, FloatingRule, Mark, PfsenseObjects, Schedule
from vpnmesh.firewall.policy import Action, Ruleset
from vpnmesh.model import Testbed

ARGV = ("php", "-q")
SECONDS = 120.0
"""What a change may take; a reload of a large ruleset takes tens of seconds."""

_PATHS = {
    "rules": "filter/rule",
    "aliases": "aliases/alias",
    "schedules": "schedules/schedule",
    "mappings": "nat/outbound/rule",
}

_SCRIPT = r"""<?php
require_once("config.inc"); require_once("util.inc"); require_once("filter.inc"); require_once("interfaces.inc");
$job = json_decode(base64_decode('@JOB@'), true);
$held = lock('vpnmesh', LOCK_EX);
function vpnmesh_list($path) {
  $found = config_get_path($path, []);
  return is_array($found) ? array_values($found) : [];
}
function vpnmesh_marked($item, $prefix) { return strpos($item['descr'] ?? '', $prefix) === 0; }
if ($job['write']) {
  foreach ($job['paths'] as $section => $path) {
    $before = vpnmesh_list($path);
    $after = array_values(array_filter($before, fn($item) => !vpnmesh_marked($item, $job['prefix'])));
    foreach ($job['objects'][$section] ?? [] as $item) {
      if ($section == 'rules') { $item['tracker'] = (string)(time() + count($after)); }
      if ($section == 'schedules') { $item['schedlabel'] = uniqid(); }
      $after[] = $item;
    }
    if ($after !== $before) { config_set_path($path, $after); $changed = true; }
  }
  if (!empty($changed) || $job['load']) {
    // whoever dies before the rules are loaded leaves this mark, which the next roll back sees
    mark_subsystem_dirty('filter');
    if (!empty($changed)) { write_config($job['why']); }
    filter_configure_sync();
    clear_subsystem_dirty('filter');
    foreach ($job['kill'] as $pair) {
      mwexec('/sbin/pfctl -k ' . escapeshellarg($pair[0]) . ' -k ' . escapeshellarg($pair[1]));
    }
  }
}
$answer = ['revision' => config_get_path('revision', []), 'mode' => config_get_path('nat/outbound/mode', 'automatic'),
  'pending' => is_subsystem_dirty('filter') || is_subsystem_dirty('aliases') || is_subsystem_dirty('natconf'),
  'time' => date('c'), 'sections' => []];
foreach ($job['paths'] as $section => $path) { $answer['sections'][$section] = vpnmesh_list($path); }
unlock($held);
echo "\nvpnmesh-answer " . base64_encode(json_encode($answer)) . "\n";
"""


@dataclass(frozen=True, slots=True)
class ScriptAnswer:
    """What the script said: the configuration, its revision, the firewall's clock (ISO 8601), pending changes."""

    held: PfsenseConfig
    revision: str
    time: str
    pending: bool


def observe_script() -> str:
    """The script that only reads."""
    return _script({"write": False, "load": False, "prefix": "", "objects": {}, "why": "", "kill": []})


def change_script(
    wanted: PfsenseObjects, ruleset: Ruleset, testbed: Testbed, mark: Mark, schedule: Schedule | None = None
) -> str:
    """The script that has pfSense hold exactly `wanted` of this run's objects, in one write.

    Raises UnavailableError for outbound NAT: how the versions store it differs, so it is left to REST and `manual`.
    """
    if wanted.mappings:
        raise UnavailableError(
            "outbound NAT over SSH is not supported; use the driver pfsense-rest or manual"
        )
    found: dict[str, list[dict[str, object]]] = {
        "schedules": [_schedule(schedule)] if schedule else [],
        "aliases": [_alias(alias) for alias in wanted.aliases],
        "rules": [_rule(rule) for rule in wanted.rules],
    }
    why = f"{mark.prefix} firewall policy {ruleset.name}"
    kill = list(dict.fromkeys(_old_states(ruleset, testbed)))
    job = {"write": True, "load": False, "prefix": mark.prefix, "objects": found, "why": why, "kill": kill}
    return _script(job)


def _old_states(ruleset: Ruleset, testbed: Testbed) -> Iterator[tuple[str, str]]:
    """Source and destination of the states that would carry what is now blocked."""
    nodes = [node for node in testbed.nodes if node != testbed.firewall]
    for rule in ruleset.rules:
        if rule.action is not Action.BLOCK:
            continue
        sources = [str(node.underlay) for node in nodes if node.leg.vid in rule.sources]
        named = [str(node.underlay) for node in nodes if node.leg.vid in rule.destinations]
        ends = named if rule.destinations else ["0.0.0.0/0"]
        yield from ((one, other) for one in sources for other in ends if one != other)


def roll_back_script(mark: Mark, *, load: bool = False) -> str:
    """The script that leaves nothing of this run; `load`: load the rules though nothing was there."""
    why = f"{mark.prefix} roll back"
    return _script(
        {"write": True, "load": load, "prefix": mark.prefix, "objects": {}, "why": why, "kill": []}
    )


def parse(stdout: str) -> ScriptAnswer:
    """The script's answer, whatever pfSense printed before it; ToolError when there is none."""
    line = next((one for one in stdout.splitlines() if one.startswith("vpnmesh-answer ")), None)
    if line is None:
        raise ToolError("php", f"no answer from pfSense: {stdout.strip()[-200:] or 'nothing printed'}")
    with readable("php"):
        return _answer(json.loads(base64.b64decode(line.split(" ", 1)[1])))


def _answer(answer: dict[str, Any]) -> ScriptAnswer:
    sections = {name: _entries(answer["sections"].get(name, [])) for name in _PATHS}
    held = PfsenseConfig(
        sections["rules"], sections["aliases"], sections["schedules"], sections["mappings"], answer["mode"]
    )
    revision = answer["revision"] or {}
    return ScriptAnswer(
        held,
        f"{revision.get('time', '?')} {revision.get('description', '')}".strip(),
        answer["time"],
        answer["pending"],
    )


def lines(wanted: PfsenseObjects) -> tuple[str, ...]:
    """The objects as `held_lines` reads them back."""
    found = [*(_alias(alias) for alias in wanted.aliases), *(_rule(rule) for rule in wanted.rules)]
    return tuple(json.dumps(one, sort_keys=True) for one in found)


def held_lines(held: PfsenseConfig, mark: Mark) -> tuple[str, ...]:
    """The aliases and rules of this run, without what pfSense adds."""
    found = [
        entry
        for section in (held.aliases, held.rules)
        for entry in section
        if entry.descr.startswith(mark.prefix)
    ]
    kept = ({key: value for key, value in entry.fields.items() if key != "tracker"} for entry in found)
    return tuple(json.dumps(one, sort_keys=True) for one in kept)


def _script(job: Mapping[str, object]) -> str:
    # base64 holds no quote, so nothing in the job can end the PHP string that it is in
    text = base64.b64encode(json.dumps({**job, "paths": _PATHS}).encode()).decode()
    return _SCRIPT.replace("@JOB@", text)


def _entries(items: list[dict[str, object]]) -> tuple[ConfigEntry, ...]:
    return tuple(
        ConfigEntry(place, str(item.get("descr", "")), json.dumps(item, sort_keys=True))
        for place, item in enumerate(items)
    )


def _alias(alias: Alias) -> dict[str, object]:
    addresses = " ".join(str(address) for address in alias.addresses)
    detail = "||" * (len(alias.addresses) - 1)
    return {"name": alias.name, "type": "host", "address": addresses, "descr": alias.descr, "detail": detail}


def _rule(rule: FloatingRule) -> dict[str, object]:
    item: dict[str, object] = {
        "type": str(rule.action),
        "floating": "yes",
        "quick": "yes",
        "direction": "in",
        "interface": ",".join(rule.interfaces),
        "ipprotocol": "inet46",
        "statetype": "keep state",
        "source": {"any": ""},
        "destination": _destination(rule),
        "descr": rule.descr,
    }
    item |= {"protocol": rule.protocol} if rule.protocol else {}
    return item | ({"sched": rule.schedule} if rule.schedule else {})


def _destination(rule: FloatingRule) -> dict[str, object]:
    if rule.destination == "!(self)":
        where: dict[str, object] = {"network": "(self)", "not": ""}
    elif rule.destination.startswith("vpnmesh_"):
        where = {"address": rule.destination}
    else:
        where = {"any": ""} if rule.destination == "any" else {"network": rule.destination}
    return where | ({"port": str(rule.port)} if rule.port else {})


def _schedule(schedule: Schedule) -> dict[str, object]:
    ranges = [
        {"month": str(one.month), "day": str(one.day), "hour": one.hours, "position": "", "rangedescr": ""}
        for one in schedule.ranges
    ]
    return {"name": schedule.name, "descr": schedule.descr, "timerange": ranges}
