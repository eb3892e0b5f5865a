"""What still gets through to named DNS and NTP servers when all else is closed."""

from dataclasses import replace

import tasks
from vpnmesh.firewall.policy import Protocol
from workflows.run import firewall
from workflows.run.hosts import run_on
from workflows.run.site import Site

UDP, TCP = Protocol.UDP, Protocol.TCP


def reached_under_tcp_443_only(site: Site) -> dict[str, bool]:
    """With the relay named for DNS and the control plane for NTP: what the client's packets get to."""
    bed = site.testbed
    dns, ntp = bed.relay.underlay, bed.control_plane.underlay
    named = replace(bed, dns_servers=(dns,), ntp_servers=(ntp,))
    firewall.set_policy(site.nr, named, "tcp-443-only", site.firewall)
    tried = {
        "DNS by UDP": (str(dns), UDP, 53),
        "DNS by TCP": (str(dns), TCP, 53),
        "NTP": (str(ntp), UDP, 123),
        "the DNS server's port 54": (str(dns), UDP, 54),
        "NTP at the DNS server": (str(dns), UDP, 123),
        "DNS at the NTP server": (str(ntp), UDP, 53),
    }
    targets = {bed.client.name: tuple(tried.values())}
    seen = run_on(site.nr, [bed.client.name], tasks.probe_reach, targets=targets)[bed.client.name].result
    return {what: seen[target] for what, target in tried.items()}


EXPECTED = {
    "DNS by UDP": True,
    "DNS by TCP": True,
    "NTP": True,
    "the DNS server's port 54": False,
    "NTP at the DNS server": False,
    "DNS at the NTP server": False,
}
