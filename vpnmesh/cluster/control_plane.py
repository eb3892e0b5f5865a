"""The control plane on the master: etcd, API server, controllers and scheduler, at the master's cluster address."""

from vpnmesh.cluster.kubeconfigs import of_files
from vpnmesh.cluster.places import AUTHORITY, STATE, component
from vpnmesh.cluster.protocol import API_PORT, Cluster
from vpnmesh.host.service import Service, listens, until
from vpnmesh.plan import WriteFile

ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
CA = f"{AUTHORITY}/ca.crt"
ADMIN = f"{AUTHORITY}/admin.conf"
API_READY_S = 120.0
"""It took 5 to 15 s; beside other work longer."""


def services(cluster: Cluster) -> tuple[Service, ...]:
    """All four, in the order in which they start."""
    return (etcd(), api_server(cluster), controllers(cluster), scheduler(cluster))


def etcd() -> Service:
    """The store, on loopback alone, for whoever has a certificate of this cluster."""
    client, peer = f"https://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PEER_PORT}"
    return Service(
        "cluster-etcd",
        (
            "etcd",
            "--name=vpnmesh",
            f"--data-dir={STATE}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=vpnmesh={peer}",
            f"--cert-file={AUTHORITY}/etcd.crt",
            f"--key-file={AUTHORITY}/etcd.key",
            "--client-cert-auth=true",
            f"--trusted-ca-file={CA}",
            "--log-level=warn",
            "--logger=zap",
        ),
        ready=listens("-t", f"src 127.0.0.1:{ETCD_PORT}", deadline_s=60),
    )


def api_server(cluster: Cluster) -> Service:
    """The API server; it answers at the master's cluster address and nowhere else."""
    address = cluster.address(cluster.master)
    ready = ("curl", "-sf", "--max-time", "5", "--cacert", CA, f"{cluster.server}/readyz")
    return Service(
        "cluster-kube-apiserver",
        component(
            "kube-apiserver",
            f"--advertise-address={address}",
            f"--bind-address={address}",
            f"--secure-port={API_PORT}",
            f"--etcd-servers=https://127.0.0.1:{ETCD_PORT}",
            f"--etcd-cafile={CA}",
            f"--etcd-certfile={AUTHORITY}/etcd.crt",
            f"--etcd-keyfile={AUTHORITY}/etcd.key",
            f"--client-ca-file={CA}",
            f"--tls-cert-file={AUTHORITY}/kube-apiserver.crt",
            f"--tls-private-key-file={AUTHORITY}/kube-apiserver.key",
            f"--kubelet-certificate-authority={CA}",
            f"--kubelet-client-certificate={AUTHORITY}/kubelet-client.crt",
            f"--kubelet-client-key={AUTHORITY}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={AUTHORITY}/sa.pub",
            f"--service-account-signing-key-file={AUTHORITY}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={cluster.services}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
        ),
        ready=until(*ready, deadline_s=API_READY_S),
    )


def controllers(cluster: Cluster) -> Service:
    """The controller manager; without credentials for each controller taints would stay and pods be pending."""
    conf = f"{AUTHORITY}/controller-manager.conf"
    return Service(
        "cluster-kube-controller-manager",
        component(
            "kube-controller-manager",
            *_as_client(conf),
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={AUTHORITY}/sa.key",
            f"--root-ca-file={CA}",
            f"--cluster-cidr={cluster.pods}",
            "--allocate-node-cidrs=false",
            "--leader-elect=false",
            f"--tls-cert-file={AUTHORITY}/controller-manager.crt",
            f"--tls-private-key-file={AUTHORITY}/controller-manager.key",
        ),
        (WriteFile(conf, of_files(cluster, CA, f"{AUTHORITY}/controller-manager")),),
    )


def scheduler(cluster: Cluster) -> Service:
    """The scheduler, for pods that are not pinned to a node."""
    conf = f"{AUTHORITY}/scheduler.conf"
    return Service(
        "cluster-kube-scheduler",
        component(
            "kube-scheduler",
            *_as_client(conf),
            "--leader-elect=false",
            f"--tls-cert-file={AUTHORITY}/scheduler.crt",
            f"--tls-private-key-file={AUTHORITY}/scheduler.key",
        ),
        (WriteFile(conf, of_files(cluster, CA, f"{AUTHORITY}/scheduler")),),
    )


def admin_file(cluster: Cluster) -> WriteFile:
    """The administrator's kubeconfig on the master."""
    return WriteFile(ADMIN, of_files(cluster, CA, f"{AUTHORITY}/admin"))


def _as_client(conf: str) -> tuple[str, ...]:
    return (
        f"--kubeconfig={conf}",
        f"--authentication-kubeconfig={conf}",
        f"--authorization-kubeconfig={conf}",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    )
