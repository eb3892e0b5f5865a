"""The commands that put nodes behind NAT routers on a Linux firewall, and the nftables text of each router."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from vpnmesh.errors import NO_JSON, ToolError
from vpnmesh.firewall.nat_kinds import (
    MAPPING_S,
    PREFIX,
    RULE_PREFERENCE,
    TABLE,
    Depends,
    HiddenNode,
    NatKind,
    NatRouter,
    hidden_nodes,
    link_of,
    routing_table,
    taken_away_argv,
)
from vpnmesh.host.dual_stack import Family
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Step, unified_diff

_LOOSE = "2"
"""Answers come back by another way than the one that leads to their sender (RFC 3704, section 2.4)."""
_LIST = (
    'ip netns list 2> /dev/null | cut -d " " -f 1 | grep "^$1" | sort; ip rule show pref "$2";'
    ' ip -6 rule show pref "$2" 2> /dev/null; true'
)
PASSED = {Family.IPV4: "passed4", Family.IPV6: "passed6"}
"""Counters of what the firewall has let through to or from nodes that have IPv6 alone, after all that drops."""


def set_kinds(testbed: Testbed, kinds: Mapping[str, NatKind]) -> tuple[Step, ...]:
    """Put these nodes behind fresh routers, and all others behind none; what was open before is closed."""
    hidden = hidden_nodes(testbed, kinds)
    steps = [Command(taken_away_argv())]
    for one in hidden:
        steps += _router_steps(testbed, one)
    if hidden:
        steps.append(Command(("nft", "-f", "-"), stdin=guard(hidden)))
    return tuple(steps)


def removed() -> Fact[Plan]:
    """Take all routers away; an empty plan where there is none."""

    def plan(completed: Sequence[Completed]) -> Plan:
        found = completed[0].stdout.strip()
        return (
            Plan((Command(taken_away_argv()),), unified_diff("NAT routers", found, "")) if found else Plan()
        )

    return Fact((Command(("sh", "-c", _LIST, "sh", PREFIX, str(RULE_PREFERENCE))),), plan)


def taken_back(_testbed: Testbed) -> tuple[Step, ...]:
    """What a firewall without controller does by itself."""
    return (Command(taken_away_argv()),)


def guard(hidden: Iterable[HiddenNode]) -> str:
    """The firewall's own rules: a hidden node is reached through its router alone, and some not from each other."""
    hidden = tuple(hidden)
    lines = [f'oifname "{one.port}" iifname != "{one.inner}" drop' for one in hidden]
    apart = [f'"{one.outer}"' for one in hidden if not one.routers[-1].behaviour.hairpins]
    if len(apart) > 1:
        names = "{ " + ", ".join(apart) + " }"
        lines.append(f"iifname {names} oifname {names} drop")
    ports = [f'"{one.port}"' for one in hidden if not one.routers[0].behaviour.translates]
    lines += [f"{way} {port} meta nfproto ipv4 drop" for port in ports for way in ("iifname", "oifname")]
    chains = [_chain("forward", "filter hook forward priority -20", lines)]
    if ports:
        counted = [
            f"{way} {port} meta nfproto {family} counter name {PASSED[number]}"
            for port in ports
            for way in ("iifname", "oifname")
            for family, number in (("ipv4", Family.IPV4), ("ipv6", Family.IPV6))
        ]
        chains = [f"  counter {name} {{ }}" for name in PASSED.values()] + chains
        chains.append(_chain("passed", "filter hook forward priority 300", counted))
    return f"table inet {TABLE} {{\n" + "\n".join(chains) + "\n}\n"


def passed(completed: Completed) -> dict[Family, int]:
    """How many packets of each family the firewall let through to or from nodes that have IPv6 alone."""
    try:
        found = [one["counter"] for one in json.loads(completed.stdout)["nftables"] if "counter" in one]
        counted = {one["name"]: int(one["packets"]) for one in found}
        return {family: counted[name] for family, name in PASSED.items()}
    except (*NO_JSON, LookupError, TypeError) as error:
        raise ToolError(
            "nft", f"{completed.stdout.strip()[:80]!r} are no counters of ours: {error}"
        ) from error


