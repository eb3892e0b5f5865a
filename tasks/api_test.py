"""What the API test leaves on a node when everything around it was killed."""

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge
from vpnmesh.host import api_leftovers


@repeatable
def clear_api_test(task: Task, dry_run: bool | None = None) -> Result:
    """Remove the folder of a server that was started for a test; `changed` where there was one."""
    return converge(task, api_leftovers.removed(), dry_run)
