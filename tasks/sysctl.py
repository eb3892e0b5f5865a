"""Kernel settings of a node."""

from collections.abc import Mapping

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.host import sysctls


@repeatable
def read_sysctls(task: Task, keys: tuple[str, ...]) -> Result:
    """The values of those of these settings that can be set here; `result` has them by key."""
    return Result(host=task.host, result=shell(task).gather(sysctls.read(keys)))


@repeatable
def put_sysctls_back(
    task: Task, former: Mapping[str, Mapping[str, str]], dry_run: bool | None = None
) -> Result:
    """Set this node's former values, of those of all nodes, where a setting is still as a run set it."""
    return converge(task, sysctls.put_back(former.get(task.host.name, {})), dry_run)


@repeatable
def set_sysctls(task: Task, values: Mapping[str, str], dry_run: bool | None = None) -> Result:
    """Set these kernel settings; the Result's `result` has the values before, for undoing."""
    before = shell(task).gather(sysctls.read(tuple(values)))
    result = converge(task, sysctls.hold(values), dry_run)
    result.result = before
    return result
