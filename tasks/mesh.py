"""Joining and leaving a mesh, and what its solution reports on a node."""

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge, remove
from tasks.connection import shell
from vpnmesh.host.service import logs
from vpnmesh.host.stack_in_use import in_use
from vpnmesh.plan import Text
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.stages import D, Stage

SETTLE_S = 10.0
"""How long a daemon may take from its start until its state is the planned one."""


@repeatable
def join_stage(task: Task, mesh: D, stage: Stage[D], dry_run: bool | None = None) -> Result:
    """Run one stage of joining on this node; `result` holds what the node publishes for later stages.

    `mesh` is what is deployed: a VPN's mesh, or a cluster.
    """
    node = mesh.testbed.node(task.host.name)
    result = converge(task, stage.plan(mesh, node), dry_run, settle_s=SETTLE_S)
    published: dict[str, Text] = {}
    if not task.is_dry_run(dry_run):
        # publishing may make what is published: a key for those who join
        published = shell(task).settle(stage.publish(mesh, node))
    result.result = published
    return result


@repeatable
def leave_mesh(task: Task, solution: Solution, mesh: Mesh, dry_run: bool | None = None) -> Result:
    """Remove everything of the solution from this node."""
    return remove(task, solution.leave(mesh, mesh.testbed.node(task.host.name)), dry_run, settle_s=SETTLE_S)


@repeatable
def blacklist_interfaces(task: Task, solution: Solution, mesh: Mesh, dry_run: bool | None = None) -> Result:
    """Keep the solution from using Calico's interfaces as a way to its peers (paper, section 3.2.3).

    `result` says "not needed" for a solution that has no such setting.
    """
    plan = solution.blacklist(mesh, mesh.testbed.node(task.host.name))
    if plan is None:
        return Result(host=task.host, changed=False, result="not needed: no interface is ever chosen")
    return converge(task, plan, dry_run)


@repeatable
def read_logs(task: Task) -> Result:
    """The ends of our services' logs on this node; `result` maps a service's name to its text, not masked."""
    return Result(host=task.host, result=shell(task).gather(logs()))


@repeatable
def mesh_status(task: Task, solution: Solution, mesh: Mesh) -> Result:
    """What the solution reports of itself and its peers on this node; `result` is a Status."""
    return Result(
        host=task.host, result=shell(task).gather(solution.status(mesh, mesh.testbed.node(task.host.name)))
    )


@repeatable
def read_stack(task: Task, solution: Solution) -> Result:
    """What the solution's processes and interface use of this node's network stack; `result` maps what to how."""
    return Result(host=task.host, result=shell(task).gather(in_use(solution.processes, solution.interfaces)))
