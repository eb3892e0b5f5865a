"""Kernel settings of a node."""

from collections.abc import Mapping

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.host import sysctls


@repeatable
def set_sysctls(task: Task, values: Mapping[str, str], dry_run: bool | None = None) -> Result:
    """Set these kernel settings; the Result's `result` has the values before, for undoing."""
    before = shell(task).gather(sysctls.read(tuple(values)))
    result = converge(task, sysctls.hold(values), dry_run)
    result.result = before
    return result
