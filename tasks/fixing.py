"""Trying a fix that a diagnosis named: steps on a node, and what takes them back."""

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from vpnmesh.plan import Plan


@repeatable
def make_changes(task: Task, plans: dict[str, Plan], dry_run: bool | None = None) -> Result:
    """Carry out this node's plan; `diff` says what it changes."""
    plan = plans[task.host.name]
    if plan and not task.is_dry_run(dry_run):
        shell(task).change(plan.steps)
    return Result(host=task.host, changed=bool(plan), diff=plan.diff)
