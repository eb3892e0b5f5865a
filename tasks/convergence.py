"""Watching the path to a peer, and killing the daemons that keep it."""

import math
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from nornir.core.task import Result, Task

from inventory.repeating import on_controller
from tasks.connection import shell
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.measurements.protocol import Until
from vpnmesh.plan import Command, Completed, Fact, both
from vpnmesh.solutions.protocol import Mesh, Solution, Status
from vpnmesh.study.checks import seen_path
from vpnmesh.study.convergence import PathProbe

PAUSE_S = 0.1

# by pid file: a process of the same name that is not ours is left alone; names after the folder narrow it down
# a process that was killed may go on for seconds on a busy machine, and what it listens at is taken as long
_KILL = """
d="$1"; shift; killed=
for f in "$d"/*.pid; do
  [ -s "$f" ] && pid=$(cat "$f") && name=$(cat "/proc/$pid/comm" 2> /dev/null) || continue
  if [ $# -gt 0 ]; then case " $* " in *" $name "*) ;; *) continue ;; esac; fi
  kill -9 "$pid" 2> /dev/null && { echo "$f"; killed="$killed $pid"; }
done
for pid in $killed; do
  i=0; while kill -0 "$pid" 2> /dev/null && [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done
done
true
"""


@on_controller("it waits for all nodes together")
def probe_path(
    task: Task,
    solution: Solution,
    mesh: Mesh,
    peers: Mapping[str, tuple[str, IPv4Address]],
    until: Until,
    deadline_s: float = math.inf,
) -> Result:
    """Probe this node's peer until the probes so far are enough, or the deadline passes.

    `peers` maps a node to its peer's name and address in the tunnel; `result` is the tuple of PathProbes.
    """
    started = time.monotonic()
    probes: list[PathProbe] = []
    while True:
        probes.append(_probe(task, solution, mesh, peers[task.host.name], started))
        if until(probes) or probes[-1].at_s >= deadline_s:
            return Result(host=task.host, result=tuple(probes))
        time.sleep(PAUSE_S)


def kill_services(task: Task, processes: Sequence[str] = ()) -> Result:
    """End every service of ours on this node as a crash would; `result` lists their pid files.

    With `processes` only those whose process has one of these names: a cluster's services may run beside a VPN's.
    """
    kill = Command(("sh", "-c", _KILL, "sh", RUN_DIRECTORY, *processes))
    done = shell(task).change([kill])[0]
    return Result(host=task.host, changed=True, result=tuple(done.stdout.split()))


def _probe(
    task: Task, solution: Solution, mesh: Mesh, peer: tuple[str, IPv4Address], started: float
) -> PathProbe:
    name, address = peer
    asked = both(solution.status(mesh, mesh.testbed.node(task.host.name)), _answered(address))
    status, answered = shell(task).gather(asked)
    assert isinstance(status, Status)
    path = seen_path(mesh, task.host.name, status, name)
    return PathProbe(round(time.monotonic() - started, 3), path, answered)


def _answered(address: IPv4Address) -> Fact[bool]:
    def parse(completed: tuple[Completed, ...]) -> bool:
        return completed[0].exit_code == 0

    command = Command(("ping", "-n", "-q", "-c", "1", "-W", "1", str(address)), timeout_s=3, ok=(0, 1, 2))
    return Fact((command,), lambda completed: parse(tuple(completed)))
