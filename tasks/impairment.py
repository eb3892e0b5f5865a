"""Loss and delay at a node: set, cleared, read back; the engine says how."""

from nornir.core.task import Result, Task

from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.host.files import executable
from vpnmesh.impairment.engine import Engine, Impairment, InstalledImpairment
from vpnmesh.impairment.targets import Target
from vpnmesh.plan import Completed, Fact, Plan, ask, together

# in a namespace of its own, so that nothing of the node is touched; exit 0 means the kernel has netem
_NETEM = ("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


def set_impairment(
    task: Task, engine: Engine, target: Target, impairment: Impairment, dry_run: bool | None = None
) -> Result:
    """Make the target suffer exactly this impairment; it lifts itself if nobody renews it."""

    def plan(held: InstalledImpairment) -> Plan:
        return engine.set(target, impairment, held)

    return converge(task, engine.observe(target).map(plan), dry_run)


def clear_impairment(
    task: Task, engine: Engine, targets: tuple[Target, ...], dry_run: bool | None = None
) -> Result:
    """Leave none of the targets impaired, and no trace of it.

    One after the other, each looked at anew: two targets of a node may share a queue, and then the first clears both.
    """
    mine = {str(index): target for index, target in enumerate(targets) if target.node == task.host.name}
    plans = shell(task).gather(together({key: _cleared(engine, target) for key, target in mine.items()}))
    wanted = [mine[key] for key, plan in plans.items() if plan]
    if not task.is_dry_run(dry_run):
        for target in wanted:
            converge(task, _cleared(engine, target), dry_run=False)
    diff = "\n".join(dict.fromkeys(plan.diff for plan in plans.values() if plan))
    return Result(host=task.host, changed=bool(wanted), diff=diff)


def renew_impairment(task: Task, engine: Engine, target: Target, impairment: Impairment) -> Result:
    """Start the time anew after which the impairment would lift itself."""
    here = shell(task)
    plan = here.gather(engine.observe(target).map(lambda held: engine.renew(target, impairment, held)))
    if plan:
        here.change(plan.steps)
    return Result(host=task.host, changed=False)


def read_impairment(task: Task, engine: Engine, target: Target) -> Result:
    """What the kernel holds; `result` is an InstalledImpairment."""
    return Result(host=task.host, result=shell(task).gather(engine.observe(target)))


def install_engine(task: Task, path: str, program: bytes, dry_run: bool | None = None) -> Result:
    """Put the lab's own engine at that path of the node."""
    return converge(task, executable(path, program), dry_run)


def has_netem(task: Task) -> Result:
    """Whether this node's kernel has netem; `result` is True or False."""
    done: Completed = shell(task).gather(ask(*_NETEM))
    return Result(host=task.host, result=done.exit_code == 0)


def _cleared(engine: Engine, target: Target) -> Fact[Plan]:
    return engine.observe(target).map(lambda held: engine.clear(target, held))
