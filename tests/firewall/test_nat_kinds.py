"""Nodes behind routers: which address they show, what each router holds, and what probes must show of it."""

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from tasks.firewall.nftables import DRIVER
from tests.conftest import ROOT
from vpnmesh.errors import InputError, ToolError, UnavailableError
from vpnmesh.firewall import nat_routers
from vpnmesh.firewall.nat_kinds import (
    BEHAVIOURS,
    Depends,
    NatKind,
    hidden_nodes,
    kind_named,
    shown_addresses,
    taken_away_argv,
)
from vpnmesh.firewall.nat_proof import NatSeen, can_punch, contradictions, disproofs, parse
from vpnmesh.host.dual_stack import Family
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed

SHOWN = IPv4Address("192.88.99.14")
INSIDE = {"worker1": IPv4Address("192.88.99.10")}


@pytest.fixture(scope="module", name="bed")
def the_lab() -> Testbed:
    """The embedded six nodes."""
    return read_testbed(Path(ROOT / "inventory" / "lab"))


def seen(
    ports: tuple[int, int, int] = (7, 7, 7),
    others: tuple[str, ...] = ("same",),
    hops: int = 61,
    *,
    punched: bool | None = None,
) -> NatSeen:
    """What probes through a NAT show: the ports outside, who could answer, and the hops that were left."""
    first, second, third = ((str(SHOWN), port) for port in ports)
    return NatSeen((first, second, third), hops, frozenset(others), tcp=True, tcp_443=True, punched=punched)


PROVEN = {
    NatKind.FULL_CONE: seen(others=("same", "port", "address")),
    NatKind.ADDRESS_RESTRICTED: seen(others=("same", "port")),
    NatKind.PORT_RESTRICTED: seen(),
    NatKind.SYMMETRIC: seen(ports=(7, 8, 9)),
    NatKind.DOUBLE: seen(hops=60),
    NatKind.HAIRPIN_OFF: seen(others=("same", "port", "address")),
    NatKind.UDP_BLOCKED: NatSeen((None, None, None), 0, frozenset(), tcp=True, tcp_443=True),
    NatKind.TCP_443_ONLY: NatSeen((None, None, None), 0, frozenset(), tcp=False, tcp_443=True),
}


def test_others_see_a_free_address_of_the_nodes_own_vlan(bed: Testbed) -> None:
    """So every other node has a route to it; a node without NAT shows itself and gets no router."""
    kinds = {"worker1": NatKind.SYMMETRIC, "worker2": NatKind.NONE}
    assert shown_addresses(bed, kinds) == {"worker1": SHOWN}


def test_a_router_shows_no_address_of_a_server_that_all_nodes_use(bed: Testbed) -> None:
    """Name and time servers stay reachable under every policy."""
    busy = replace(bed, dns_servers=(SHOWN,), ntp_servers=(SHOWN - 1,))
    assert shown_addresses(busy, {"worker1": NatKind.SYMMETRIC}) == {"worker1": SHOWN - 2}


def test_a_double_nat_hides_its_first_router_behind_the_second(bed: Testbed) -> None:
    """The nearer one shows what the farther one hides."""
    near, far = hidden_nodes(bed, {"worker1": NatKind.DOUBLE})[0].routers
    assert near.inside == bed.node("worker1").underlay
    assert near.outside == far.inside
    assert far.outside == SHOWN


def test_two_ends_in_one_vlan_are_refused(bed: Testbed) -> None:
    """They reach each other past the firewall, and both would show one address."""
    other, mine = bed.node("worker2"), bed.node("worker1").leg
    leg = replace(
        other.leg, vid=mine.vid, address=IPv4Interface((mine.address.ip + 1, mine.address.network.prefixlen))
    )
    nodes = tuple(replace(one, legs=(leg,)) if one.name == other.name else one for one in bed.nodes)
    near = replace(bed, nodes=nodes)
    for first, second in ((NatKind.SYMMETRIC, NatKind.SYMMETRIC), (NatKind.NONE, NatKind.IPV6_ONLY)):
        with pytest.raises(
            UnavailableError, match=r"are both in VLAN 20, so no router .*; take ends in two VLANs"
        ):
            hidden_nodes(near, {"worker1": first, "worker2": second})
    assert hidden_nodes(near, {"worker1": NatKind.NONE, "worker2": NatKind.NONE}) == ()


