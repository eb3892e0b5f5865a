"""The calls that end old states: a reload leaves them, and what they carry would go on past any new block."""

from ipaddress import IPv4Address

from vpnmesh.firewall.pfsense_rest import STATES, Request
from vpnmesh.firewall.policy import Action, Protocol, Ruleset
from vpnmesh.model import Testbed


def kill_states(ruleset: Ruleset, testbed: Testbed) -> tuple[Request, ...]:
    """End the states of what is now blocked: a reload leaves them, and old flows would pass for ever.

    By source address and port separator (`10.0.0.1` begins `10.0.0.10` too), without the default limit of 100.
    The API ends states by pair of IPv4 addresses; it cannot end IPv6 states.
    """
    blocks = [rule for rule in ruleset.rules if rule.action is Action.BLOCK]
    sources = {vid for rule in blocks for vid in rule.sources} | {one.vid for one in ruleset.translations}
    protocols = {rule.protocol for rule in blocks} or {None}
    if None in protocols:
        protocols = {None}
    nodes = [node for node in testbed.nodes if node != testbed.firewall and node.leg.vid in sources]
    return tuple(_kill(node.underlay, protocol) for node in nodes for protocol in sorted(protocols, key=str))


def kill_all_states(testbed: Testbed) -> tuple[Request, ...]:
    """End all states that the testbed's nodes made: a translation goes on for a flow that has one."""
    return tuple(_kill(node.underlay, None) for node in testbed.nodes if node != testbed.firewall)


def _kill(address: IPv4Address, protocol: Protocol | None) -> Request:
    only = (("protocol", str(protocol)),) if protocol else ()
    query = (*only, ("source__startswith", f"{address}:"), ("limit", "0"))
    return Request("DELETE", STATES, query, why="end old states")
