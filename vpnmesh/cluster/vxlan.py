"""Pods' network of our own: CNI's `ptp` and `host-local` in the node's block, over `vxlan.calico` as ever."""

import json

from vpnmesh.cluster.networking import CNI_CONFIGURATION, PodNetworking
from vpnmesh.cluster.places import CNI_STATE, PLUGIN_PLACES
from vpnmesh.cluster.protocol import Cluster, ClusterProgram
from vpnmesh.host.service import removed
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Fact, Plan, WriteFile

FILE = f"{CNI_CONFIGURATION}/10-vpnmesh.conflist"


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

    def leave(self, _testbed: Testbed, _node: Node, /) -> Fact[Plan]:
        """Remove the configuration."""
        return removed((), (FILE,))


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
