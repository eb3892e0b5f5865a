"""A controller with many hosts, as a process of its own that a test can interrupt: `python -m ... FOLDER COMMAND`.

Runs the command on every host of the inventory folder, within `interruptible` as every run does; exits with 128 and
the signal's number when a signal ended it, and says what failed otherwise.
"""

import sys

from nornir.core.task import Result, Task

from inventory.load import load
from tasks.connection import shell
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.interrupts import InterruptedRunError, interruptible


def run(task: Task, line: str) -> Result:
    """Run a shell line that may take long."""
    return Result(host=task.host, result=shell(task).run("sh", "-c", line, timeout_s=600).stdout)


def main(folder: str, line: str) -> None:
    """See the module's docstring."""
    nr, _ = load(folder)
    try:
        with interruptible(nr):
            run_on(nr, nr.inventory.hosts, run, line=line)
    except InterruptedRunError as interrupted:
        sys.exit(128 + interrupted.signum)
    except HostsFailedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
