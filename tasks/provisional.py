"""What a live check needs on nodes for a while, and taking it away again."""

from collections.abc import Mapping

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge
from vpnmesh.plan import Fact, Plan


@repeatable
def put_for_a_while(task: Task, wanted: Mapping[str, Fact[Plan]], dry_run: bool | None = None) -> Result:
    """Bring this node to what is wanted of it; the same task with what removes it takes it away."""
    return converge(task, wanted[task.host.name], dry_run)
