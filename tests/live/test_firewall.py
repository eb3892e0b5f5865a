"""The nftables driver on real packets: every policy proven, kinds of NAT told apart, rules that end by themselves."""

import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

import tasks
from tests.live.named_servers import EXPECTED, reached_under_tcp_443_only
from tests.live.nat_kinds import NAT_PORTS, ports_outside
from vpnmesh.firewall import nftables
from vpnmesh.firewall.policy import POLICIES, ManagementPath, policy_named, resolve
from workflows.run import firewall
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.site import Site

pytestmark = pytest.mark.live

NAMES = [policy.name for policy in POLICIES]
_IPV6 = (
    "sysctl -qw net.ipv6.conf.{0}.disable_ipv6=0 net.ipv6.conf.{0}.accept_dad=0;"
    " ip -6 addr add {1}/64 dev {0} nodad"
)
_UDP6 = (
    "bash -c 'exec 3<>/dev/udp/2001:db8:2::2/33999 && echo a >&3; sleep 2;"
    " echo b >&3 && echo silent || echo reached' 2>/dev/null"
)
_TCP6 = (
    "timeout 5 bash -c 'exec 3<>/dev/tcp/2001:db8:2::2/33999' 2>/dev/null;"
    " [ $? -ne 124 ] && echo reached || echo silent"
)


@pytest.fixture(autouse=True)
def open_again(site: Site) -> Iterator[None]:
    """Whatever a test did, the next one starts with everything allowed."""
    yield
    firewall.set_policy(site.nr, site.testbed, "allow-all", site.firewall)


def said(site: Site, host: str, script: str) -> str:
    """What a shell line prints on a node."""
    done = run_on(site.nr, [host], tasks.run_command, argv=("sh", "-c", script))[host].result
    return str(getattr(done, "stdout", done))


@pytest.mark.parametrize("name", NAMES)
def test_packets_do_what_the_policy_says(site: Site, name: str) -> None:
    """UDP, TCP and SSH between all nodes, both ways, before, during and after: 60 or 80 lines, none differs."""
    for policy in ("allow-all", name, "allow-all"):
        firewall.set_policy(site.nr, site.testbed, policy, site.firewall)
        lines = firewall.prove(site.nr, site.testbed, policy)
        assert [str(line) for line in lines if not line.holds] == []


def test_named_servers_stay_open_and_nothing_else(site: Site) -> None:
    """Where only TCP 443 may be opened, DNS and NTP reach the named servers, at their ports alone."""
    assert reached_under_tcp_443_only(site) == EXPECTED


def test_a_second_time_changes_nothing_and_others_rules_stay(site: Site) -> None:
    """The task says unchanged the second time; another table is as before when the policy has gone."""
    name = site.testbed.firewall.name
    said(
        site,
        name,
        "nft add table inet theirs; nft add chain inet theirs c '{ type filter hook forward priority 5; }'",
    )
    before = said(site, name, "nft list ruleset")
    arguments = {"policy": policy_named("block-udp-k8s"), "testbed": site.testbed}
    changed = [
        run_on(site.nr, [name], tasks.set_firewall_policy, **arguments)[name].changed for _ in range(2)
    ]
    assert changed == [True, False]
    firewall.set_policy(site.nr, site.testbed, "allow-all", site.firewall)
    assert before == said(site, name, "nft list ruleset")
    said(site, name, "nft delete table inet theirs")


def test_ipv6_is_blocked_too(site: Site) -> None:
    """With IPv6 routed between two workers, block-udp stops UDP over it and leaves TCP."""
    one, other, middle = site.testbed.client, site.testbed.server, site.testbed.firewall
    legs = {leg.vid: leg.interface for leg in middle.legs}
    for number, node in ((1, one), (2, other)):
        said(site, middle.name, _IPV6.format(legs[node.leg.vid], f"2001:db8:{number}::1"))
        said(site, node.name, _IPV6.format(node.leg.interface, f"2001:db8:{number}::2"))
        route = f"ip -6 route replace default via 2001:db8:{number}::1 dev {node.leg.interface}"
        said(site, node.name, route)
    said(site, middle.name, "sysctl -qw net.ipv6.conf.all.forwarding=1")
    # neighbours are found only once the kernel has checked its own addresses
    said(site, one.name, "for i in 1 2 3 4 5 6 7 8; do ping -6 -c1 -W1 2001:db8:2::2 && break; done")
    assert said(site, one.name, f"{_UDP6}; {_TCP6}").split() == ["reached", "reached"]
    firewall.set_policy(site.nr, site.testbed, "block-udp", site.firewall)
    assert said(site, one.name, f"{_UDP6}; {_TCP6}").split() == ["silent", "reached"]


@pytest.mark.parametrize(("name", "ports"), NAT_PORTS)
def test_kinds_of_nat_differ_in_the_port_that_peers_see(site: Site, name: str, ports: int) -> None:
    """One source port towards two peers: one port outside where it is endpoint-independent, two where symmetric."""
    firewall.set_policy(site.nr, site.testbed, name, site.firewall)
    assert ports == len(ports_outside(site))


def test_an_established_flow_does_not_outlive_a_stateful_policy(site: Site) -> None:
    """A UDP flow that the kernel tracked is stopped by tcp-443-only, which lets replies of tracked flows pass."""
    client, server = site.testbed.client, site.testbed.server
    listen = (
        "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(90); s.bind(('', 7790))\n"
        "try:\n  while True: d, a = s.recvfrom(99); s.sendto(d, a)\nexcept OSError: pass"
    )
    ask = (
        "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.bind(('', 7791))\n"
        f"s.sendto(b'x', ('{server.underlay}', 7790))\n"
        "try: print(s.recv(9).decode())\nexcept OSError: print('silent')"
    )
    listens = "until ss -Hlun | grep -q :7790; do sleep 0.1; done"
    said(site, server.name, f'setsid -f timeout 120 python3 -c "{listen}" > /dev/null 2>&1; {listens}')
    assert said(site, client.name, f'python3 -c "{ask}"').strip() == "x"
    firewall.set_policy(site.nr, site.testbed, "tcp-443-only", site.firewall)
    assert said(site, client.name, f'python3 -c "{ask}"').strip() == "silent"


def test_rules_end_by_themselves(site: Site) -> None:
    """With a lifetime of ten seconds the kernel drops the rules' teeth, with nobody there to do it."""
    name = site.testbed.firewall.name
    script = nftables.render(resolve(policy_named("block-udp"), site.testbed), site.testbed, lifetime_s=10)
    said(site, name, f"nft -f - <<'END'\n{script}END\n")
    assert not all(line.holds for line in firewall.prove(site.nr, site.testbed, "allow-all"))
    deadline = time.monotonic() + 180
    while not all(line.holds for line in firewall.prove(site.nr, site.testbed, "allow-all")):
        assert time.monotonic() < deadline


def test_the_controllers_own_path_is_never_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that would come from a VLAN which the policy closes is told so, and nothing is changed."""
    here = IPv4Address("192.88.99.11")
    monkeypatch.setattr("tasks.firewall.policy._way_to", lambda address: ManagementPath(here, address))
    nodes = tuple(replace(node, management=str(node.underlay)) for node in site.testbed.nodes)
    testbed = replace(site.testbed, nodes=nodes)
    with pytest.raises(HostsFailedError, match="would cut the controller off from k8s-master, worker2"):
        firewall.set_policy(site.nr, testbed, "tcp-443-only", site.firewall)
    assert "absent" in said(site, testbed.firewall.name, "nft list table inet vpnmesh 2>&1 || echo absent")
