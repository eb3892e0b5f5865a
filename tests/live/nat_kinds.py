"""What kind of NAT a worker is behind, told by the ports that two peers see."""

import tasks
from workflows.run.hosts import run_on
from workflows.run.site import Site

NAT_PORTS = [("nat-endpoint-independent", 1), ("nat-symmetric", 2)]
"""How many ports two peers see of one socket."""
# a flow's address and port as the firewall has translated it: the destination of the reply
_FLOWS = "conntrack -L -p udp --orig-port-src 7777 2>/dev/null"


def ports_outside(site: Site) -> set[str]:
    """Send from one port of the client to two peers; the ports that the firewall gave the two flows."""
    bed = site.testbed
    peers = [str(bed.relay.underlay), str(bed.control_plane.underlay)]
    python = (
        "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7777));"
        f" [s.sendto(b'x', (peer, 9999)) for peer in {peers}]"
    )
    _said(site, bed.client.name, f'python3 -c "{python}"')
    flows = _said(site, bed.firewall.name, _FLOWS).splitlines()
    assert len(flows) == 2
    outside = {line.split("dst=")[2].split()[0] for line in flows}
    assert outside <= {str(leg.address.ip) for leg in bed.firewall.legs}
    return {line.split("dport=")[2].split()[0] for line in flows}


def _said(site: Site, host: str, script: str) -> str:
    done = run_on(site.nr, [host], tasks.run_command, argv=("sh", "-c", script))[host].result
    return str(getattr(done, "stdout", done))
