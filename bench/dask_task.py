"""The task that the benchmark of Dask workers runs, in a module that workers import too."""

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell

QUESTIONS = (("uname", "-r"), ("cat", "/proc/loadavg"), ("ip", "-br", "link"))


@repeatable
def three_questions(task: Task) -> Result:
    """Ask the host three things, one after the other; `result` is how many answers there were."""
    here = shell(task)
    answers = [here.run(*argv, timeout_s=300).stdout for argv in QUESTIONS]
    return Result(host=task.host, result=len(answers))
