"""The NAT grid's cells: which are asked, what is kept of each, and what its probes mean."""

from dataclasses import replace

import pytest

from vpnmesh.errors import InputError
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.model import Path
from vpnmesh.reference.nat_promises import class_of, product_named, products
from vpnmesh.report.nat_grid import counted, figure, kept, page
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.convergence import PathProbe
from vpnmesh.study.nat_grid import (
    DID_NOT_START,
    FIRST_PACKET_S,
    UPGRADE_S,
    Found,
    NatPair,
    NatRecord,
    direct_s,
    estimate_s,
    first_packet_s,
    line_of,
    pairs_of,
    path_found,
    read_lines,
    watched_enough,
)
from vpnmesh.study.scenarios import BUILT_IN

NAME = next(iter(products()))
RECORD = NatRecord(
    solution=NAME,
    scenario=product_named(NAME).scenario,
    client=NatKind.FULL_CONE,
    server=NatKind.PORT_RESTRICTED,
    found=Found.DIRECT,
    at="2026-01-01T00:00:00+00:00",
    first_packet_s=2.5,
    direct_s=3.0,
    rate_mbit_s=120.0,
    relay_share=0.001,
    punched=True,
    proof={"worker1": "mapping endpoint-independent"},
)
DIRECT = [PathProbe(at / 2, Path.DIRECT, answered=True) for at in range(8)]
RELAYED = [PathProbe(at / 2, Path.RELAY, answered=True) for at in range(40)]
SILENT = [PathProbe(float(at), None, answered=False) for at in range(40)]


def test_every_pair_is_asked_once() -> None:
    """Four kinds are ten pairs; who is client makes no difference to a NAT."""
    kinds = [NatKind.NONE, NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC, NatKind.UDP_BLOCKED]
    assert len(pairs_of([*kinds, NatKind.NONE])) == 10
    assert str(pairs_of(kinds)[1]) == "none>port-restricted"
    assert len(pairs_of(NatKind)) == 55


def test_a_pair_is_read_as_it_is_written() -> None:
    """And anything else is one sentence."""
    assert NatPair.parse("symmetric > none") == NatPair(NatKind.SYMMETRIC, NatKind.NONE)
    with pytest.raises(InputError, match=r"--pairs: 'symmetric' is not KIND>KIND"):
        NatPair.parse("symmetric")


def test_what_has_no_relay_is_waited_for_in_vain() -> None:
    """The plan counts it so; so are two ends that share no family of addresses."""
    hard, mixed = NatPair(NatKind.SYMMETRIC, NatKind.SYMMETRIC), NatPair(NatKind.FULL_CONE, NatKind.IPV6_ONLY)
    assert estimate_s([mixed], relays=False) == estimate_s([hard], relays=False)
    assert estimate_s([hard], relays=False) > estimate_s([hard], relays=True)


def test_a_record_comes_back_as_it_was_kept() -> None:
    """The last line of a cell counts, and a line that a killed run left half does not."""
    other = replace(RECORD, found=Found.RELAY)
    text = f"{line_of(RECORD)}\n{line_of(other)}\n"
    assert read_lines(text, "cells.jsonl") == (other,)
    assert read_lines(text + line_of(RECORD)[:40], "cells.jsonl") == (other,)
    with pytest.raises(InputError, match=r"cells.jsonl, line 2: is no cell"):
        read_lines(f"{line_of(RECORD)}\n{{}}\n{line_of(RECORD)}\n", "cells.jsonl")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (f'"solution":"{NAME}"', '"solution":"../../etc/x"'),
        ('"capture":""', '"capture":"packets/../../x"'),
        ('"first_packet_s":2.5', '"first_packet_s":NaN'),
        ('"rate_mbit_s":120.0', '"rate_mbit_s":-1'),
    ],
)
def test_what_no_cell_can_hold_is_refused(right: str, wrong: str) -> None:
    """Names become files, and figures are figures."""
    line = line_of(RECORD)
    assert right in line
    with pytest.raises(InputError, match="is no cell of a NAT grid"):
        read_lines(f"{line.replace(right, wrong)}\n", "cells.jsonl")


def test_seconds_of_a_pair_that_is_direct_at_once() -> None:
    """First packet and direct are the same moment, and nobody watches on."""
    assert first_packet_s(DIRECT) == direct_s(DIRECT) == 0
    assert not watched_enough(UPGRADE_S, DIRECT[:2])
    assert watched_enough(UPGRADE_S, DIRECT[:3])


def test_a_relayed_pair_is_watched_for_a_direct_path() -> None:
    """One that becomes direct has two moments."""
    assert not watched_enough(UPGRADE_S, RELAYED[:10])
    assert watched_enough(UPGRADE_S, RELAYED)
    assert not watched_enough(NatPair(NatKind.FULL_CONE, NatKind.NONE).upgrade_s, RELAYED)
    upgraded = RELAYED[:6] + [replace(one, path=Path.DIRECT) for one in RELAYED[6:12]]
    assert (first_packet_s(upgraded), direct_s(upgraded)) == (0, 3.0)


def test_silence_is_waited_for() -> None:
    """Until the time for a first packet is over."""
    assert not watched_enough(UPGRADE_S, SILENT[:10])
    assert watched_enough(UPGRADE_S, SILENT)
    assert path_found([DIRECT, SILENT], None) == (
        Found.NOTHING,
        f"no packet came back within {FIRST_PACKET_S:.0f} s",
    )


