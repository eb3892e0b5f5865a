"""Rules that a VPN client left behind: found and removed, and nobody else's touched; in a network of the test's own."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import private_network
from tests.needs import needs
from vpnmesh.host import leftovers
from vpnmesh.host.lease import Lease, claimed, released
from vpnmesh.plan import Command
from vpnmesh.solutions import headscale, netbird

pytestmark = pytest.mark.live


@pytest.fixture
def network() -> Iterator[None]:
    with private_network():
        yield


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def said(command: Command) -> str:
    return run(*command.argv)


def rules() -> str:
    return run("nft", "list", "ruleset")


def test_nothing_is_found_and_nothing_made_where_nothing_is(network: None) -> None:
    """Looking and removing leave a node without a table as it was: a `nat` table alone would track connections."""
    for pattern in (headscale.RULES, netbird.RULES):
        assert said(leftovers.find(pattern)) == ""
        said(leftovers.remove(pattern))
        assert rules() == ""


def test_rules_of_iptables_go_and_others_stay(network: None) -> None:
    """A chain, the jump to it, an empty chain and a mark in another table go, with the tables that are empty then."""
    needs(run("iptables", "--version").strip().endswith("(nf_tables)"), "iptables over nf_tables")
    run("iptables", "-N", "ts-input")
    run("iptables", "-A", "INPUT", "-j", "ts-input")
    run("iptables", "-A", "ts-input", "-s", "100.64.0.1", "-j", "ACCEPT")
    run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    run("ip6tables", "-t", "nat", "-N", "ts-postrouting")
    assert "ts-input" in said(leftovers.find(headscale.RULES))
    assert "ts-postrouting" in said(leftovers.find(headscale.RULES))
    said(leftovers.remove(headscale.RULES))
    assert said(leftovers.find(headscale.RULES)) == ""
    assert "dport 22" in rules()
    assert "table ip6 nat" not in rules()


def test_an_empty_table_that_was_there_before_stays(network: None, tmp_path: Path) -> None:
    """The owner's empty `nat` is named in the lease's note; the client's `filter`, empty after it, is not."""
    run("nft", "add table ip nat; add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }")
    before = tmp_path / "tables"
    before.write_text(run("nft", "list", "tables"))
    run("nft", "add chain ip nat ts-postrouting; add rule ip nat POSTROUTING jump ts-postrouting")
    run("nft", "add table ip filter; add chain ip filter ts-input")
    said(leftovers.remove(headscale.RULES, str(before)))
    assert run("nft", "list", "tables") == "table ip nat\n"
    assert "ts-" not in rules()
    said(leftovers.remove(headscale.RULES, str(tmp_path / "no such file")))
    assert rules() == ""


@pytest.mark.parametrize(
    ("before", "beside", "left"),
    [("", "", "gone"), ("mkdir /run/netns", "", "there"), ("", "ip netns add other", "there")],
    ids=["goes", "was there", "somebody's is in it"],
)
def test_the_folder_of_namespaces_goes_with_the_lease(
    before: str, beside: str, left: str, network: None
) -> None:
    """iproute2 leaves `/run/netns` behind, mounted: it goes where the lease found none, and where it is empty."""
    mine = Lease("run-1", "root@one", "2026-01-01 12:00 UTC", "token-1", seconds=60)
    (claim,) = claimed(mine, again=False).commands
    release, *_ = released().commands
    during = (shlex.join(claim.argv), "ip netns add pod", "ip netns delete pod", beside)
    look = "[ -e /run/netns ] && echo there || echo gone"
    script = "\n".join(
        ("set -e", "mount -t tmpfs none /run", before, *during, shlex.join(release.argv), look)
    )
    assert run("unshare", "--mount", "sh", "-c", script).splitlines()[-1] == left


def test_rules_of_nftables_go_and_others_stay(network: None) -> None:
    """A client that speaks nftables puts its rules into the same tables."""
    run("nft", "add table ip filter; add chain ip filter INPUT { type filter hook input priority 0; }")
    run("nft", "add chain ip filter ts-input; add rule ip filter INPUT jump ts-input")
    run("nft", "add table inet other; add chain inet other mine")
    assert "ts-input" in said(leftovers.find(headscale.RULES))
    said(leftovers.remove(headscale.RULES))
    assert "table ip filter" not in rules()
    assert "table inet other" in rules()
