"""Which firewall rule hit: counters before and after the probes, on every node of the way."""

from collections.abc import Iterator, Sequence

from vpnmesh.firewall.nftables import TABLE
from vpnmesh.plan import Command
from vpnmesh.why.finding import Cause, Change, Evidence, Finding, Fix
from vpnmesh.why.observed import DropRule, Observed
from vpnmesh.why.state_of_path import seen_state

MARK = "vpnmesh-why"
"""The comment of a rule that lets pass what another one drops, so that it is found again."""
_REACH = (Cause.UDP, Cause.NAT, Cause.RELAY, Cause.STUN, Cause.CONTROL, Cause.MTU)
_REMOVE = """
nft -a list chain "$1" "$2" "$3" | sed -n "s/.*comment \\"$4\\".* handle \\([0-9]*\\).*/\\1/p" |
  while read -r handle; do nft delete rule "$1" "$2" "$3" handle "$handle"; done
"""


def rule_findings(seen: Observed, found: Sequence[Finding]) -> list[Finding]:
    """Rules that dropped something meanwhile; only where packets were missed, for a firewall drops many others, too."""
    state = seen_state(seen)
    missed = any(one.cause in _REACH for one in found) or not state.works or None in state.paths
    return list(_hits(seen)) if missed else []


def _hits(seen: Observed) -> Iterator[Finding]:
    for name, after in seen.after.items():
        before = {rule.place: rule.packets for rule in seen.before[name].rules} if name in seen.before else {}
        for rule in after.rules:
            hits = rule.packets - before.get(rule.place, rule.packets)
            if hits > 0:
                yield _hit(seen, name, rule, hits)


def _hit(seen: Observed, name: str, rule: DropRule, hits: int) -> Finding:
    ours = name == seen.bed.firewall.name and rule.table == TABLE
    said = f"rule '{rule.text}' in {rule.family} {rule.table} {rule.chain} dropped {hits} packets while this was asked"
    command = f"nft -a list chain {rule.family} {rule.table} {rule.chain}"
    evidence = Evidence(name, command, f"handle {rule.handle}: counter packets {rule.packets}")
    fix: Fix | None
    if ours:
        do, fix = (
            "it is of a policy of vpnmesh: python -m workflows.firewall set allow-all",
            Fix(policy="allow-all"),
        )
    else:
        do = f"take it away (nft delete rule {rule.place}), or let the VPN's packets pass before it"
        # what is not read is shown as JSON and cannot be written again; without a match all packets would pass
        narrow = " " in rule.text and '{"' not in rule.text
        fix = Fix((_passing(name, rule),)) if narrow else None
    effect = seen_state(seen).effect
    return Finding(Cause.RULE, effect, name, said, do, (evidence,), fix)


def _passing(name: str, rule: DropRule) -> Change:
    """A rule right before it that lets the same packets pass; that one alone is taken away afterwards."""
    match = rule.text.rpartition(" ")[0]
    chain = (rule.family, rule.table, rule.chain)
    insert = (
        "nft",
        "insert",
        "rule",
        *chain,
        "position",
        str(rule.handle),
        f'{match} accept comment "{MARK}"',
    )
    remove = ("sh", "-c", _REMOVE, "sh", *chain, MARK)
    diff = f"+ {match} accept, before handle {rule.handle} of {' '.join(chain)}"
    return Change(name, (Command(insert),), (Command(remove),), diff)
