"""Lab up and down in seconds, against the bare `ip` and `tc` commands that they amount to.

The bare side is `vpnmesh.lab.topology.build_steps` as a shell script, one process a command, and the removal of what
it made; it has no nodes, keys, sshd or checks. Medians of rounds in which both sides take turns.
"""

import shlex
import subprocess
import time
from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Size, spread
from bench.sandbox import embedded, private_place
from vpnmesh.lab.lifecycle import DEFAULT_PORT_RATE_MBIT_S, up
from vpnmesh.lab.topology import Topology, build_steps, plan_topology

_FLAGS = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


def bare_script(topology: Topology) -> str:
    """Build, tell the time, take away, tell the time: three stamps on stdout."""
    commands = [command for step in build_steps(topology, port_isolation=True) for command in step.commands]
    bridges = dict.fromkeys(port.bridge for port in topology.ports)
    removals = [("ip", "netns", "del", name) for name in topology.nodes]
    removals += [("ip", "link", "del", bridge) for bridge in bridges]
    return "\n".join(
        (
            "set -e; mount -t tmpfs none /run; mkdir /run/netns; date +%s.%N",
            *(shlex.join(command) for command in commands),
            "date +%s.%N",
            *(shlex.join(command) for command in removals),
            "date +%s.%N",
        )
    )


def bare_round(script: str) -> tuple[float, float]:
    """Seconds to build and to take away, in namespaces that are thrown away."""
    done = subprocess.run(
        ("unshare", *_FLAGS, "sh", "-c", script), check=True, capture_output=True, text=True
    )
    begun, built, gone = (float(stamp) for stamp in done.stdout.split())
    return built - begun, gone - built


def lab_round() -> tuple[float, float, dict[str, float]]:
    """Seconds of up and of down, and what up's own steps took."""
    with private_place():
        begun = time.monotonic()
        lab = up(embedded(), owned=True)
        built = time.monotonic()
        left = lab.close()
        gone = time.monotonic()
    if left:
        raise OSError(f"left behind by the lab: {', '.join(left)}")
    return built - begun, gone - built, {timing.step: timing.seconds for timing in lab.timings}


def run(console: Console, size: Size) -> list[Figure]:
    """The rounds' medians and their ratios; prints what up's own steps took."""
    topology, rounds = plan_topology(embedded(), port_rate_mbit_s=DEFAULT_PORT_RATE_MBIT_S), size.of(7, 1)
    script, bare, ours, steps = bare_script(topology), [], [], []
    for number in range(rounds):
        console.print(f"lab: round {number + 1} of {rounds}", style="dim", highlight=False)
        bare.append(bare_round(script))
        up_s, down_s, timings = lab_round()
        ours.append((up_s, down_s))
        steps.append(timings)
    console.print(_steps(steps))
    nodes = len(topology.nodes)
    return [
        _figure(f"{nodes} nodes {what}", [one[i] for one in ours], [one[i] for one in bare])
        for i, what in enumerate(("up (until all sshd greet)", "down (until nothing is left)"))
    ]


def _figure(what: str, ours: Sequence[float], bare: Sequence[float]) -> Figure:
    ratio = median(ours) / median(bare)
    return Figure(what, f"{spread(ours, 3)} s", f"{spread(bare, 3)} s bare commands", f"{ratio:.2f}")


def _steps(rounds: Sequence[dict[str, float]]) -> Table:
    table = Table(title="up's own steps, median", title_justify="left")
    table.add_column("step")
    table.add_column("s", justify="right")
    for name in rounds[0]:
        table.add_row(name, f"{median(one[name] for one in rounds):.3f}")
    return table
