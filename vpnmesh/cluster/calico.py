"""Real Calico as the pods' network: its two CNI plugins and Felix, run by us without images or operator."""

import json
from collections.abc import Mapping, Sequence

from vpnmesh.cluster import calico_node, calico_objects
from vpnmesh.cluster.calico_apply import Kubectl, applied
from vpnmesh.cluster.networking import PodNetworking
from vpnmesh.cluster.places import PLUGIN_PLACES
from vpnmesh.cluster.protocol import NAMESPACE, Cluster, ClusterProgram, Stage
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import pod_address
from vpnmesh.host.service import looking_in, running
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile

POD_ADDRESSES = "cni.projectcalico.org/ipAddrs"
"""The annotation by which a pod asks calico-ipam for one address."""
NODE_ADDRESS = "projectcalico.org/IPv4Address"
TUNNEL_ADDRESS = "projectcalico.org/IPv4VXLANTunnelAddr"
WAIT_S = 60.0
"""How long the API may take to establish kinds, to make a token, and to know all nodes."""
# constant script: whatever is asked is there once it prints something
_UNTIL_PRINTED = 'until [ -n "$("$@" 2> /dev/null)" ]; do sleep 0.2; done'


def _program(name: str, way: str) -> ClusterProgram:
    version = looking_in(calico_node.PLUGIN_PATH, (name, "-v"))
    return ClusterProgram(name, version=version, folders=PLUGIN_PLACES, way=way)


class Calico(PodNetworking):
    """Pods behind `cali*` interfaces and VXLAN by Felix; each node's block and pod address are those of `pods`."""

    name = "calico"
    programs = (
        _program("calico", "bin/cni of Calico's release archive, into /opt/cni/bin"),
        _program("calico-ipam", "bin/cni of Calico's release archive, into /opt/cni/bin"),
        _program("calico-node", "/usr/bin/calico-node of the image calico/node, into /usr/local/bin"),
        # Felix looks for what another mode of its own may have left, and ends where it cannot
        ClusterProgram("ipset", "ipset"),
        ClusterProgram("iptables-save", "iptables"),
    )
    brings_vxlan = True

    def configuration(self, cluster: Cluster, node: Node, /) -> tuple[WriteFile, ...]:
        """The CNI's list of plugins; new pods get the MTU that is in it."""
        return (WriteFile(calico_node.CONFLIST, conflist(cluster, node)),)

    def stages(self, cluster: Cluster, kubectl: Kubectl, /) -> tuple[Stage, ...]:
        """Kinds, rights and addresses in the API."""
        master, members = (cluster.master.name,), tuple(node.name for node in cluster.members)
        return (
            Stage("calico programs", members, lambda _cluster, _node: calico_node.whole_programs()),
            Stage("calico kinds", master, lambda _cluster, _node: kinds(kubectl)),
            Stage(
                "calico account", master, lambda _cluster, _node: account(kubectl), lambda *_: token(kubectl)
            ),
            Stage("calico addresses", master, lambda found, _node: addresses(found, kubectl)),
        )

    def node_stages(self, cluster: Cluster, kubectl: Kubectl, /) -> tuple[Stage, ...]:
        """Calico's programs on each node, then whether they took the wanted addresses."""
        master, members = (cluster.master.name,), tuple(node.name for node in cluster.members)
        return (
            Stage("calico nodes", master, lambda found, _node: nodes_known(found, kubectl)),
            Stage("calico files", members, self._files),
            Stage("calico startup", members, calico_node.registered),
            Stage("calico felix", members, _running),
            Stage("calico check", master, lambda found, _node: as_laid_out(found, kubectl)),
        )

    def annotations(self, cluster: Cluster, node: Node, /) -> Mapping[str, str]:
        """The measured pod's address, asked of calico-ipam by name."""
        return {POD_ADDRESSES: json.dumps([str(pod_address(cluster.testbed, node))])}

    def leave(self, _testbed: Testbed, _node: Node, /) -> Fact[Plan]:
        """Remove Felix and all that it and the plugins made."""
        return calico_node.left()

    def change_of_mtu(self, cluster: Cluster, /) -> tuple[Stage, ...]:
        """What brings a standing cluster to the MTU of this value: pods that stand keep theirs."""
        members = tuple(node.name for node in cluster.members)
        return (
            Stage("calico files", members, self._files),
            Stage("calico felix", members, _running),
        )

    def _files(self, cluster: Cluster, node: Node) -> Fact[Plan]:
        token, authority = (
            cluster.published_by(cluster.master.name, key) for key in ("calico-token", "calico-authority")
        )
        own = WriteFile(calico_node.KUBECONFIG, calico_node.kubeconfig(cluster, authority, token))
        return calico_node.prepared(node, (own, *calico_node.stand_ins(), *self.configuration(cluster, node)))


