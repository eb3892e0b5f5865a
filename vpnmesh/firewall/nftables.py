"""The policy as nftables rules on a Linux router: one table of our own, nobody else's touched.

A drop in any base chain is final, so no accepted connection state of another table can let a blocked packet
pass; that is why, unlike on pfSense, no states need to be killed here.
"""

import json
from collections.abc import Sequence

from vpnmesh.firewall.policy import Policy, Protocol, VlanBlock, resolve
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

TABLE = "vpnmesh"
_LIST = ("nft", "-j", "list", "table", "inet", TABLE)


def set_policy(policy: Policy, testbed: Testbed) -> Fact[Plan]:
    """Make the firewall hold exactly this policy; `allow-all` leaves no table at all."""
    wanted = resolve(policy, testbed)
    return held(testbed).map(lambda found: _plan(found, wanted, testbed))


def held(testbed: Testbed) -> Fact[tuple[str, ...]]:
    """The blocks that the kernel holds, as lines; lines we cannot read show as `foreign rule`."""

    def parse(completed: Sequence[Completed]) -> tuple[str, ...]:
        listing = completed[0]
        return _lines(listing.stdout) if listing.exit_code == 0 else ()

    del testbed
    return Fact((Command(_LIST, ok=(0, 1)),), parse)


def render(blocks: Sequence[VlanBlock], testbed: Testbed) -> str:
    """The script for `nft -f -`: the table is made anew in one transaction."""
    head = f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"
    if not blocks:
        return head
    rules = "\n".join(f"    {_rule(block, testbed)}" for block in blocks)
    chain = f"  chain forward {{\n    type filter hook forward priority -10; policy accept;\n{rules}\n  }}"
    return f"{head}table inet {TABLE} {{\n{chain}\n}}\n"


def _plan(found: tuple[str, ...], blocks: Sequence[VlanBlock], testbed: Testbed) -> Plan:
    wanted = tuple(_line(block.protocol, _interfaces(block, testbed)) for block in blocks)
    if sorted(found) == sorted(wanted):
        return Plan()
    diff = unified_diff("firewall policy", "\n".join(found), "\n".join(wanted))
    return Plan((Command(("nft", "-f", "-"), stdin=render(blocks, testbed)),), diff)


def _interfaces(block: VlanBlock, testbed: Testbed) -> list[str]:
    return [leg.interface for leg in testbed.firewall.legs if leg.vid in block.vids]


def _rule(block: VlanBlock, testbed: Testbed) -> str:
    names = ", ".join(f'"{name}"' for name in _interfaces(block, testbed))
    return f"iifname {{ {names} }} oifname {{ {names} }} meta l4proto {block.protocol} counter drop"


def _line(protocol: str, interfaces: Sequence[str]) -> str:
    return f"block {protocol} between {' '.join(sorted(interfaces))}"


def _lines(listing: str) -> tuple[str, ...]:
    rules = [entry["rule"] for entry in json.loads(listing)["nftables"] if "rule" in entry]
    return tuple(_read_rule(rule["expr"]) for rule in rules)


def _read_rule(expressions: list[dict[str, object]]) -> str:
    """One rule back into our words; anything that is not exactly our shape is a foreign rule."""
    found: dict[str, object] = {}
    for expression in expressions:
        if isinstance(match := expression.get("match"), dict):
            key = json.dumps(match["left"], sort_keys=True)
            found[key] = match["right"]
    interfaces = [_set(found.get(f'{{"meta": {{"key": "{key}"}}}}')) for key in ("iifname", "oifname")]
    protocol = found.get('{"meta": {"key": "l4proto"}}')
    ours = "drop" in expressions[-1] and interfaces[0] and interfaces[0] == interfaces[1] and len(found) == 3  # noqa: PLR2004
    if ours and protocol in list(Protocol):
        return _line(str(protocol), interfaces[0])
    return "foreign rule " + json.dumps(expressions, sort_keys=True)


def _set(right: object) -> list[str]:
    members = right.get("set") if isinstance(right, dict) else right
    return (
        [str(member) for member in members]
        if isinstance(members, list)
        else [str(members)]
        if members
        else []
    )
