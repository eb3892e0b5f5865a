"""Kubernetes on the testbed: how a cluster is installed over a scenario's addresses, and what it says of itself.

`INSTALLERS` are the modules of `vpnmesh.cluster.installers` that define `INSTALLER`, then those of the user's own
packages (entry points of the group `vpnmesh.cluster.installers`).
"""

from vpnmesh.cluster.protocol import Installer
from vpnmesh.registry import Registry

GROUP = "vpnmesh.cluster.installers"
"""The group of entry points by which a package offers an installer."""

INSTALLERS: Registry[Installer] = Registry(GROUP, "INSTALLER", GROUP, Installer, word="installer")

PODS = "pods"
"""What `--cluster` says for none: pods are namespaces with Calico's datapath (`vpnmesh.host.pods`)."""


def installer_named(name: str, place: str = "--cluster") -> Installer:
    """The installer of that name; UnknownNameError lists the known ones. `place` is where the name was written."""
    return INSTALLERS.named(name, place)