def ask_passed() -> Fact[dict[Family, int]]:
    """The counters of `guard`; ToolError where it has none."""
    question = Command(("nft", "-j", "list", "counters", "table", "inet", TABLE), ok=(0, 1))
    return Fact((question,), lambda completed: passed(completed[0]))


def rules(router: NatRouter) -> str:
    """The router's own table, for `nft -f -` in its namespace."""
    return _translating(router) if router.behaviour.translates else _stateful()


def _stateful() -> str:
    """A router that translates nothing and lets in what answers, as home routers do in IPv6 (RFC 6092, section 3)."""
    lines = ["ct state established,related accept", 'iifname "outside" drop']
    own = ["icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept", 'iifname "outside" drop']
    chains = (
        _chain("passing", "filter hook forward priority 0", lines),
        _chain("own", "filter hook input priority 0", own),
    )
    return "table inet nat {\n" + "\n".join(chains) + "\n}\n"


def _translating(router: NatRouter) -> str:
    inward = _inward(router)
    random = " random,fully-random" if router.behaviour.mapping is Depends.ADDRESS_AND_PORT else ""
    chains = (
        _chain("passing", "filter hook forward priority 0", _passing(router)),
        *([_chain("inward", "nat hook prerouting priority -100", [inward])] if inward else []),
        _chain(
            "outward",
            "nat hook postrouting priority 100",
            [f'iifname "inside" oifname "outside" snat ip to {router.outside}{random}'],
        ),
        # nobody is told that a port is closed: silence, as behind most routers, and no entry in the table
        _chain("own", "filter hook input priority 0", ['iifname "outside" drop']),
    )
    flags = f"flags dynamic,timeout\n    timeout {MAPPING_S}s"
    sets = (
        f"  set mapped {{\n    type inet_service\n    {flags}\n  }}",
        f"  set written {{\n    type ipv4_addr . inet_service\n    {flags}\n  }}",
    )
    return "table inet nat {\n" + "\n".join((*sets, *chains)) + "\n}\n"


