"""K3s with real Calico as the pods' network, where its three programs are at hand."""

from vpnmesh.cluster.calico import Calico
from vpnmesh.cluster.installers.k3s import K3s

INSTALLER = K3s(Calico())
