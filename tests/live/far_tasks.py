"""Tasks for the tests of Dask workers: importable there, as a package of one's own would be."""

import threading

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from vpnmesh.plan import Secret, reveal

_SLOW = 'echo begun >> "$1"; sleep "$2"; echo done >> "$1"'


def slow_once(task: Task, folder: str, seconds: float) -> Result:
    """Note on the host that it began, and some seconds later that it is done; must not be run twice."""
    path = f"{folder}/{task.host.name}"
    shell(task).run("sh", "-c", _SLOW, "sh", path, str(seconds), timeout_s=seconds + 60)
    return Result(host=task.host, changed=True)


@repeatable
def slow_again(task: Task, folder: str, seconds: float) -> Result:
    """The same, declared to be safe to run twice."""
    return slow_once(task, folder, seconds)


def keep_secret(task: Task, secret: Secret, path: str) -> Result:
    """Write a secret to a file of the host."""
    shell(task).run("sh", "-c", 'umask 077; cat > "$1"', "sh", path, stdin=reveal(secret))
    return Result(host=task.host, result=Secret(f"back-{secret.reveal()}"))


def raise_foreign(task: Task) -> Result:
    """An error that the project does not define."""
    raise ZeroDivisionError(f"on {task.host.name}")


def give_live(task: Task) -> Result:
    """A result that no other process can have."""
    return Result(host=task.host, result=threading.Lock())
