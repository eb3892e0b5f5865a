"""Nodes of the lab behind every kind of NAT, each proven by packets; and a small grid of a VPN between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import tasks
from tests.live.vpn import need, said
from vpnmesh.firewall.nat_kinds import NatKind, families_of
from vpnmesh.host.dual_stack import BOTH, IPV6_ALONE, Family
from vpnmesh.study.nat_grid import Found, NatPair
from workflows.nat_grid import main
from workflows.run import nat
from workflows.run.hosts import run_on
from workflows.run.nat import ipv4_again, prove_kinds, routers_removed, set_families, set_kinds
from workflows.run.nat_grid_files import GridFiles
from workflows.run.site import Site
from workflows.run.teardown import sweep

pytestmark = pytest.mark.live

PAIRS = (
    "full-cone>port-restricted",
    "address-restricted>symmetric",
    "double-nat>none",
    "hairpin-off>hairpin-off",
    "udp-blocked>tcp-443-only",
)
"""Every kind of IPv4, and pairs that can and cannot be punched."""
LEFT = "ip netns list; ip rule show pref 7320; ip -o link | grep -o 'vm[io][0-9]'; nft list tables | grep vmnat; true"


@pytest.fixture(name="bare")
def no_routers_after(site: Site) -> Iterator[Site]:
    """The lab, whose firewall has nothing of ours left afterwards."""
    with routers_removed(site):
        yield site
    assert said(site, site.testbed.firewall.name, LEFT) == ""


def kinds_of(site: Site, pair: str) -> dict[str, NatKind]:
    """The two workers behind these kinds."""
    found, ends = NatPair.parse(pair), site.testbed.pairs[0]
    return {ends.client: found.client, ends.server: found.server}


@pytest.mark.parametrize("pair", PAIRS)
def test_each_kind_proves_itself(pair: str, bare: Site) -> None:
    """Mapping, filtering, hops and protocols are that kind's, and a hole is punched where it can be."""
    kinds = kinds_of(bare, pair)
    set_kinds(bare, kinds)
    proof = prove_kinds(bare, kinds)
    assert proof.disproofs == ()
    assert proof.punched is (NatPair.parse(pair).can_punch if pair != PAIRS[-1] else None)


ADDRESSES = (
    "ip -o address show dev {0} scope global; ip route show dev {0}; ip -6 route show dev {0} | grep fd76;"
    " sysctl -n net.ipv6.conf.{0}.disable_ipv6 net.ipv6.conf.all.forwarding; ls /run/vpnmesh/dual-stack; cat /etc/hosts"
)


def in_the_underlay(site: Site) -> dict[str, str]:
    """Addresses, routes and settings of every node's first leg, names, and whether a file of ours is there."""
    return {
        node.name: said(site, node.name, ADDRESSES.format(node.leg.interface)) for node in site.testbed.nodes
    }


@pytest.fixture(name="dual")
def ipv6_for_a_while(bare: Site) -> Iterator[Site]:
    """The lab with IPv6 in its underlay beside IPv4, and as it was before afterwards."""
    before = in_the_underlay(bare)
    with ipv4_again(bare):
        set_families(bare, dict.fromkeys(bare.all_nodes, BOTH))
        assert in_the_underlay(bare) != before
        yield bare
    assert in_the_underlay(bare) == before


@pytest.mark.parametrize("pair", ["ipv6-only>ipv6-only", "none>ipv6-only", "symmetric>ipv6-only"])
def test_ipv6_alone_proves_itself(pair: str, dual: Site) -> None:
    """Untranslated behind a stateful firewall, no IPv4 gets out, and a hole is punched where both ends have IPv6."""
    kinds = kinds_of(dual, pair)
    set_families(dual, families_of(kinds))
    set_kinds(dual, kinds)
    proof = prove_kinds(dual, kinds, families_of(kinds))
    assert proof.disproofs == ()
    assert proof.punched is NatPair.parse(pair).can_punch
    assert passed(dual)[Family.IPV6] > 0
    assert passed(dual)[Family.IPV4] == 0


