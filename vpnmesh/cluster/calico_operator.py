"""Calico by its operator, as the paper installed it: one Installation, rendered from the cluster.

The operator's own manifests are the vendor's files (`versions.toml` says which); they lie on the master. No API server
of Calico is asked for: nothing here reads `projectcalico.org/v3`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vpnmesh.cluster.calico import Calico
from vpnmesh.cluster.calico_apply import APPLY_S, Kubectl, Manifest, applied
from vpnmesh.cluster.calico_objects import BLOCK_BITS
from vpnmesh.cluster.calico_status import carried_out, read
from vpnmesh.cluster.networking import PodNetworking
from vpnmesh.cluster.places import CNI_PLUGINS
from vpnmesh.cluster.protocol import Cluster, Stage
from vpnmesh.errors import CheckError
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, WriteFile, unified_diff
from vpnmesh.solutions.protocol import STATE_DIRECTORY

FOLDER = f"{STATE_DIRECTORY}/calico"
"""On the master: the vendor's release archive, or its manifests."""
MANIFESTS = ("operator-crds.yaml", "tigera-operator.yaml")
"""In the order they are applied; in earlier releases, 3.25 for one, the second has all that is in the first."""
PLUGINS = ("calico", "calico-ipam")
PLUGIN_FOLDER = "/opt/cni/bin"
"""Where the operator's pods install them on each node."""
INSTALLATION = "installation.operator.tigera.io"

# constant scripts: the folder, then the manifests. A release's archive has them below its own folder
_UNPACK = """
folder="$0"; cd "$folder" && for archive in release-*.tgz; do
  tar -xzf "$archive" --strip-components=2 --wildcards '*/manifests/operator-crds.yaml' 2> /dev/null
  tar -xzf "$archive" --strip-components=2 --wildcards '*/manifests/tigera-operator.yaml' && exit 0
done
echo "no tigera-operator.yaml and no release-VERSION.tgz of Calico in $folder" >&2; exit 1
"""
# constant script: the release's folder, the one for images; the archive's other contents stay packed
_IMAGES = """
folder="$0"; mkdir -p "$1"
for archive in "$folder"/release-*.tgz; do
  tar -xzf "$archive" -C "$1" --strip-components=2 --wildcards '*/images/*.tar' && exit 0
done
echo "no archives of images in a release-VERSION.tgz of Calico in $folder" >&2; exit 1
"""
_FIRST_IMAGE = "calico-node.tar"
# constant script: a manifest, which that release may lack, and the command that takes it
_WITH = '[ ! -e "$0" ] || "$@" -f "$0"'


class CalicoOperator(PodNetworking):
    """Calico's operator makes everything, of images that nodes have or fetch; the paper's way on real machines."""

    name = "calico-operator"
    artifacts = (("calico", "release"),)
    brings_vxlan = True

    def configuration(self, _cluster: Cluster, _node: Node, /) -> tuple[WriteFile, ...]:
        """None: the operator's own pods write it on each node."""
        return ()

    def archives(self, folder: str, /) -> Fact[Plan]:
        """The release has all of Calico's images, but not the operator's own: that one nodes fetch, or have."""
        return images_unpacked(folder)

    def stages(self, cluster: Cluster, kubectl: Kubectl, /) -> tuple[Stage, ...]:
        """Operator and installation."""
        master, members = (cluster.master.name,), tuple(node.name for node in cluster.members)
        return (
            Stage("calico plugins", members, lambda _cluster, _node: plugins_found()),
            Stage("calico operator files", master, lambda _cluster, _node: unpacked()),
            Stage("calico operator", master, lambda _cluster, _node: operator(kubectl)),
            Stage("calico installation", master, lambda found, _node: installed(found, kubectl)),
        )

    def node_stages(self, cluster: Cluster, kubectl: Kubectl, /) -> tuple[Stage, ...]:
        """Waiting until the operator has carried it out on all nodes."""
        return (Stage("calico ready", (cluster.master.name,), lambda _cluster, _node: carried_out(kubectl)),)

    def annotations(self, cluster: Cluster, node: Node, /) -> Mapping[str, str]:
        """The same as for Calico without operator."""
        return Calico().annotations(cluster, node)

    def leave(self, testbed: Testbed, node: Node, /) -> Fact[Plan]:
        """The same as for Calico without operator: the datapath is one, and its pods end with kubelet."""
        return Calico().leave(testbed, node)


def installation(cluster: Cluster) -> Manifest:
    """What the operator carries out: VXLAN always, no BGP, the pods' MTU, and node addresses of the cluster's choice.

    Its pods bear the taint of a master (`CriticalAddonsOnly`) by themselves.
    """
    pool = {
        "cidr": str(cluster.pods),
        "blockSize": BLOCK_BITS,
        "encapsulation": "VXLAN",
        "natOutgoing": "Enabled",
        "nodeSelector": "all()",
    }
    network = {
        "bgp": "Disabled",
        "ipPools": [pool],
        "linuxDataplane": "Iptables",
        "mtu": cluster.network.mtu,
        "nodeAddressAutodetectionV4": autodetection(cluster),
    }
    return {
        "apiVersion": "operator.tigera.io/v1",
        "kind": "Installation",
        "metadata": {"name": "default"},
        "spec": {
            "variant": "Calico",
            "cni": {"type": "Calico", "ipam": {"type": "Calico"}},
            "calicoNetwork": network,
        },
    }


