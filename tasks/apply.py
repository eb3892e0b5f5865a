"""Observe, plan, apply, verify: the one way in which tasks change a node."""

from nornir.core.task import Result, Task

from tasks.connection import Shell, shell
from vpnmesh.errors import CommandError, VerifyError
from vpnmesh.lab.waiting import wait_until
from vpnmesh.plan import Fact, Plan


def converge(task: Task, wanted: Fact[Plan], dry_run: bool | None, *, settle_s: float = 0.0) -> Result:
    """Bring the node to what `wanted` asks for, and prove it by asking again.

    The Result's `changed` means "differed from wanted" (also on a dry run) and `diff` shows in what.
    Raises VerifyError if the second look still finds a difference after `settle_s` seconds.
    """
    here = shell(task)
    plan = here.gather(wanted)
    if plan and not task.is_dry_run(dry_run):
        apply(here, plan, wanted, settle_s)
    return Result(host=task.host, changed=bool(plan), diff=plan.diff)


def remove(task: Task, gone: Fact[Plan], dry_run: bool | None, *, settle_s: float) -> Result:
    """`converge` for what is to be gone, also when somebody else's command still makes some of it.

    A controller that was killed leaves its last command running on the node: what that makes after our look is
    found by the second look, and removed then. It may also fill a folder while that is removed: a removal that a
    command refused is carried out once more.
    Raises CommandError if the second removal is refused as well, VerifyError if anything is left `settle_s` seconds
    after it.
    """
    here = shell(task)
    plan = here.gather(gone)
    if plan and not task.is_dry_run(dry_run):
        refused = False
        try:
            here.change(plan.steps)
        except CommandError:
            refused = True
        late = wait_until(lambda: here.gather(gone), settle_s / 4, good=lambda plan: not plan)
        if late or refused:
            apply(here, late or plan, gone, settle_s)
    return Result(host=task.host, changed=bool(plan), diff=plan.diff)


def apply(here: Shell, plan: Plan, wanted: Fact[Plan], settle_s: float = 0.0) -> None:
    """Carry the plan out in one round trip, then look again until nothing is left to do."""
    here.change(plan.steps)
    left = wait_until(lambda: here.gather(wanted), settle_s, good=lambda plan: not plan)
    if left:
        raise VerifyError(here.host, "no difference after the change", left.diff)
