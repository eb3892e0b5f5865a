"""The ruleset as nftables on a Linux router: one table of our own, nobody else's touched.

A drop in any base chain is final, so nothing that another table accepts can let a blocked packet pass. The rules
hang behind a set of interfaces whose elements expire in the kernel: when the controller is gone for good, the
testbed is open again by itself. A change takes effect in one transaction.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vpnmesh.firewall.policy import Action, Nat, Policy, Rule, Ruleset, Translation, resolve
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Step, unified_diff

TABLE = "vpnmesh"
LIFETIME_S = 6 * 3600
"""How long rules hold without being renewed, in seconds; a policy is renewed once half of that has gone."""

# constant script: the table and the prefixes whose connections were tracked are its arguments
_TAKE_BACK = """
table="$1"; shift
tracked=$(nft list table inet "$table" 2> /dev/null | grep -c 'ct state')
nft delete table inet "$table" 2> /dev/null
[ "$tracked" = 0 ] || for prefix in "$@"; do conntrack -D -s "$prefix"; done > /dev/null 2>&1
true
"""
_LIST = ("nft", "-j", "list", "table", "inet", TABLE)
_REPLIES = "    ct state established,related ct direction reply counter accept"
_REPLIES_LINE = "pass replies"
_VERDICTS = {Action.PASS: "accept", Action.BLOCK: "drop"}
_MASQUERADE = {
    Nat.ENDPOINT_INDEPENDENT: "masquerade persistent",
    Nat.SYMMETRIC: "masquerade random,fully-random",
}
_FLAGS = {Nat.ENDPOINT_INDEPENDENT: ["persistent"], Nat.SYMMETRIC: ["fully-random", "random"]}


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """What the kernel holds: rules as lines in order, and the seconds that each armed interface has left."""

    lines: tuple[str, ...] = ()
    armed: tuple[tuple[str, int], ...] = ()

    def alive(self, interfaces: Iterable[str], seconds: int) -> bool:
        """Whether exactly these interfaces are armed, each for at least that long."""
        return {name for name, _ in self.armed} == set(interfaces) and all(
            left >= seconds for _, left in self.armed
        )


def set_policy(policy: Policy, testbed: Testbed, lifetime_s: int = LIFETIME_S) -> Fact[Plan]:
    """Make the firewall hold exactly this policy for `lifetime_s` seconds; `allow-all` leaves no table at all."""
    wanted = resolve(policy, testbed)
    return held().map(lambda found: plan(found, wanted, testbed, lifetime_s))


def is_linux_router(driver: object) -> bool:
    """Whether a host's `firewall_driver` means a Linux router; without one it does."""
    return driver in (None, "", "nftables")


def taken_back(testbed: Testbed) -> tuple[Step, ...]:
    """What removes our table, whatever is in it."""
    prefixes = (str(testbed.vlan(leg.vid).prefix) for leg in testbed.firewall.legs)
    return (Command(("sh", "-c", _TAKE_BACK, "sh", TABLE, *prefixes)),)


def held() -> Fact[LoadedRules]:
    """What the kernel holds in our table; rules that are none of our shapes show as `foreign rule`."""

    def parse(completed: Sequence[Completed]) -> LoadedRules:
        listing = completed[0]
        return _read(listing.stdout) if listing.exit_code == 0 else LoadedRules()

    return Fact((Command(_LIST, ok=(0, 1)),), parse)


def render(ruleset: Ruleset, testbed: Testbed, lifetime_s: int = LIFETIME_S) -> str:
    """The script for `nft -f -`: the table is made anew in one transaction, or only removed."""
    head = f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"
    if not ruleset:
        return head
    sources = _armed(ruleset, testbed)
    elements = ", ".join(f'"{name}" timeout {lifetime_s}s' for name in sources)
    armed = f"  set armed {{\n    type ifname\n    flags timeout\n    elements = {{ {elements} }}\n  }}"
    chains = [armed, _chain("forward", "type filter hook forward priority -10; policy accept;", "verdicts")]
    replies = (_REPLIES,) if ruleset.stateful else ()
    verdicts = (*replies, *(f"    {_rule(rule, testbed)}" for rule in ruleset.rules))
    chains.append("  chain verdicts {\n" + "\n".join(verdicts) + "\n  }")
    if ruleset.translations:
        chains.append(_chain("nat", "type nat hook postrouting priority 100; policy accept;", "translations"))
        lines = (f"    {_translation(one, testbed)}" for one in ruleset.translations)
        chains.append("  chain translations {\n" + "\n".join(lines) + "\n  }")
    return f"{head}table inet {TABLE} {{\n" + "\n".join(_callees_first(chains)) + "\n}\n"