def test_ipv6_is_not_translated(bed: Testbed) -> None:
    """Others see the node's own address; only what answers comes in, and no IPv4 passes, which is counted apart."""
    (hidden,) = hidden_nodes(bed, {"worker1": NatKind.IPV6_ONLY})
    assert str(hidden.shown) == "fd76:706e:6d65:20::2"
    rules, guard = nat_routers.rules(hidden.routers[0]), nat_routers.guard([hidden])
    assert "snat" not in rules
    assert "ct state established,related accept" in rules
    assert 'oifname "vlan20" meta nfproto ipv4 drop' in guard
    assert 'iifname "vlan20" meta nfproto ipv4 counter name passed4' in guard
    assert nat_routers.guard(hidden_nodes(bed, {"worker1": NatKind.SYMMETRIC})).count("counter") == 0


def test_what_passed_is_read_from_our_counters() -> None:
    """By family; anything else is no answer."""
    counters = [
        {"counter": {"name": name, "packets": packets}} for name, packets in (("passed4", 0), ("passed6", 7))
    ]
    text = json.dumps({"nftables": [{"metainfo": {}}, *counters]})
    assert nat_routers.passed(Completed((), 0, text, "")) == {Family.IPV4: 0, Family.IPV6: 7}
    with pytest.raises(ToolError, match="are no counters of ours"):
        nat_routers.passed(Completed((), 1, "", "No such file"))


@pytest.mark.parametrize(
    ("kind", "beside"), [(NatKind.IPV6_ONLY, False), (NatKind.NONE, True), (NatKind.SYMMETRIC, False)]
)
def test_the_other_family_passes_only_where_there_is_no_nat(
    kind: NatKind, *, beside: bool, bed: Testbed
) -> None:
    """On an underlay of both; IPv4 at a node of IPv6 alone disproves it."""
    shown = shown_addresses(bed, {"worker1": kind}).get("worker1", INSIDE["worker1"])
    others, hops = (("same", "port", "address"), 63) if kind is NatKind.NONE else (("same",), 61)
    ports = (7, 8, 9) if kind is NatKind.SYMMETRIC else (7, 7, 7)
    first, second, third = ((str(shown), port) for port in ports)
    right = replace(seen(others=others, hops=hops), seen=(first, second, third), beside=beside)
    assert contradictions(kind, right, shown) == ()
    (wrong,) = contradictions(kind, replace(right, beside=not beside), shown)
    # where a node has both, it is asked by IPv6, and IPv4 is beside
    assert wrong.startswith("IPv6" if kind is NatKind.SYMMETRIC else "IPv4")


def test_each_kind_has_rules_of_its_own(bed: Testbed) -> None:
    """Who else gets in to an open port, and whether the port outside is a new one for every peer."""
    texts = {
        kind: nat_routers.rules(hidden_nodes(bed, {"worker1": kind})[0].routers[-1])
        for kind in BEHAVIOURS
        if kind is not NatKind.NONE
    }
    assert "ip daddr 192.88.99.14 udp dport @mapped dnat ip to 192.88.99.10" in texts[NatKind.FULL_CONE]
    assert "ip saddr . udp dport @written dnat" in texts[NatKind.ADDRESS_RESTRICTED]
    assert "dnat" not in texts[NatKind.PORT_RESTRICTED]
    assert [kind for kind, text in texts.items() if "fully-random" in text] == [NatKind.SYMMETRIC]
    assert "meta l4proto udp drop" in texts[NatKind.UDP_BLOCKED]
    assert "tcp dport 443 accept" in texts[NatKind.TCP_443_ONLY]


def test_two_behind_a_nat_without_hairpin_are_kept_apart(bed: Testbed) -> None:
    """One of them alone is not: what it misses is the way to the other."""
    both = {"worker1": NatKind.HAIRPIN_OFF, "worker2": NatKind.HAIRPIN_OFF}
    assert 'iifname { "vmo0", "vmo1" } oifname { "vmo0", "vmo1" } drop' in nat_routers.guard(
        hidden_nodes(bed, both)
    )
    one = both | {"worker2": NatKind.FULL_CONE}
    assert "vmo1" not in nat_routers.guard(hidden_nodes(bed, one))


