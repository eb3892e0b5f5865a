"""The ruleset in words: as sentences for a report, and as clicks for the person who may only use pfSense's pages."""

from collections.abc import Iterable

from vpnmesh.firewall.pfsense_objects import FloatingRule, NatMapping, PfsenseObjects
from vpnmesh.firewall.policy import Action, Nat, Rule, Ruleset
from vpnmesh.model import Testbed

_VERBS = {Action.PASS: "passes", Action.BLOCK: "is blocked"}
_NAT = {
    Nat.ENDPOINT_INDEPENDENT: "keeping its source port towards every peer (endpoint-independent)",
    Nat.SYMMETRIC: "with a new source port for every peer (symmetric)",
}


def sentences(ruleset: Ruleset, testbed: Testbed) -> tuple[str, ...]:
    """One sentence per rule, in the order in which they decide."""
    if not ruleset:
        return ("Everything passes between the VLANs.",)
    rules = [
        f"{_what(rule)} from {_vlans(rule.sources)} to {_where(rule)} {_VERBS[rule.action]}"
        for rule in ruleset.rules
    ]
    lines = [
        f"{line} (IPv4 and IPv6)." if not rule.hosts else f"{line}."
        for line, rule in zip(rules, ruleset.rules, strict=True)
    ]
    lines += [
        f"VLAN {one.vid} ({testbed.vlan(one.vid).prefix}) leaves with the firewall's address, {_NAT[one.nat]};"
        " IPv6 is not translated."
        for one in ruleset.translations
    ]
    return (*lines, "The first sentence that fits decides; what fits none passes.")


def clicks(objects: PfsenseObjects, prefix: str) -> tuple[str, ...]:
    """What to do on pfSense's pages to have these objects, step by step; none = take away what `prefix` marks."""
    if not (objects.rules or objects.mappings):
        return (
            f"Firewall > Rules > Floating: delete every rule whose description begins '{prefix}', Apply Changes.",
            f"Firewall > NAT > Outbound: delete every mapping whose description begins '{prefix}', Apply Changes.",
            f"Firewall > Aliases > IP: delete every alias whose description begins '{prefix}', Apply Changes.",
        )
    steps = [
        f"Firewall > Aliases > IP > Add: Name '{alias.name}', Type Host(s), IP {', '.join(map(str, alias.addresses))},"
        f" Description '{alias.descr}', Save."
        for alias in objects.aliases
    ]
    steps += [_rule_click(rule) for rule in objects.rules]
    steps += [_mapping_click(mapping) for mapping in objects.mappings]
    return (
        *steps,
        "Keep the order above; no other quick floating rule may stand above these. Apply Changes on each page.",
        "Diagnostics > States > Reset States is the last step: old states would let blocked flows go on.",
    )


def _what(rule: Rule) -> str:
    name = str(rule.protocol).upper() if rule.protocol else "Everything"
    return f"{name} to port {rule.port}" if rule.port else name


def _where(rule: Rule) -> str:
    if rule.hosts:
        return " and ".join(str(host) for host in rule.hosts)
    return _vlans(rule.destinations) if rule.destinations else "anywhere else"


def _vlans(vids: Iterable[int]) -> str:
    found = [str(vid) for vid in vids]
    return f"VLAN {found[0]}" if len(found) == 1 else "VLANs " + ", ".join(found)


def _rule_click(rule: FloatingRule) -> str:
    port = f", Destination Port {rule.port}" if rule.port else ""
    schedule = f", Schedule '{rule.schedule}'" if rule.schedule else ""
    return (
        f"Firewall > Rules > Floating > Add at the bottom: Action {str(rule.action).capitalize()}, Quick yes,"
        f" Interface {' + '.join(rule.interfaces)}, Direction in, Address Family IPv4+IPv6,"
        f" Protocol {(rule.protocol or 'any').upper()}, Source any, Destination {_target(rule)}{port}{schedule},"
        f" Description '{rule.descr}', Save."
    )


def _target(rule: FloatingRule) -> str:
    if rule.destination == "!(self)":
        return "Invert match, This firewall (self)"
    return (
        f"alias {rule.destination}"
        if rule.destination.startswith("vpnmesh_")
        else f"{rule.destination} subnets"
    )


def _mapping_click(mapping: NatMapping) -> str:
    static = "checked" if mapping.keeps_port else "not checked"
    return (
        f"Firewall > NAT > Outbound (mode Hybrid) > Add: Interface {mapping.interface}, Source {mapping.source},"
        f" Destination any, Translation Interface Address, Static Port {static}, Description '{mapping.descr}', Save."
    )