def conflist(cluster: Cluster, node: Node) -> str:
    """As containerd reads it: the vendor's own list, without port mappings, which no pod of ours has."""
    plugin = {
        "type": "calico",
        "datastore_type": "kubernetes",
        "nodename": node.name,
        "mtu": cluster.network.mtu,
        "log_level": "warning",
        "ipam": {"type": "calico-ipam"},
        "policy": {"type": "k8s"},
        "kubernetes": {"kubeconfig": calico_node.KUBECONFIG},
    }
    return (
        json.dumps({"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [plugin]}, indent=1) + "\n"
    )


def kinds(kubectl: Kubectl) -> Fact[Plan]:
    """Ensure that the API knows Calico's kinds, and serves them."""
    names = tuple(f"crd/{kind.plural}.{kind.group}" for kind in calico_objects.KINDS)
    ready = (*kubectl, "wait", "--for=condition=Established", f"--timeout={WAIT_S:.0f}s", *names)
    return applied(
        kubectl, "Calico's kinds", calico_objects.definitions(), Command(ready, timeout_s=WAIT_S + 5)
    )


def account(kubectl: Kubectl) -> Fact[Plan]:
    """Ensure Calico's account and its rights; it has a token when this is applied."""
    ask = (*_secret(kubectl), "-o", "jsonpath={.data.token}")
    made = Command(("sh", "-c", _UNTIL_PRINTED, "sh", *ask), timeout_s=WAIT_S)
    return applied(kubectl, "Calico's account", calico_objects.account(), made)


def token(kubectl: Kubectl) -> Fact[dict[str, Text]]:
    """The account's token and the API's authority."""

    def parse(completed: Sequence[Completed]) -> dict[str, Text]:
        found = json.loads(completed[0].stdout or "{}")
        return calico_node.account_of(found.get("data", {}))

    return Fact((Command((*_secret(kubectl), "-o", "json"), ok=(0, 1)),), parse)


def _secret(kubectl: Kubectl) -> tuple[str, ...]:
    return (*kubectl, "get", "secret", calico_objects.SECRET, "-n", NAMESPACE)


def addresses(cluster: Cluster, kubectl: Kubectl) -> Fact[Plan]:
    """Ensure the pool and each node's block."""
    return applied(kubectl, "Calico's addresses", calico_objects.addresses(cluster))


def nodes_known(cluster: Cluster, kubectl: Kubectl) -> Fact[Plan]:
    """Wait until every member is in the API: `calico-node -startup` adds to what kubelet made there."""
    asks = tuple((*kubectl, "get", "node", node.name, "-o", "name") for node in cluster.members)

    def plan(completed: Sequence[Completed]) -> Plan:
        missing = [ask for ask, one in zip(asks, completed, strict=True) if not one.stdout.strip()]
        steps = tuple(Command(("sh", "-c", _UNTIL_PRINTED, "sh", *ask), timeout_s=WAIT_S) for ask in missing)
        return Plan(steps, "\n".join(f"+{' '.join(ask[-4:-2])}" for ask in missing))

    return Fact(tuple(Command(ask, ok=(0, 1)) for ask in asks), plan)


def _running(cluster: Cluster, node: Node) -> Fact[Plan]:
    return running(calico_node.felix(cluster, node))


def as_laid_out(cluster: Cluster, kubectl: Kubectl) -> Fact[Plan]:
    """That Calico took each node's address from the wanted interface, and its tunnel address from the node's block.

    Nothing is to be done about it: CheckError says which address it took instead. A dry run has none to look at.
    """
    if cluster.dry_run:
        return Fact((), lambda _: Plan())

    def plan(completed: Sequence[Completed]) -> Plan:
        said = _annotations(completed[0])
        wrong = [
            sentence
            for node in cluster.members
            for sentence in _other_than_wanted(cluster, node, said.get(node.name, {}))
        ]
        if wrong:
            raise CheckError("cluster", "; ".join(wrong))
        return Plan()

    return Fact((Command((*kubectl, "get", "nodes", "-o", "json"), ok=(0, 1)),), plan)


def _annotations(completed: Completed) -> dict[str, dict[str, str]]:
    nodes = json.loads(completed.stdout)["items"] if completed.stdout.strip() else []
    return {node["metadata"]["name"]: node["metadata"].get("annotations", {}) for node in nodes}


def _other_than_wanted(cluster: Cluster, node: Node, said: Mapping[str, str]) -> list[str]:
    wanted = {NODE_ADDRESS: cluster.address(node), TUNNEL_ADDRESS: cluster.network.site(node.name).tunnel}
    words = {NODE_ADDRESS: "node address", TUNNEL_ADDRESS: "tunnel address"}
    return [
        f"Calico has no {words[key]} {address} for {node.name} but {said.get(key) or 'none'}"
        for key, address in wanted.items()
        if said.get(key, "").partition("/")[0] != str(address)
    ]
