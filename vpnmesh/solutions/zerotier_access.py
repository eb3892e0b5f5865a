"""What ZeroTier's controller is told while a mesh runs, for `vpnmesh.solutions.zerotier`: rules between members.

Rules are the network's own, and every member holds all of them: who sends and who receives apply them
(node/Network.cpp, `_doZtFilter`). They have no memory, so answers are let back by what tells them: TCP that opens no
connection, or the port that was written to. Source: `_renderRule` in controller/EmbeddedNetworkController.cpp of 1.14.
"""

from collections.abc import Mapping

from vpnmesh.solutions.control import Access, AccessRule, Transport

Part = dict[str, object]

EVERYTHING: tuple[Part, ...] = ({"type": "ACTION_ACCEPT"},)
"""The rules of a network that was told none."""
_ACCEPT, _DROP = EVERYTHING[0], Part(type="ACTION_DROP")
_ARP = 0x0806
_PROTOCOLS = {Transport.TCP: 6, Transport.UDP: 17}
_SYN, _ACK = 0x02, 0x10


def rules(access: Access, addresses: Mapping[str, str]) -> list[Part]:
    """The network's rules, as the controller answers them; `addresses` are members' ZeroTier addresses.

    ARP passes between all, for it is how members find each other at all. A rule of everything that holds one way alone
    lets only TCP back: nothing tells an answer over UDP from a question.
    """
    found = [_match("ETHERTYPE", etherType=_ARP), _ACCEPT]
    whole = {(one.source, one.destination) for one in access.rules if one.transport is None}
    for rule in access.rules:
        there = _pair(addresses[rule.source], addresses[rule.destination])
        found += [*there, *_kind(rule, "DEST"), _ACCEPT]
        if (rule.destination, rule.source) not in whole:
            found += _answers(rule, _pair(addresses[rule.destination], addresses[rule.source]))
    return [*found, _DROP]


def _answers(rule: AccessRule, back: list[Part]) -> list[Part]:
    if rule.transport is Transport.UDP:
        return [*back, *_kind(rule, "SOURCE"), _ACCEPT]
    tcp = [*back, *_kind(AccessRule(rule.source, rule.destination, Transport.TCP, rule.port), "SOURCE")]
    # a packet that opens a connection has SYN without ACK
    return [*tcp, _flag(_SYN, without=True), _ACCEPT, *tcp, _flag(_SYN), _flag(_ACK), _ACCEPT]


def _pair(source: str, destination: str) -> list[Part]:
    return [_match("SOURCE_ZEROTIER_ADDRESS", zt=source), _match("DEST_ZEROTIER_ADDRESS", zt=destination)]


def _kind(rule: AccessRule, end: str) -> list[Part]:
    """Of the rule's protocol, with its port at that end."""
    if rule.transport is None:
        return []
    protocol = _match("IP_PROTOCOL", ipProtocol=_PROTOCOLS[rule.transport])
    if rule.port is None:
        return [protocol]
    return [protocol, _match(f"IP_{end}_PORT_RANGE", start=rule.port, end=rule.port)]


def _flag(bit: int, *, without: bool = False) -> Part:
    return {**_match("CHARACTERISTICS", mask=f"{bit:016x}"), "not": without}


def _match(kind: str, **values: object) -> Part:
    return {"type": f"MATCH_{kind}", **values, "not": False, "or": False}
