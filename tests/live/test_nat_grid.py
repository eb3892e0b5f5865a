"""Nodes of the lab behind every kind of NAT, each proven by packets; and a small grid of a VPN between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.live.vpn import need, said
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.study.nat_grid import Found, NatPair
from workflows.nat_grid import main
from workflows.run import nat
from workflows.run.nat import prove_kinds, routers_removed, set_kinds
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
"""Every kind that routers make, and pairs that can and cannot be punched."""
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


def test_a_small_grid(bare: Site, tmp_path: Path) -> None:
    """Direct where a hole can be punched, relayed where none can, with the packets of that.

    A second call has nothing to do. The pair that no router makes is told as unavailable, and is no failure of anybody.
    """
    need(bare, "headscale-direct")
    pairs = "port-restricted>port-restricted,symmetric>symmetric,none>ipv6-only"
    words = ["--solutions", "headscale", "--pairs", pairs, "--out", str(tmp_path / "grid")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    files = GridFiles(tmp_path / "grid")
    cells = {str(one.pair): one for one in files.read().values()}
    direct, relayed, unavailable = (cells[pair] for pair in pairs.split(","))
    assert (direct.found, relayed.found, unavailable.found) == (Found.DIRECT, Found.RELAY, Found.UNAVAILABLE)
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
