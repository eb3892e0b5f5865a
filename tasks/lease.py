"""The lease of a node: claimed before a run changes anything, renewed while it goes on, given back at its end."""

from collections.abc import Mapping

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from tasks.script import unattended
from vpnmesh.host import lease as leases
from vpnmesh.host.lease import Lease, LeaseAnswer, LeaseState
from vpnmesh.plan import Plan


def claim_lease(task: Task, lease: Lease, *, again: bool = False) -> Result:
    """Take this node's lease, which only a free node gives, or with `again` one that the same run holds.

    `result` is the node's LeaseAnswer: `mine`, or who holds it.
    """
    answer = shell(task).settle(leases.claimed(lease, again=again))
    return Result(host=task.host, changed=answer.state is LeaseState.MINE, result=answer)


@repeatable
def renew_lease(task: Task, lease: Lease, undo: Mapping[str, Plan] | None = None) -> Result:
    """Start the lease's time anew, and where this node's plan is in `undo`, keep that as what it undoes by itself.

    `result` is the node's LeaseAnswer: anything but `mine` means that the lease was over, or is another's.
    """
    plan = None if undo is None else undo.get(task.host.name)
    script = None if plan is None else unattended(plan.steps)
    answer: LeaseAnswer = shell(task).settle(leases.renewed(lease.token, script))
    return Result(host=task.host, changed=False, result=answer)


@repeatable
def release_lease(task: Task, lease: Lease) -> Result:
    """Give this session's lease back; the node undoes nothing. `result` is the node's LeaseAnswer."""
    answer: LeaseAnswer = shell(task).settle(leases.released(lease.token))
    return Result(host=task.host, changed=answer.state is LeaseState.NONE, result=answer)


@repeatable
def forget_lease(task: Task, run: str = "") -> Result:
    """Take whatever lease there is away, or only that run's, with its watchdog; `changed` where there was one.

    What the node would have undone by itself it undoes now.
    """
    here = shell(task)
    was: LeaseAnswer = here.gather(leases.read_holder())
    if run and (was.holder is None or was.holder.run != run):
        return Result(host=task.host, changed=False, result=was)
    answer: LeaseAnswer = here.settle(leases.taken_away())
    return Result(host=task.host, changed=was.holder is not None, result=answer)


@repeatable
def read_lease(task: Task) -> Result:
    """Who holds this node; `result` is a LeaseAnswer."""
    return Result(host=task.host, result=shell(task).gather(leases.read_holder()))
