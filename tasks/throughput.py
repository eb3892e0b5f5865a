"""Throughput from pod to pod, with the load of client, server and relay all along."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from tasks.connection import Attached, Shell, shell_of
from tasks.path import sent_bytes
from vpnmesh.errors import CommandError
from vpnmesh.host.pods import in_pod, pod_address
from vpnmesh.model import Condition, Test, Testbed
from vpnmesh.plan import Command
from vpnmesh.tools import iperf3, load

UNDISTURBED = Condition()
TIMED_OUT = (124, 137)


@dataclass(frozen=True, slots=True)
class Throughput:
    """What to ask: the test, iperf3's arguments, the server node, and the condition that it is asked under."""

    testbed: Testbed
    test: Test
    tool: iperf3.Iperf3
    server: str
    condition: Condition = UNDISTURBED


@dataclass(frozen=True, slots=True)
class RawThroughput:
    """What the tools said, unparsed: the client's JSON, and the samples of each end's load."""

    argv: tuple[str, ...]
    client: str
    error: str
    server: str
    loads: Mapping[str, str]
    relay_sent_bytes: int
    elapsed_s: float


def measure_throughput(task: Task, ask: Throughput, others: Mapping[str, Host]) -> Result:
    """Run iperf3 once from this node's pod to the server's; `result` is a RawThroughput.

    `others` are all hosts of the inventory (`nr.inventory.hosts`), since the task's own is filtered.
    A fresh server each time; everything on the nodes ends with this call, or by itself when the controller dies.
    Raises CommandError when the server does not come up; a client that fails is raw output, judged by the parser.
    """
    bed = ask.testbed
    address = pod_address(bed, bed.node(ask.server))
    limit_s = ask.tool.seconds(ask.condition)
    ends = {"client": task.host.name, "server": ask.server, "relay": bed.relay.name}
    shells = {end: shell_of(task, others[name]) for end, name in ends.items()}
    with ExitStack() as stack:
        server = shells["server"].start(in_pod(*ask.tool.server(address)), timeout_s=limit_s + 5)
        stack.callback(server.channel.close)
        samplers = {end: _sampler(bed, ends[end], shells[end], limit_s, stack) for end in ends}
        banner = server.wait_for(iperf3.LISTENING)
        # read around the client, since samples every half second would miss the end of a short test
        sent_before = sent_bytes(shells["relay"], bed.relay.leg.interface)
        started = time.monotonic()
        client = _run_client(shells["client"], ask, address, limit_s)
        elapsed_s = time.monotonic() - started
        # ended first: every sample after the client's end is of idle nodes
        for sampler in samplers.values():
            sampler.end()
        relayed = sent_bytes(shells["relay"], bed.relay.leg.interface) - sent_before
        loads = {end: sampler.stop().stdout for end, sampler in samplers.items()}
        said = banner + server.stop().stdout
    raw = RawThroughput(
        ask.tool.client(ask.test, address), client[0], client[1], said, loads, relayed, elapsed_s
    )
    return Result(host=task.host, result=raw)


def _sampler(bed: Testbed, name: str, here: Shell, limit_s: float, stack: ExitStack) -> Attached:
    attached = here.start(load.sampler(bed.node(name).leg.interface), timeout_s=limit_s + 5)
    stack.callback(attached.channel.close)
    return attached


def _run_client(here: Shell, ask: Throughput, address: IPv4Address, limit_s: float) -> tuple[str, str]:
    """The client's stdout, and what went wrong if iperf3 itself could not say so in its JSON."""
    command = Command(in_pod(*ask.tool.client(ask.test, address)), timeout_s=limit_s, ok=(0, 1))
    try:
        done = here.run_all([command])[0]
    except CommandError as error:
        late = error.exit_code in TIMED_OUT
        return "", f"not done after {limit_s:.0f} s" if late else str(error)
    return done.stdout, done.stderr.strip()
