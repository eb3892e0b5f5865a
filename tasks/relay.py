"""Starting and stopping what a solution runs on the relay node."""

from nornir.core.task import Result, Task

from tasks.apply import converge
from tasks.mesh import SETTLE_S
from vpnmesh.solutions.protocol import Mesh, Solution


def start_relay(task: Task, solution: Solution, mesh: Mesh, dry_run: bool | None = None) -> Result:
    """Make this node run every part of the solution that belongs on it."""
    node = mesh.testbed.node(task.host.name)
    stages = [stage for stage in solution.stages(mesh) if node.name in stage.nodes]
    results = [converge(task, stage.hold(mesh, node), dry_run, settle_s=SETTLE_S) for stage in stages]
    return Result(
        host=task.host,
        changed=any(result.changed for result in results),
        diff="\n".join(result.diff for result in results if result.diff),
    )


def stop_relay(task: Task, solution: Solution, mesh: Mesh, dry_run: bool | None = None) -> Result:
    """Remove everything of the solution from this node: a relay that is down, for fallback tests."""
    node = mesh.testbed.node(task.host.name)
    return converge(task, solution.leave(mesh, node), dry_run, settle_s=SETTLE_S)
