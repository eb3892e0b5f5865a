"""What passes nodes while something is done: listeners are started, commands are run, and the counts are read."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.repeating import on_controller
from tasks.connection import Attached, shell_of
from tasks.listening import listening
from vpnmesh.plan import Command, Completed
from vpnmesh.tools import flows

STAGE = "flows"
MARGIN_S = 30.0
"""How much longer than its commands a listener may live."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What commands said, in their order, and what was heard meanwhile, by node."""

    said: tuple[Completed, ...]
    heard: Mapping[str, flows.Heard]


@on_controller("it holds connections to several nodes at once")
def watch_flows(
    task: Task,
    places: Mapping[str, Sequence[str]],
    commands: Sequence[tuple[str, Command]],
    others: Mapping[str, Host],
) -> Result:
    """Listen at these interfaces of these nodes while commands run on nodes one after the other; `result` is Watched.

    Nothing of what passes is kept but counts, and nothing is left on a node. `others` are all hosts of the inventory.
    """
    limit_s = sum(command.timeout_s for _, command in commands) + MARGIN_S
    with ExitStack() as stack:
        listeners = {}
        for node, interfaces in places.items():
            here, argv = shell_of(task, others[node]), flows.listen(interfaces, limit_s)
            listeners[node] = stack.enter_context(listening(here, argv, STAGE, limit_s + 5))
        said = tuple(shell_of(task, others[node]).run_all([command])[0] for node, command in commands)
        heard = {node: _counts(process) for node, process in listeners.items()}
    return Result(host=task.host, result=Watched(said, heard))


def _counts(process: Attached) -> flows.Heard:
    done = process.stop()
    return flows.heard(done.stdout or done.stderr)
