"""K3s with Calico by its operator, the paper's own recipe; rendered and accepted by an API server, not run here."""

from vpnmesh.cluster.calico_operator import CalicoOperator
from vpnmesh.cluster.installers.k3s import K3s

INSTALLER = K3s(CalicoOperator())
