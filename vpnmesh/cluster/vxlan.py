"""Pods' network of our own: CNI's `ptp` and `host-local` in the node's block, over `vxlan.calico` as ever."""

import json

from vpnmesh.cluster.networking import CNI_CONFIGURATION, PodNetworking
from vpnmesh.cluster.places import CNI_STATE, PLUGIN_PLACES
from vpnmesh.cluster.protocol import Cluster, ClusterProgram, Stage
from vpnmesh.host.service import removed
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, WriteFile, unified_diff

FILE = f"{CNI_CONFIGURATION}/10-vpnmesh.conflist"
OUTGOING = ("ip", "vpnmesh_pods")
"""The table by which a pod's packets to nodes, such as the API server, leave with the node's own address."""


class Vxlan(PodNetworking):
    """A veth pair and a route for each pod; what leads to other nodes' blocks is there before the cluster is."""

    name = ""
    programs = (
        ClusterProgram("ptp", "containernetworking-plugins", folders=PLUGIN_PLACES),
        ClusterProgram("host-local", "containernetworking-plugins", folders=PLUGIN_PLACES),
    )

    def configuration(self, cluster: Cluster, node: Node, /) -> tuple[WriteFile, ...]:
        """The list of plugins: the first pod gets the block's first address, the measured pod's, then it goes on."""
        return (WriteFile(FILE, conflist(cluster, node), mode=0o644),)

    def stages(self, cluster: Cluster, _kubectl: tuple[str, ...], /) -> tuple[Stage, ...]:
        """A VPN takes no packets from pods' addresses, so what is for no pod leaves as Calico's natOutgoing has it."""
        everyone = tuple(node.name for node in cluster.members)
        return (Stage("outgoing", everyone, lambda cluster, _node: outgoing(cluster)),)

    def leave(self, _testbed: Testbed, _node: Node, /) -> Fact[Plan]:
        """Remove the configuration, and the table of outgoing packets."""
        cleanup = Command(("nft", "delete", "table", *OUTGOING), ok=(0, 1, 127))
        return removed((), (FILE,), find=(_listed(),), cleanup=(cleanup,))


def outgoing(cluster: Cluster) -> Fact[Plan]:
    """Ensure that table on a node."""
    rules = (
        f"table {' '.join(OUTGOING)} {{\n chain postrouting {{\n"
        "  type nat hook postrouting priority srcnat; policy accept;\n"
        f"  ip saddr {cluster.pods} ip daddr != {cluster.pods} masquerade\n }}\n}}\n"
    )

    def plan(found: tuple[Completed, ...]) -> Plan:
        if f"ip saddr {cluster.pods} ip daddr != {cluster.pods} masquerade" in found[0].stdout:
            return Plan()
        return Plan((Command(("nft", "-f", "-"), stdin=rules),), unified_diff("outgoing", "", rules))

    return Fact((_listed(),), lambda found: plan(tuple(found)))


def _listed() -> Command:
    return Command(("nft", "list", "table", *OUTGOING), ok=(0, 1, 127))


def conflist(cluster: Cluster, node: Node) -> str:
    """As containerd reads it; the gateway is the block's last address, on the node's end of every veth."""
    site = cluster.network.site(node.name)
    span = {"subnet": str(site.block), "rangeStart": str(site.pod), "gateway": str(site.block[-2])}
    plugin = {
        "type": "ptp",
        "mtu": cluster.network.mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": CNI_STATE,
            "ranges": [[span]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "vpnmesh", "plugins": [plugin]}, indent=1) + "\n"
