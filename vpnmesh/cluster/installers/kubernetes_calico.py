"""Kubernetes' own programs with real Calico as the pods' network, where its three programs are at hand."""

from vpnmesh.cluster.calico import Calico
from vpnmesh.cluster.installers.kubernetes import Kubernetes

INSTALLER = Kubernetes(Calico())