def test_ipv4_at_a_node_of_ipv6_alone_is_seen(dual: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the probes and by the counter, each with IPv4 left at the node and what drops it taken away."""
    monkeypatch.setattr(nat, "PATIENT_S", nat.WAIT_S)
    kinds = kinds_of(dual, "none>ipv6-only")
    set_kinds(dual, kinds)
    said(dual, dual.testbed.firewall.name, "nft flush chain inet vmnat_guard forward")
    proof = prove_kinds(dual, kinds, families_of(kinds))
    assert "worker2 is not behind ipv6-only: IPv4 passes" in proof.disproofs
    assert passed(dual)[Family.IPV4] > 0


def passed(site: Site) -> dict[Family, int]:
    """Packets that the firewall let through to or from a node of IPv6 alone."""
    firewall = site.testbed.firewall.name
    found: dict[Family, int] = run_on(site.nr, [firewall], tasks.count_passed)[firewall].result
    return found


def test_teardown_gives_ipv4_back_that_a_killed_run_took(bare: Site) -> None:
    """On a dry run it only says so."""
    before = in_the_underlay(bare)
    set_families(bare, dict.fromkeys(bare.all_nodes, BOTH) | {"worker1": IPV6_ALONE})
    taken = in_the_underlay(bare)
    told = "".join(one.told(dry_run=True) for one in sweep(bare, dry_run=True))
    assert "worker1: IPv6 in the underlay: would be removed" in told
    assert in_the_underlay(bare) == taken
    told = "".join(one.told(dry_run=False) for one in sweep(bare, dry_run=False))
    assert "worker1: IPv6 in the underlay: removed" in told
    assert in_the_underlay(bare) == before


def test_a_pair_of_ipv6_alone(bare: Site, tmp_path: Path) -> None:
    """WireGuard is direct by IPv6 where both ends have it; with the figures of what passed."""
    need(bare, "wireguard-direct")
    words = ["--solutions", "wireguard", "--pairs", "ipv6-only>ipv6-only", "--out", str(tmp_path / "grid")]
    before = in_the_underlay(bare)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    (cell,) = GridFiles(tmp_path / "grid").read().values()
    assert (cell.found, cell.punched) == (Found.DIRECT, True)
    assert cell.proof["packets that passed their networks' edge"].startswith("IPv4 0, IPv6 ")
    assert in_the_underlay(bare) == before


def test_a_kind_that_is_not_there_is_disproven(bare: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its router no kind proves itself, however patient the probes are: here one end has another one."""
    monkeypatch.setattr(nat, "PATIENT_S", nat.WAIT_S)
    set_kinds(bare, kinds_of(bare, "full-cone>port-restricted"))
    proof = prove_kinds(bare, kinds_of(bare, "full-cone>symmetric"))
    assert proof.disproofs == (
        "worker2 is not behind symmetric: mapping is endpoint-independent, wanted address-and-port-dependent",
    )


def test_teardown_finds_routers_that_a_killed_run_left(bare: Site) -> None:
    """On a dry run it only names them."""
    set_kinds(bare, kinds_of(bare, "double-nat>symmetric"))
    told = [one.told(dry_run=True) for one in sweep(bare, dry_run=True)]
    assert "vmnat0c" in "".join(told)
    assert said(bare, bare.testbed.firewall.name, LEFT)
    told = [one.told(dry_run=False) for one in sweep(bare, dry_run=False)]
    assert [one for one in told if one.startswith("firewall: NAT routers: removed")]
    assert said(bare, bare.testbed.firewall.name, LEFT) == ""


def test_one_name_serves_ipv4_alone_and_ipv6_alone(bare: Site, tmp_path: Path) -> None:
    """NetBird tells both ends the same signal server and relay; no node keeps their names."""
    need(bare, "netbird-direct")
    before = in_the_underlay(bare)
    words = ["--solutions", "netbird", "--pairs", "full-cone>ipv6-only", "--out", str(tmp_path / "grid")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    (cell,) = GridFiles(tmp_path / "grid").read().values()
    assert (cell.found, cell.punched) == (Found.RELAY, False), cell
    assert in_the_underlay(bare) == before


def test_a_small_grid(bare: Site, tmp_path: Path) -> None:
    """Direct where a hole can be punched, relayed where none can, with the packets of that.

    So is a pair of IPv4 alone and IPv6 alone, by a relay that has both. A second call has nothing to do.
    """
    need(bare, "headscale-direct")
    pairs = "port-restricted>port-restricted,symmetric>symmetric,full-cone>ipv6-only"
    words = ["--solutions", "headscale", "--pairs", pairs, "--out", str(tmp_path / "grid")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    files = GridFiles(tmp_path / "grid")
    cells = {str(one.pair): one for one in files.read().values()}
    direct, relayed, mixed = (cells[pair] for pair in pairs.split(","))
    assert (direct.found, relayed.found, mixed.found) == (Found.DIRECT, Found.RELAY, Found.RELAY)
    assert (direct.punched, relayed.punched) == (True, False)
    assert direct.first_packet_s is not None
    assert direct.direct_s is not None
    assert direct.direct_s >= direct.first_packet_s > 0
    assert relayed.direct_s is None
    assert (direct.capture, bool(relayed.capture)) == ("", True)
    packets = (tmp_path / "grid" / relayed.capture).read_text(encoding="utf-8")
    assert " udp 192.88.99.14:" in packets
    assert " > 192.88.99.26:443 " in packets
    assert "relay" in (tmp_path / "grid" / "headscale.svg").read_text(encoding="utf-8")
    again = CliRunner().invoke(main, words)
    assert "0 cells (3 done before)" in again.output
    assert len((tmp_path / "grid" / "cells.jsonl").read_text(encoding="utf-8").splitlines()) == 3
