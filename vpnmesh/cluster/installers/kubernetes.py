"""Kubernetes' own programs, without anybody's distribution of them: every daemon a service of ours.

The master has etcd, API server, controllers and scheduler; master and workers have containerd, kubelet and kube-proxy.
Images are made on the nodes of their own files, certificates for each cluster anew; nothing is fetched.
"""

from dataclasses import replace

from vpnmesh.cluster import (
    control_plane,
    images,
    kubelet,
    measured,
    pki,
    reading,
    runtime,
    settings,
)
from vpnmesh.cluster.leaving import taken_off
from vpnmesh.cluster.networked import NetworkedInstaller
from vpnmesh.cluster.places import AUTHORITY, SETTINGS, component
from vpnmesh.cluster.protocol import Cluster, ClusterProgram, ClusterRole, ClusterState, Stage
from vpnmesh.cluster.vxlan import Vxlan
from vpnmesh.host.service import answering, running
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Fact, Plan, in_order

NODE_PROGRAMS = ("kubelet", "kube-proxy")
WAY = "make kube builds it; or the vendor's kubelet, kube-proxy and so on"
PROGRAMS = (
    ClusterProgram(
        "kubernetes",
        version=("kubernetes", "kubelet", "--version"),
        at=(ClusterRole.MASTER,),
        stand_ins=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", *NODE_PROGRAMS),
        way=WAY,
    ),
    ClusterProgram("kubernetes", at=(ClusterRole.WORKER,), stand_ins=NODE_PROGRAMS, way=WAY),
    ClusterProgram("etcd", "etcd-server", ("etcd", "--version"), at=(ClusterRole.MASTER,)),
    ClusterProgram("curl", "curl"),
    ClusterProgram("openssl", "openssl"),
    ClusterProgram("containerd", "containerd", ("containerd", "--version")),
    ClusterProgram("ctr", "containerd"),
    ClusterProgram("runc", "runc", ("runc", "--version")),
    ClusterProgram("nft", "nftables"),
    ClusterProgram("iperf3", "iperf3"),
    ClusterProgram("hey", "hey"),
    ClusterProgram("ping", "iputils-ping"),
    ClusterProgram("busybox", "busybox-static"),
    ClusterProgram("tini", "tini"),
)


class Kubernetes(NetworkedInstaller):
    """A cluster of Kubernetes' own programs, with the pods' network that it is given."""

    kind = "kubernetes"
    own_programs = PROGRAMS
    admin_files = (f"{AUTHORITY}/ca.crt", f"{AUTHORITY}/admin.crt", f"{AUTHORITY}/admin.key")

    def stages(self, cluster: Cluster, /) -> tuple[Stage, ...]:
        """Keys, certificates, control plane beside runtime, then the nodes and their measured pods."""
        master, everyone = (cluster.master.name,), tuple(node.name for node in cluster.members)
        return (
            Stage("keys", everyone, _keys, pki.read_requests),
            Stage(
                "certificates",
                master,
                lambda cluster, _node: pki.signed(cluster),
                lambda cluster, _node: pki.read_certificates(cluster),
            ),
            Stage("runtime and control plane", everyone, self._runtime),
            *self.networking.stages(cluster, self.kubectl(cluster)),
            Stage("nodes", everyone, _nodes, joining=True),
            *self.networking.node_stages(cluster, self.kubectl(cluster)),
            Stage("pods", master, lambda cluster, _node: self._pods(cluster)),
        )

    def state(self, cluster: Cluster, /) -> Fact[ClusterState]:
        """Asked with curl: a kubectl for every look would cost as much as the answer."""
        return reading.asked(_client(), cluster.server)

    def kubectl(self, _cluster: Cluster, /) -> tuple[str, ...]:
        """With the administrator's file."""
        return component("kubectl", f"--kubeconfig={control_plane.ADMIN}")

    def enter_pods(self, _cluster: Cluster, node: Node, /) -> Fact[Plan]:
        """By the name that all tasks use for the node's pod."""
        return measured.entered(node)

    def leave(self, testbed: Testbed, node: Node, /) -> Fact[Plan]:
        """What runs first, then what the pods' network left."""
        return in_order(taken_off(), self.networking.leave(testbed, node))

    def _runtime(self, cluster: Cluster, node: Node) -> Fact[Plan]:
        """The master's API server comes up while images are made; what asks it is started after that."""
        before: list[Fact[Plan]] = [
            settings.held(settings.KUBELET, SETTINGS),
            pki.certificates_there(cluster, node),
        ]
        after: list[Fact[Plan]] = []
        if cluster.role(node) is ClusterRole.MASTER:
            etcd, api, *others = control_plane.services(cluster)
            before += [running(etcd), running(replace(api, ready=None))]
            before.append(runtime.configured((control_plane.admin_file(cluster),)))
            after = [answering(api), *(running(one) for one in others)]
        return in_order(
            *before,
            images.written(),
            runtime.plugins_there(),
            runtime.configured(self.networking.configuration(cluster, node)),
            running(runtime.service()),
            images.imported(),
            kubelet.group_there(),
            *after,
        )


def _keys(cluster: Cluster, node: Node) -> Fact[Plan]:
    own = pki.keys(cluster, node)
    return in_order(pki.authority(cluster), own) if node.name == cluster.master.name else own


def _nodes(cluster: Cluster, node: Node) -> Fact[Plan]:
    return in_order(running(kubelet.kubelet(cluster, node)), running(kubelet.proxy(cluster, node)))


def _client() -> tuple[str, ...]:
    stem = f"{AUTHORITY}/admin"
    keys = ("--cert", f"{stem}.crt", "--key", f"{stem}.key")
    return ("curl", "-sS", "--fail", "--max-time", "5", "--cacert", control_plane.CA, *keys)


INSTALLER = Kubernetes(Vxlan())
