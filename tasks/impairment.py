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
    """Set exactly this impairment at the target; it lifts itself if nobody renews it."""

    def plan(held: InstalledImpairment) -> Plan:
        return engine.set(target, impairment, held)

    return converge(task, engine.observe(target).map(plan), dry_run)


def clear_impairment(
    task: Task, engine: Engine, targets: tuple[Target, ...], dry_run: bool | None = None
) -> Result:
    """Remove every impairment of the targets, with all its traces."""
    mine = [target for target in targets if target.node == task.host.name]
    facts = {str(index): _cleared(engine, target) for index, target in enumerate(mine)}
    return converge(task, together(facts).map(_joined), dry_run)


def renew_impairment(task: Task, engine: Engine, target: Target, impairment: Impairment) -> Result:
    """Start the time anew after which the impairment would lift itself."""
    here = shell(task)
    plan = here.gather(engine.observe(target).map(lambda held: engine.renew(target, impairment, held)))
    if plan:
        here.run_all(plan.steps)
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


def _joined(plans: dict[str, Plan]) -> Plan:
    return sum(plans.values(), start=Plan())