def test_nothing_is_removed_where_no_router_is() -> None:
    """And where one is, the difference names it."""
    fact = nat_routers.removed()
    assert not fact.parse([Completed((), 0, "\n", "")])
    assert "-vmnat0" in fact.parse([Completed((), 0, "vmnat0\n", "")]).diff


def test_a_firewall_without_controller_takes_routers_away_too(bed: Testbed) -> None:
    """What the lease promises for a Linux router."""
    take_back = DRIVER.take_back
    assert take_back is not None
    assert taken_away_argv() in [one.argv for one in take_back(bed) if isinstance(one, Command)]


@pytest.mark.parametrize("kind", PROVEN)
def test_each_kind_is_proven_by_its_own_probes_alone(kind: NatKind) -> None:
    """What shows one kind contradicts every other, but full-cone and hairpin-off, which differ between two nodes."""
    alike = {NatKind.FULL_CONE, NatKind.HAIRPIN_OFF}
    for other, probes in PROVEN.items():
        same = other is kind or {kind, other} == alike
        assert bool(contradictions(kind, probes, SHOWN)) is not same, other


def test_a_contradiction_says_what_was_seen() -> None:
    """In the words of RFC 4787."""
    found = contradictions(NatKind.PORT_RESTRICTED, PROVEN[NatKind.SYMMETRIC], SHOWN)
    assert found == ("mapping is address-and-port-dependent, wanted endpoint-independent",)


def test_no_kind_is_proven_by_silence() -> None:
    """A probe that heard nothing at all, TCP included, is no blocked UDP."""
    dead = NatSeen((None, None, None), 0, frozenset(), tcp=False, tcp_443=False)
    assert all(contradictions(kind, dead, SHOWN) for kind in BEHAVIOURS)


def test_a_mapping_that_depends_on_the_address_alone_is_told_apart() -> None:
    """Same port for two ports of one address, another for another address."""
    assert seen(ports=(7, 7, 8)).mapping is Depends.ADDRESS


def test_a_pair_is_proven_as_a_pair() -> None:
    """Each end may be right and the pair not: a hole between two symmetric NATs is no such thing."""
    kinds = {"worker1": NatKind.PORT_RESTRICTED, "worker2": NatKind.SYMMETRIC}
    shown = dict.fromkeys(kinds, SHOWN)
    for punched, wrong in ((False, 0), (True, 1)):
        probes = {"worker1": seen(punched=punched), "worker2": seen(ports=(7, 8, 9), punched=punched)}
        assert len(disproofs(kinds, probes, shown)) == wrong


@pytest.mark.parametrize(
    ("first", "second", "passes"),
    [
        ("none", "symmetric", True),
        ("full-cone", "symmetric", True),
        ("address-restricted", "symmetric", True),
        ("port-restricted", "symmetric", False),
        ("symmetric", "symmetric", False),
        ("double-nat", "port-restricted", True),
        ("hairpin-off", "hairpin-off", False),
        ("hairpin-off", "symmetric", True),
        ("udp-blocked", "none", False),
        ("ipv6-only", "ipv6-only", True),
        ("ipv6-only", "none", True),
        ("ipv6-only", "full-cone", False),
    ],
)
def test_where_a_hole_can_be_punched(first: str, second: str, *, passes: bool) -> None:
    """Either way round."""
    one, other = NatKind(first), NatKind(second)
    assert can_punch(one, other) is can_punch(other, one) is passes


def test_what_the_program_prints_is_read() -> None:
    """A line as it came from a node behind a symmetric router."""
    line = (
        '{"seen": [["192.88.99.22", 25626], ["192.88.99.22", 26462], ["192.88.99.22", 57493]], "hops": 61,'
        ' "others": ["same"], "tcp": true, "tcp_443": true, "punched": true}\n'
    )
    found = parse(line)
    assert found.words == "mapping address-and-port-dependent, filtering address-and-port-dependent, 3 hops"
    with pytest.raises(ToolError, match="failed: no network"):
        parse("failed: no network\n")


def test_a_kind_that_nobody_knows_lists_the_known_ones() -> None:
    """One sentence with the place."""
    with pytest.raises(InputError, match=r"--kinds: unknown kind of NAT 'cone'; known are: none, full-cone"):
        kind_named("cone")
