"""The pod network of a node, as Calico makes it."""

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge
from vpnmesh.host import pods
from vpnmesh.model import Testbed


@repeatable
def attach_pods(
    task: Task, network: pods.PodNetwork, testbed: Testbed, dry_run: bool | None = None
) -> Result:
    """Make the node's pod and `vxlan.calico` over the network's underlay."""
    return converge(task, pods.attached(network, testbed.node(task.host.name)), dry_run)


@repeatable
def detach_pods(task: Task, dry_run: bool | None = None) -> Result:
    """Remove pod and `vxlan.calico` from the node."""
    return converge(task, pods.detached(), dry_run)