def _chain(name: str, hook: str, lines: Iterable[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"  chain {name} {{\n    type {hook}; policy accept;\n{body}\n  }}"


def _passing(router: NatRouter) -> Iterator[str]:
    """What is let out, and what is remembered of it."""
    if not router.behaviour.udp:
        yield "meta l4proto udp drop"
    if port := router.behaviour.tcp_port:
        yield f'iifname "inside" tcp dport {port} accept'
        yield 'iifname "inside" drop'
    yield 'iifname "inside" meta l4proto udp update @mapped { udp sport }'
    yield 'iifname "inside" meta l4proto udp update @written { ip daddr . udp sport }'


def _inward(router: NatRouter) -> str:
    """Who else may send to a port that the node has opened; one host is behind the router, and ports are kept."""
    who = {
        Depends.NOTHING: "udp dport @mapped",
        Depends.ADDRESS: "ip saddr . udp dport @written",
        Depends.ADDRESS_AND_PORT: "",
    }[router.behaviour.filtering]
    return f'iifname "outside" ip daddr {router.outside} {who} dnat ip to {router.inside}' if who else ""


def _router_steps(testbed: Testbed, one: HiddenNode) -> Iterator[Command]:
    translates = one.routers[0].behaviour.translates
    return _translator_steps(testbed, one) if translates else _stateful_steps(one)


def _stateful_steps(one: HiddenNode) -> Iterator[Command]:
    """One router, by whose outer link others get to the node, and by whose inner one the node gets out.

    Its address is the same on both sides, so what comes from the router is led to the node by a rule of its own.
    """
    (router,) = one.routers
    near, far, node = link_of(one, outer=False), link_of(one, outer=True), str(router.inside)
    yield _ip("netns", "add", router.namespace)
    for interface, end, address in ((one.inner, "inside", near), (one.outer, "outside", far)):
        yield _ip("link", "add", interface, "type", "veth", "peer", "name", end, "netns", router.namespace)
        yield _within(router, "sysctl", "-q", "-w", f"net.ipv6.conf.{end}.disable_ipv6=0")
        yield Command(("sysctl", "-q", "-w", f"net.ipv6.conf.{interface}.disable_ipv6=0"))
        yield _ip("addr", "add", f"{address}/126", "dev", interface, "nodad")
        yield _ip("addr", "add", f"{address + 1}/126", "dev", end, "nodad", within=router)
        yield _ip("link", "set", interface, "up")
        yield _ip("link", "set", end, "up", within=router)
    yield _within(router, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
    yield _within(router, "nft", "-f", "-", stdin=rules(router))
    yield _ip("-6", "route", "add", "default", "via", str(far), within=router)
    yield _ip("-6", "route", "add", f"{node}/128", "via", str(near), within=router)
    yield _ip("-6", "route", "add", f"{node}/128", "via", str(far + 1), "dev", one.outer)
    out, back = routing_table(one), routing_table(one, back=True)
    # rules first: by them the tables are found again, of which one has a route that no link takes with it
    for interface, table in ((one.port, out), (one.inner, back)):
        yield _ip("-6", "rule", "add", "pref", str(RULE_PREFERENCE), "iif", interface, "lookup", table)
    yield _ip("-6", "route", "add", "default", "via", str(near + 1), "dev", one.inner, "table", out)
    yield _ip("-6", "route", "add", f"{node}/128", "dev", one.port, "table", back)


def _translator_steps(testbed: Testbed, one: HiddenNode) -> Iterator[Command]:
    first, last = one.routers[0], one.routers[-1]
    near, far = link_of(one, outer=False), link_of(one, outer=True)
    prefix = testbed.vlan(one.node.leg.vid).prefix
    for router in one.routers:
        yield _ip("netns", "add", router.namespace)
    yield _ip("link", "add", one.inner, "type", "veth", "peer", "name", "inside", "netns", first.namespace)
    yield _ip("link", "add", one.outer, "type", "veth", "peer", "name", "outside", "netns", last.namespace)
    for interface, address in ((one.inner, near), (one.outer, far)):
        yield _ip("addr", "add", f"{address}/30", "dev", interface)
        yield _ip("link", "set", interface, "up")
    yield from _ends(first, "inside", f"{near + 1}/30")
    yield from _ends(last, "outside", f"{far + 1}/30")
    yield _ip("addr", "add", f"{last.outside}/32", "dev", "outside", within=last)
    yield _ip("route", "add", "default", "via", str(far), within=last)
    yield _ip("route", "add", str(prefix), "via", str(near), within=first)
    if first is not last:
        yield from _carrier_link(first, last)
    for router in one.routers:
        yield _within(router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
        yield _within(router, "nft", "-f", "-", stdin=rules(router))
    yield Command(("sysctl", "-q", "-w", f"net.ipv4.conf.{one.inner}.rp_filter={_LOOSE}"))
    yield _ip("route", "add", f"{last.outside}/32", "via", str(far + 1), "dev", one.outer)
    table = routing_table(one)
    yield _ip("route", "add", "default", "via", str(near + 1), "dev", one.inner, "table", table)
    yield _ip("rule", "add", "pref", str(RULE_PREFERENCE), "iif", one.port, "lookup", table)


def _carrier_link(first: NatRouter, last: NatRouter) -> Iterator[Command]:
    """Between the two routers: the nearer one shows the address that the farther one hides."""
    carrier = first.outside - 1
    yield _ip(
        *("link", "add", "outside", "type", "veth", "peer", "name", "inside", "netns", last.namespace),
        within=first,
    )
    yield from _ends(first, "outside", f"{first.outside}/30")
    yield from _ends(last, "inside", f"{carrier}/30")
    yield _ip("route", "add", "default", "via", str(carrier), within=first)


def _ends(router: NatRouter, interface: str, address: str) -> Iterator[Command]:
    yield _ip("addr", "add", address, "dev", interface, within=router)
    yield _ip("link", "set", interface, "up", within=router)


def _ip(*words: str, within: NatRouter | None = None) -> Command:
    return Command(("ip", *(("-n", within.namespace) if within else ()), *words))


def _within(router: NatRouter, *argv: str, stdin: str = "") -> Command:
    return Command(("ip", "netns", "exec", router.namespace, *argv), stdin=stdin)
