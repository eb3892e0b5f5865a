"""Native pods given what a VPN's own stack uses: it acts, on those interfaces alone, and goes with the pods."""

import re
from collections.abc import Mapping

import pytest

import tasks
from tests.live.vpn import need
from vpnmesh.host.pods import HOST_VETH, POD_VETH, VXLAN, in_pod, pod_address
from vpnmesh.measurements.protocol import Settings
from vpnmesh.solutions import solution_named
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.tools.iperf3 import PORT, Iperf3
from workflows.run.hosts import run_on
from workflows.run.measure import tuned
from workflows.run.provision import attach, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live

_FEATURES = ("tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload")
_NONE: frozenset[str] = frozenset()
# arguments: the client's argv. A stream, and what the kernel says of it meanwhile
_WATCHED = f"""
"$@" > /dev/null & client=$!
sleep 1
ss -tinH state established "dport = {PORT}"
wait $client
"""


def said(site: Site, host: str, *argv: str) -> str:
    """What a command says on a host."""
    return str(run_on(site.nr, [host], tasks.run_command, argv=argv)[host].result)


def offloads(site: Site, host: str) -> Mapping[str, frozenset[str]]:
    """Of each interface that packets between pods pass on this node, which of the three offloads are on."""
    port = site.testbed.node(host).leg.interface
    asked = {
        "port": ("ethtool", "-k", port),
        VXLAN: ("ethtool", "-k", VXLAN),
        HOST_VETH: ("ethtool", "-k", HOST_VETH),
        "pod": in_pod("ethtool", "-k", POD_VETH),
    }
    found = {name: said(site, host, *argv) for name, argv in asked.items()}
    return {
        name: frozenset(one for one in _FEATURES if re.search(rf"^{one}: on", text, re.MULTILINE))
        for name, text in found.items()
    }


def buffers(site: Site, host: str, *, pod: bool) -> list[int]:
    """The most that TCP's buffers may grow to, receiving and sending, in the pod or on the node."""
    argv = ("sysctl", "-n", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
    text = said(site, host, *(in_pod(*argv) if pod else argv))
    return [int(line.split()[2]) for line in text.splitlines()]


def control(site: Site, name: str) -> str:
    """The congestion control of the stream that a repetition of that scenario opens, as the kernel says (`ss -tin`).

    The other flow is iperf3's own talk, which sends little.
    """
    bed, scenario = site.testbed, scenario_named(name)
    settings = tuned(Settings(), solution_named(scenario.solution).tuning(scenario))
    tool, address = Iperf3(2, 0, settings.congestion), pod_address(bed, bed.server)
    said(site, bed.server.name, *in_pod("iperf3", "-s", "-1", "-D", "-B", str(address)))
    client = tool.client("tcp", address)
    text = said(site, bed.client.name, *in_pod("sh", "-c", _WATCHED, "sh", *client))
    flows = re.findall(r"^\s+(?:ts sack )?(\w+) wscale.* bytes_acked:(\d+)", text, re.MULTILINE)
    return str(max(flows, key=lambda flow: int(flow[1]))[0])


def test_a_plain_baseline_is_asked_for_cubic_and_leaves_everything_as_it_is(site: Site) -> None:
    """The flow of `native-1230` is cubic's whatever the node's default is; pods have the node's buffers."""
    bed = site.testbed
    with provisioned(site, scenario_named("native-1230")):
        assert control(site, "native-1230") == "cubic"
        assert buffers(site, bed.client.name, pod=True) == buffers(site, bed.client.name, pod=False)
        assert _NONE not in offloads(site, bed.client.name).values()


def test_the_nodes_own_congestion_control(site: Site) -> None:
    """A flow that asks for none gets the node's default, which a relay over TCP gets, too."""
    default = said(site, site.testbed.client.name, "sysctl", "-n", "net.ipv4.tcp_congestion_control").strip()
    with provisioned(site, scenario_named("native-1230-host-cc")):
        assert control(site, "native-1230-host-cc") == default


def test_offloads_are_off_at_the_pods_interfaces_and_nowhere_else(site: Site) -> None:
    """Packets come singly at pod, veth and VXLAN of every node; the port keeps its own; a second look changes nothing.

    Gone with the pods: the plain baseline after it has its offloads.
    """
    bed = site.testbed
    before = said(site, bed.client.name, "ethtool", "-k", bed.client.leg.interface)
    with provisioned(site, scenario_named("native-1230-no-offload")) as deployed:
        for node in bed.k8s:
            on = {name: some for name, some in offloads(site, node.name).items() if some}
            assert set(on) == {"port"}
        assert said(site, bed.client.name, "ethtool", "-k", bed.client.leg.interface) == before
        made = said(site, bed.client.name, "ip", "-o", "link", "show", VXLAN)
        attach(site, deployed.mesh, deployed.statuses)
        assert said(site, bed.client.name, "ip", "-o", "link", "show", VXLAN) == made
    with provisioned(site, scenario_named("native-1230")):
        assert _NONE not in offloads(site, bed.client.name).values()


def test_wide_buffers_are_the_pods_alone(site: Site) -> None:
    """Both of the pod's limits are 7 MiB or more, and the node's are as they were."""
    host = site.testbed.client.name
    before = buffers(site, host, pod=False)
    with provisioned(site, scenario_named("native-1230-buffers")):
        assert [max(7 << 20, limit) for limit in before] == buffers(site, host, pod=True)
        assert buffers(site, host, pod=False) == before


@pytest.mark.parametrize("name", ["headscale-relay", "headscale-direct"])
def test_a_vpns_stack_is_what_its_module_says(site: Site, name: str) -> None:
    """Relayed by DERP: TCP by the node's own congestion control. Direct: UDP sockets twice as large as asked for.

    Packets come one by one in both: nothing segments VXLAN's packets at the tunnel's interface.
    """
    need(site, name)
    host = site.testbed.client.name
    default = said(site, host, "sysctl", "-n", "net.ipv4.tcp_congestion_control").strip()
    said_of = solution_named("headscale").stack(scenario_named(name))
    with provisioned(site, scenario_named(name)) as deployed:
        seen = deployed.event().stack
    assert said_of.single_packets
    assert "segmentation of tunnels' packets off" in seen[host]["tailscale0"]
    assert seen["relay"]["TCP of derper"] == default
    assert said_of.own_tcp == (name == "headscale-relay")
    if said_of.buffers_bytes:
        assert str(2 * said_of.buffers_bytes) in seen[host]["UDP of tailscaled"].split("/")
