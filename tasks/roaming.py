"""Giving a node another underlay address of its VLAN, and its own one again."""

from ipaddress import IPv4Interface

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.errors import CheckError
from vpnmesh.host import roaming
from vpnmesh.model import Node


@repeatable
def change_address(
    task: Task, node: Node, address: IPv4Interface, dry_run: bool | None = None, *, is_free: bool = False
) -> Result:
    """Have this node use that address instead of its own; CheckError where somebody else answers there.

    Nobody is asked where a dry run has shown that it `is_free`: the answers that do not come take two seconds.
    """
    wanted = roaming.away(node, address)
    here = shell(task)
    if not is_free and here.gather(wanted) and here.gather(roaming.answered(address)):
        raise CheckError("address", f"{task.host.name}: somebody has {address.ip} already")
    return converge(task, wanted, dry_run)


@repeatable
def restore_address(task: Task, dry_run: bool | None = None) -> Result:
    """Give this node its own address again; changes nothing where it has it."""
    return converge(task, roaming.at_home(), dry_run)