def test_a_relay_that_is_found_late_is_waited_for_where_udp_is_blocked() -> None:
    """ZeroTier's own rule wants a minute; where UDP passes nobody waits longer for it than for others."""
    late_s = SOLUTIONS["zerotier"].late_relay_s
    blocked, open_ = NatPair(NatKind.UDP_BLOCKED, NatKind.NONE), NatPair(NatKind.SYMMETRIC, NatKind.NONE)
    assert (blocked.first_packet_within_s(late_s), open_.first_packet_within_s(late_s)) == (
        late_s,
        FIRST_PACKET_S,
    )
    assert blocked.first_packet_within_s(SOLUTIONS["nebula"].late_relay_s) == FIRST_PACKET_S
    assert not watched_enough(UPGRADE_S, SILENT, late_s)
    assert path_found([SILENT, SILENT], None, late_s)[1] == f"no packet came back within {late_s:.0f} s"


def test_the_counters_must_agree_with_the_ends() -> None:
    """A pair that says direct while the relay carries its bytes is a relayed one; one in between is not measured."""
    assert path_found([DIRECT, DIRECT], 0.0) == (Found.DIRECT, "")
    assert path_found([RELAYED, RELAYED], 1.0) == (Found.RELAY, "")
    assert path_found([DIRECT, DIRECT], 1.0)[0] is Found.RELAY
    assert path_found([DIRECT, DIRECT], 0.3)[0] is Found.BROKEN
    assert path_found([RELAYED, RELAYED], 0.0)[0] is Found.BROKEN


def _classes(pair: NatPair) -> set[str]:
    return {class_of(pair.client), class_of(pair.server)}


def test_every_product_of_the_grid_is_a_solution_with_a_scenario_of_its_own() -> None:
    """And every promise names its source; all pairs have one, but two nodes behind one NAT that sends nothing back.

    Of IPv6 alone no word of ZeroTier's was found, of Netmaker's neither, nor of a NAT that has a port per peer.
    """
    kinds = list(NatKind)
    unspoken = {"zerotier": {"ipv6"}, "netmaker": {"ipv6", "hard"}}
    for name, product in products().items():
        assert name in SOLUTIONS
        assert BUILT_IN.named(product.scenario).solution == name
        assert all(one.source and one.url.startswith("https://") for one in product.promises)
        without = [pair for pair in pairs_of(kinds) if not product.promise(pair.client, pair.server)]
        silent = [pair for pair in pairs_of(kinds) if _classes(pair) & unspoken.get(name, set())]
        if name == "netmaker":
            silent = [pair for pair in silent if "no-udp" not in _classes(pair)]
        assert set(without) == {NatPair(NatKind.HAIRPIN_OFF, NatKind.HAIRPIN_OFF), *silent}


def test_kept_and_broken_promises_are_counted() -> None:
    """A cell that says nothing of the product is neither."""
    broken = replace(RECORD, found=Found.RELAY, server=NatKind.NONE)
    unproven = replace(RECORD, found=Found.UNPROVEN, server=NatKind.SYMMETRIC)
    assert [kept(one) for one in (RECORD, broken, unproven)] == [True, False, None]
    said = counted(NAME, [RECORD, broken, unproven])
    assert said == f"{NAME}: 3 cells: 1 direct, 1 relay, 1 not proven; 1 not as promised"


def test_what_may_be_chance_is_tried_again() -> None:
    """Relayed although a hole could be punched; where none could, the relay is what was to be expected."""
    relayed = replace(RECORD, found=Found.RELAY)
    assert relayed.may_be_chance
    assert replace(RECORD, found=Found.UNPROVEN).may_be_chance
    assert not replace(relayed, punched=False).may_be_chance
    assert not replace(relayed, found=Found.NOTHING).may_be_chance
    dead = replace(relayed, found=Found.NOTHING, reason=f"{DID_NOT_START}its socket was taken")
    assert dead.may_be_chance
    assert not replace(dead, punched=None).may_be_chance
    assert not RECORD.may_be_chance
    again = replace(RECORD, tries=(Found.RELAY, Found.DIRECT))
    assert "| 2 tries: relay, direct |" in page([again])
    assert ">in 2 tries<" in figure(NAME, [again])


def test_the_page_has_every_cell_with_its_source() -> None:
    """Promised beside found, and the address of whose words these are."""
    failed = replace(
        RECORD, found=Found.NOTHING, server=NatKind.NONE, reason="a | b", capture="packets/one.txt"
    )
    text = page([RECORD, failed])
    assert "| full-cone | port-restricted | yes | direct | direct | yes | 2.5 | 3.0 | 120.0 |  |" in text
    assert r"a \| b; [packets](packets/one.txt)" in text
    promise = product_named(NAME).promise(RECORD.client, RECORD.server)
    assert promise is not None
    assert promise.url in text


def test_the_picture_says_in_words_what_was_found() -> None:
    """Nothing hangs on a colour alone."""
    text = figure(NAME, [RECORD, replace(RECORD, found=Found.RELAY, server=NatKind.SYMMETRIC)])
    assert ">direct<" in text
    assert ">relay<" in text
    assert ">port-restricted<" in text
    assert ">first packet 2.5 s<" in text


def test_the_picture_says_what_no_product_could_have_done() -> None:
    """Where no hole is possible a relay is the best there is; how to read it stands below the diagonal."""
    relayed = replace(RECORD, found=Found.RELAY, punched=False, direct_s=None)
    assert ">no hole possible<" in figure(NAME, [relayed])
    assert ">no UDP<" in figure(NAME, [replace(relayed, punched=None)])
    assert "A pair is tried in one order" not in figure(NAME, [relayed])
    every = [replace(relayed, client=pair.client, server=pair.server) for pair in pairs_of(NatKind)]
    assert ">A pair is tried in one order: a NAT does not know who is client.<" in figure(NAME, every)
