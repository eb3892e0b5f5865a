"""What Calico's own programs need in the Kubernetes API: kinds, rights, the IP pool, and a block for each node.

The definitions of the kinds are ours and say only that they exist: Calico checks its objects itself. The vendor's, with
every field described, are in its release and are not needed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vpnmesh.cluster.calico_apply import Manifest
from vpnmesh.cluster.protocol import NAMESPACE, Cluster
from vpnmesh.host.pods import PodSite

GROUP = "crd.projectcalico.org"
"""Of Calico's kinds in its Kubernetes datastore."""
POOL = "vpnmesh"
ACCOUNT = "calico"
SECRET = "calico-token"  # noqa: S105 - the name of the Secret, not what is in it
"""Of the API's object that holds the account's token."""
BLOCK_BITS = 26
"""Of a node's block of pod addresses: Calico's default, and what `vpnmesh.host.pods` lays out."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, its plural, and whether objects of it are in a namespace."""

    name: str
    plural: str
    namespaced: bool = False
    group: str = GROUP
    version: str = "v1"


KINDS = (
    Kind("BGPConfiguration", "bgpconfigurations"),
    Kind("BGPFilter", "bgpfilters"),
    Kind("BGPPeer", "bgppeers"),
    Kind("BlockAffinity", "blockaffinities"),
    Kind("CalicoNodeStatus", "caliconodestatuses"),
    Kind("ClusterInformation", "clusterinformations"),
    Kind("FelixConfiguration", "felixconfigurations"),
    Kind("GlobalNetworkPolicy", "globalnetworkpolicies"),
    Kind("GlobalNetworkSet", "globalnetworksets"),
    Kind("HostEndpoint", "hostendpoints"),
    Kind("IPAMBlock", "ipamblocks"),
    Kind("IPAMConfig", "ipamconfigs"),
    Kind("IPAMHandle", "ipamhandles"),
    Kind("IPPool", "ippools"),
    Kind("IPReservation", "ipreservations"),
    Kind("KubeControllersConfiguration", "kubecontrollersconfigurations"),
    Kind("NetworkPolicy", "networkpolicies", namespaced=True),
    Kind("NetworkSet", "networksets", namespaced=True),
    Kind("StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies"),
    Kind("StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies", namespaced=True),
    Kind("StagedNetworkPolicy", "stagednetworkpolicies", namespaced=True),
    Kind("Tier", "tiers"),
    Kind(
        "ClusterNetworkPolicy", "clusternetworkpolicies", group="policy.networking.k8s.io", version="v1alpha2"
    ),
)
"""All that Calico 3.32's datastore has (libcalico-go/config/crd): Felix lists each of them before it is in sync."""

_READ = ["get", "list", "watch"]
_RULES = (
    ([""], ["configmaps", "endpoints", "namespaces", "nodes", "pods", "serviceaccounts", "services"], _READ),
    ([""], ["nodes/status", "pods/status"], ["patch", "update"]),
    (["apps"], ["daemonsets"], ["get"]),
    (["discovery.k8s.io"], ["endpointslices"], _READ),
    # forbidden, Felix asks for them for ever; that no such kinds are there is an answer
    (
        ["kubevirt.io"],
        ["virtualmachineinstances", "virtualmachines", "virtualmachineinstancemigrations"],
        _READ,
    ),
    (["networking.k8s.io", "policy.networking.k8s.io"], ["*"], _READ),
    ([GROUP], ["*"], [*_READ, "create", "update", "delete"]),
)
"""What Calico's programs may do: those of the vendor's roles calico-node and calico-cni-plugin in one."""


def definitions() -> tuple[Manifest, ...]:
    """The kinds themselves."""
    return tuple(_definition(kind) for kind in KINDS)


def account() -> tuple[Manifest, ...]:
    """Who Calico's programs are to the API, what they may do, and where their token is found."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"vpnmesh-{ACCOUNT}"}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    rules = [{"apiGroups": groups, "resources": names, "verbs": verbs} for groups, names, verbs in _RULES]
    note = {"kubernetes.io/service-account.name": ACCOUNT}
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _named("v1", "ServiceAccount", ACCOUNT, NAMESPACE),
        {**_named("rbac.authorization.k8s.io/v1", "ClusterRole", role["name"]), "rules": rules},
        {
            **_named("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", role["name"]),
            "roleRef": role,
            "subjects": [subject],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE, "annotations": note},
            "type": "kubernetes.io/service-account-token",
        },
    )


def addresses(cluster: Cluster) -> tuple[Manifest, ...]:
    """The pool of all pod addresses, in VXLAN always, and that each node's block is the one `pods` lays out."""
    pool = {
        "cidr": str(cluster.pods),
        "blockSize": BLOCK_BITS,
        "vxlanMode": "Always",
        "ipipMode": "Never",
        "natOutgoing": True,
        "nodeSelector": "all()",
    }
    # strict: no node takes an address of another one's block
    borrowing = {"strictAffinity": True, "autoAllocateBlocks": True, "maxBlocksPerHost": 0}
    return (
        {**_named(f"{GROUP}/v1", "IPPool", POOL), "spec": pool},
        {**_named(f"{GROUP}/v1", "IPAMConfig", "default"), "spec": borrowing},
        *(_affinity(site) for site in cluster.network.sites),
    )


def _affinity(site: PodSite) -> Manifest:
    """That a block is the node's, as Calico notes it itself; it makes the block when it first needs an address."""
    block = str(site.block)
    name = f"{site.node}-{block.replace('.', '-').replace('/', '-')}"
    spec = {"cidr": block, "deleted": "false", "node": site.node, "state": "confirmed", "type": "host"}
    return {**_named(f"{GROUP}/v1", "BlockAffinity", name), "spec": spec}


def _named(version: str, kind: str, name: str, namespace: str = "") -> dict[str, object]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}}


def _definition(kind: Kind) -> Manifest:
    # a group below k8s.io is refused without the word that its design was approved
    reviewed = (
        {"api-approved.kubernetes.io": "unapproved, no schema"} if kind.group.endswith("k8s.io") else {}
    )
    metadata = {"name": f"{kind.plural}.{kind.group}", **({"annotations": reviewed} if reviewed else {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": list(_versions(kind)),
        },
    }


def _versions(kind: Kind) -> Iterator[Manifest]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    yield {"name": kind.version, "served": True, "storage": True, "schema": schema}
