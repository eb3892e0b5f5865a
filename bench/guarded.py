"""The task that benchmarks of many hosts run: three commands, and a file that is written only where it differs."""

from nornir.core.task import Result, Task

from bench.farm_work import COMMANDS, GUARDED, text_for
from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.host.files import read
from vpnmesh.plan import Command, Plan, WriteFile, unified_diff


def guarded_file(task: Task) -> Result:
    """Ask the host three things, then have it hold the file; `changed` says whether it was written."""
    wanted = text_for(task.host.name)

    def plan(held: str) -> Plan:
        step = WriteFile(GUARDED, wanted, 0o644)
        return Plan() if held == wanted else Plan((step,), unified_diff(GUARDED, held, wanted))

    shell(task).run_all([Command(argv) for argv in COMMANDS])
    return converge(task, read(GUARDED).map(plan), None)