def autodetection(cluster: Cluster) -> dict[str, Any]:
    """By the interface where all members have the addresses on one of that name, else by the addresses themselves."""
    names = {cluster.interface(node) for node in cluster.members}
    if len(names) == 1:
        return {"interface": f"^{re.escape(names.pop())}$"}
    return {"cidrs": [f"{cluster.address(node)}/32" for node in cluster.members]}


def plugins_found() -> Fact[Plan]:
    """Ensure that the runtime finds the plugins which the operator's pods will put into their usual folder.

    Links that lead nowhere yet: a node is ready only once the plugins are there.
    """
    wanted = {f"{CNI_PLUGINS}/{name}": f"{PLUGIN_FOLDER}/{name}" for name in PLUGINS}

    def plan(completed: Sequence[Completed]) -> Plan:
        lacking = {
            link: target
            for (link, target), one in zip(wanted.items(), completed, strict=True)
            if one.stdout.strip() != target
        }
        if not lacking:
            return Plan()
        links = tuple(Command(("ln", "-sfn", target, link)) for link, target in lacking.items())
        diff = "\n".join(f"+{link} -> {target}" for link, target in lacking.items())
        return Plan((Command(("mkdir", "-p", CNI_PLUGINS)), *links), diff)

    return Fact(tuple(Command(("readlink", link), ok=(0, 1)) for link in wanted), plan)


def unpacked(folder: str = FOLDER) -> Fact[Plan]:
    """Ensure that the operator's manifest lies on the master, out of the vendor's archive if need be."""

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[0].exit_code == 0:
            return Plan()
        step = Command(("sh", "-c", _UNPACK, folder), timeout_s=APPLY_S)
        return Plan((step,), unified_diff(f"{folder}/{MANIFESTS[-1]}", "", "out of the release's archive"))

    return Fact((Command(("test", "-s", f"{folder}/{MANIFESTS[-1]}"), ok=(0, 1)),), plan)


def images_unpacked(into: str, folder: str = FOLDER) -> Fact[Plan]:
    """Ensure that the archives of Calico's images lie in a folder, out of the release's one archive."""

    def plan(completed: Sequence[Completed]) -> Plan:
        if completed[0].exit_code == 0:
            return Plan()
        step = Command(("sh", "-c", _IMAGES, folder, into), timeout_s=APPLY_S)
        return Plan((step,), unified_diff(into, "", "Calico's images, out of the release's archive"))

    return Fact((Command(("test", "-s", f"{into}/{_FIRST_IMAGE}"), ok=(0, 1)),), plan)


def operator(kubectl: Kubectl, folder: str = FOLDER) -> Fact[Plan]:
    """Ensure that the API has all of the vendor's manifests, and serves the kinds in them."""
    paths = tuple(f"{folder}/{name}" for name in MANIFESTS)
    options = ("--server-side", "--force-conflicts")
    asks = tuple(
        Command(("sh", "-c", _WITH, path, *kubectl, "diff", *options), timeout_s=APPLY_S, ok=(0, 1, 2))
        for path in paths
    )
    steps = (
        *(
            Command(("sh", "-c", _WITH, path, *kubectl, "apply", *options), timeout_s=APPLY_S)
            for path in paths
        ),
        Command((*kubectl, "wait", "--for=condition=Established", f"crd/{_plural()}"), timeout_s=APPLY_S),
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        other = [path for path, one in zip(paths, completed, strict=True) if one.exit_code]
        return Plan(steps, "\n".join(f"+{path} applied" for path in other)) if other else Plan()

    return Fact(asks, plan)


def _plural() -> str:
    kind, _, group = INSTALLATION.partition(".")
    return f"{kind}s.{group}"


def installed(cluster: Cluster, kubectl: Kubectl) -> Fact[Plan]:
    """Ensure the Installation; CheckError where one with other addresses stands, which the operator never changes."""
    wanted = applied(kubectl, "Calico's installation", (installation(cluster),))
    ask = Command((*kubectl, "get", INSTALLATION, "default", "-o", "json"), ok=(0, 1))

    def plan(completed: Sequence[Completed]) -> Plan:
        pools = read(completed[-1]).get("spec", {}).get("calicoNetwork", {}).get("ipPools", [])
        held = [pool["cidr"] for pool in pools]
        if held and held != [str(cluster.pods)]:
            raise CheckError(
                "cluster",
                f"Calico is installed with the pod addresses {', '.join(held)}, not {cluster.pods}; remove the "
                "Installation first: its operator does not change them",
            )
        return wanted.parse(completed[:-1])

    return Fact((*wanted.commands, ask), plan)


def mtu_changed(kubectl: Kubectl, mtu: int) -> Fact[Plan]:
    """Ensure the pods' MTU of a standing installation, by the paper's own patch: only new pods get it."""
    ask = Command((*kubectl, "get", INSTALLATION, "default", "-o", "json"))
    change = json.dumps({"spec": {"calicoNetwork": {"mtu": mtu}}}, separators=(",", ":"))

    def plan(completed: Sequence[Completed]) -> Plan:
        held = read(completed[0]).get("spec", {}).get("calicoNetwork", {}).get("mtu")
        if held == mtu:
            return Plan()
        patch = Command(
            (*kubectl, "patch", INSTALLATION, "default", "--type", "merge", "-p", change), timeout_s=APPLY_S
        )
        return Plan((patch,), unified_diff("Calico's installation", f"mtu: {held}", f"mtu: {mtu}"))

    return Fact((ask,), plan)