def _callees_first(chains: list[str]) -> list[str]:
    """A chain must come before the one that jumps to it."""
    return sorted(chains, key=lambda text: "hook" in text)


def _chain(name: str, hook: str, callee: str) -> str:
    return f"  chain {name} {{\n    {hook}\n    iifname @armed jump {callee}\n  }}"


def plan(found: LoadedRules, wanted: Ruleset, testbed: Testbed, lifetime_s: int = LIFETIME_S) -> Plan:
    """The change from what the kernel holds to the ruleset: one transaction, a renewal, or nothing."""
    lines, sources = _lines(wanted, testbed), _armed(wanted, testbed)
    same = found.lines == lines
    if same and (not wanted or found.alive(sources, lifetime_s // 2)):
        return Plan()
    if same:
        return Plan(
            (_renewal(sources, lifetime_s),), f"firewall policy {wanted.name}: renewed for {lifetime_s} s"
        )
    diff = unified_diff("firewall policy", "\n".join(found.lines), "\n".join(lines))
    tracked = wanted.stateful or _REPLIES_LINE in found.lines
    forget = _forget(testbed) if tracked else ()
    return Plan((Command(("nft", "-f", "-"), stdin=render(wanted, testbed, lifetime_s)), *forget), diff)


def _renewal(sources: Sequence[str], lifetime_s: int) -> Command:
    elements = ", ".join(f'"{name}" timeout {lifetime_s}s' for name in sources)
    script = f"flush set inet {TABLE} armed\nadd element inet {TABLE} armed {{ {elements} }}\n"
    return Command(("nft", "-f", "-"), stdin=script)


def _forget(testbed: Testbed) -> tuple[Command, ...]:
    """Tracked connections outlive rules and translations: forget those of the testbed's VLANs (1 = there were none)."""
    prefixes = [testbed.vlan(leg.vid).prefix for leg in testbed.firewall.legs]
    return tuple(Command(("conntrack", "-D", "-s", str(prefix)), ok=(0, 1)) for prefix in prefixes)


def _interfaces(vids: Iterable[int], testbed: Testbed) -> tuple[str, ...]:
    return tuple(sorted(leg.interface for leg in testbed.firewall.legs if leg.vid in set(vids)))


def _armed(ruleset: Ruleset, testbed: Testbed) -> tuple[str, ...]:
    vids = {vid for rule in ruleset.rules for vid in rule.sources} | {one.vid for one in ruleset.translations}
    return _interfaces(vids, testbed)


def _names(names: Sequence[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


def _rule(rule: Rule, testbed: Testbed) -> str:
    words = [f"iifname {_names(_interfaces(rule.sources, testbed))}"]
    if rule.destinations:
        words.append(f"oifname {_names(_interfaces(rule.destinations, testbed))}")
    if rule.hosts:
        words.append("ip daddr { " + ", ".join(str(host) for host in rule.hosts) + " }")
    if rule.protocol and rule.port:
        words.append(f"{rule.protocol} dport {rule.port}")
    elif rule.protocol:
        words.append(f"meta l4proto {rule.protocol}")
    return " ".join((*words, "counter", _VERDICTS[rule.action]))


def _translation(one: Translation, testbed: Testbed) -> str:
    name = _interfaces((one.vid,), testbed)[0]
    return f'meta nfproto ipv4 iifname "{name}" oifname != "{name}" counter {_MASQUERADE[one.nat]}'


def _lines(ruleset: Ruleset, testbed: Testbed) -> tuple[str, ...]:
    """The ruleset as the lines that `held` reads back."""
    if not ruleset:
        return ()
    replies = (_REPLIES_LINE,) if ruleset.stateful else ()
    rules = tuple(
        _line(
            rule.action,
            rule.protocol or "any",
            _interfaces(rule.sources, testbed),
            _interfaces(rule.destinations, testbed),
            tuple(str(host) for host in rule.hosts),
            rule.port,
        )
        for rule in ruleset.rules
    )
    translations = tuple(
        f"nat {one.nat} {_interfaces((one.vid,), testbed)[0]}" for one in ruleset.translations
    )
    return (*replies, *rules, *translations)


def _line(
    action: str,
    protocol: str,
    sources: Sequence[str],
    destinations: Sequence[str],
    hosts: Sequence[str],
    port: object,
) -> str:
    words = [action, protocol, "from", *sorted(sources)]
    words += ["to", *sorted(destinations)] if destinations else []
    words += ["host", *sorted(hosts)] if hosts else []
    return " ".join([*words, *(["port", str(port)] if port else [])])


def _read(listing: str) -> LoadedRules:
    entries = json.loads(listing)["nftables"]
    rules = [entry["rule"] for entry in entries if "rule" in entry]
    sets = [entry["set"] for entry in entries if "set" in entry]
    armed = tuple(
        (str(one["elem"]["val"]), int(one["elem"].get("expires", 0)))
        for one in (sets[0].get("elem", []) if sets else [])
    )
    lines = (_read_rule(rule["chain"], rule["expr"]) for rule in rules)
    return LoadedRules(tuple(line for line in lines if line), armed)


def _read_rule(chain: str, expressions: Sequence[Mapping[str, object]]) -> str:
    """One rule back into our words, the jumps into our chains as nothing, all else as a foreign rule."""
    matches: dict[str, tuple[str, tuple[str, ...]]] = {}
    rest: dict[str, object] = {}
    for expression in expressions:
        if isinstance(match := expression.get("match"), dict):
            matches[_key(match["left"])] = (str(match["op"]), _members(match["right"]))
        else:
            rest.update(expression)
    rest.pop("counter", None)
    readers = {"verdicts": _read_verdict, "translations": _read_translation}
    if chain in ("forward", "nat") and matches == {"iifname": ("==", ("@armed",))} and len(rest) == 1:
        return ""
    line = readers[chain](matches, rest) if chain in readers else ""
    return line or "foreign rule " + json.dumps(list(expressions), sort_keys=True)


_Matches = Mapping[str, tuple[str, tuple[str, ...]]]


def _read_verdict(matches: _Matches, rest: Mapping[str, object]) -> str:
    actions = {verdict: action for action, verdict in _VERDICTS.items()}
    verdict = next(iter(rest)) if len(rest) == 1 else ""
    if verdict not in actions:
        return ""
    if matches == {"state": ("in", ("established", "related")), "direction": ("==", ("reply",))}:
        return _REPLIES_LINE if verdict == "accept" else ""
    ports = {name: value for name, value in matches.items() if name in ("udp dport", "tcp dport")}
    known = {"iifname", "oifname", "daddr", "l4proto", *ports}
    if set(matches) - known or "iifname" not in matches or any(op != "==" for op, _ in matches.values()):
        return ""
    port_key = next(iter(ports), "")
    protocol = port_key.split()[0] if port_key else _value(matches, "l4proto") or "any"
    return _line(
        actions[verdict],
        protocol,
        matches["iifname"][1],
        matches["oifname"][1] if "oifname" in matches else (),
        matches["daddr"][1] if "daddr" in matches else (),
        matches[port_key][1][0] if port_key else None,
    )


def _read_translation(matches: _Matches, rest: Mapping[str, object]) -> str:
    masquerade = rest.get("masquerade")
    flags = _members(masquerade.get("flags")) if isinstance(masquerade, dict) else ()
    kind = next((nat for nat, wanted in _FLAGS.items() if sorted(flags) == wanted), None)
    name = _value(matches, "iifname")
    wanted = {"nfproto": ("==", ("ipv4",)), "iifname": ("==", (name,)), "oifname": ("!=", (name,))}
    return f"nat {kind} {name}" if kind and matches == wanted else ""


def _value(matches: _Matches, key: str) -> str:
    return matches[key][1][0] if key in matches else ""


def _key(left: Mapping[str, Mapping[str, str]]) -> str:
    [(kind, what)] = left.items()
    if kind == "payload":
        return what["field"] if what["field"] == "daddr" else f"{what['protocol']} {what['field']}"
    return what.get("key", json.dumps(left))


def _members(right: object) -> tuple[str, ...]:
    values = right.get("set") if isinstance(right, dict) else right
    return tuple(str(value) for value in values) if isinstance(values, list) else (str(values),)
