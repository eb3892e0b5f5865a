"""Which way packets really take: knocking on peers, and counting at the relay node."""

import time
from collections.abc import Mapping, Sequence

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.repeating import on_controller, repeatable
from tasks.connection import Shell, shell, shell_of
from vpnmesh.errors import CheckError
from vpnmesh.host.pods import in_pod, pod_address
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Fact
from vpnmesh.tools import ping

PROBE_PACKETS = 1000
PROBE_BYTES = 1000
_HEADERS_BYTES = 28
_PROBES = 3


@repeatable
def knock(task: Task, targets: Mapping[str, Sequence[str]]) -> Result:
    """Send one ping to each of this host's targets at the same time, whether answered or not.

    It is the packet that matters: an answer is waited for no longer than until it is worth to look at the paths again.
    """
    script = 'for a in "$@"; do ping -n -q -c 1 -W 0.3 "$a" > /dev/null 2>&1 & done; wait'
    shell(task).run("sh", "-c", script, "sh", *targets[task.host.name], timeout_s=5)
    return Result(host=task.host)


@on_controller("it asks two nodes at once")
def probe_relay_share(task: Task, testbed: Testbed, server: str, others: Mapping[str, Host]) -> Result:
    """The relay node's share of a probe's bytes (pod to pod and back), by its interface's own counter.

    `result` is 1.0 when every byte passed through it, 0.0 when none did; tunnel headers can make it a little
    more than 1. `others` are all hosts of the inventory. A probe of which hardly anything came back tells
    nothing of the way (a busy machine, a key that was just renewed) and is sent again; raises CheckError when
    that happens three times.
    """
    relay = shell_of(task, others[testbed.relay.name])
    interface = testbed.relay.leg.interface
    address = str(pod_address(testbed, testbed.node(server)))
    argv = ping.argv(address, PROBE_PACKETS, interval_s=0.0005, payload_bytes=PROBE_BYTES)
    command = Command(in_pod(*argv), timeout_s=30, ok=(0, 1, 2))
    probe = Fact((command,), lambda completed: ping.parse(completed[0].stdout))
    came_back = []
    for _ in range(_PROBES):
        before = sent_bytes(relay, interface)
        summary = shell(task).gather(probe)
        after = sent_bytes(relay, interface)
        if summary.received >= PROBE_PACKETS / 2:
            carried = (summary.sent + summary.received) * (PROBE_BYTES + _HEADERS_BYTES)
            return Result(host=task.host, result=(after - before) / carried)
        came_back.append(str(summary.received))
        time.sleep(1)
    raise CheckError("path", f"pod to pod: of {PROBE_PACKETS} probes came back {', then '.join(came_back)}")


def sent_bytes(here: Shell, interface: str) -> int:
    """All bytes that an interface of the node has sent so far."""
    return int(here.run("cat", f"/sys/class/net/{interface}/statistics/tx_bytes").stdout)
