"""Whether what pods say can be read at the relay and on the underlay: a marker is sent, and listened for."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.repeating import on_controller
from tasks.connection import Attached, shell_of
from tasks.listening import listening
from vpnmesh.host.pods import VXLAN, in_pod, pod_address
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Fact
from vpnmesh.study.secrecy import STAGE, MarkerTrial, Tap, taps
from vpnmesh.tools import marker


@on_controller("it holds connections to several nodes at once")
def listen_for_marker(
    task: Task, testbed: Testbed, others: Mapping[str, Host], tunnels: tuple[str, ...] = ()
) -> Result:
    """Send a new marker from this host's pod, the measured client's, to the server's and back, and listen for it.

    Listeners are at the relay and on the underlay interfaces of both ends, inside of the overlay at both ends, and at
    those `tunnels` of the VPN that are on the relay. Nothing of what passes is kept. `result` is a `MarkerTrial`;
    `vpnmesh.study.secrecy` judges it. `others` are all hosts of the inventory.
    """
    word = f"vpnmesh-marker-{secrets.token_hex(16)}"
    shells = {name: shell_of(task, others[name]) for name in _names(testbed)}
    every = _by_node(testbed, shells[testbed.relay.name].gather(_there(tunnels)))
    with ExitStack() as stack:

        def begun(node: str, argv: Sequence[str]) -> Attached:
            return stack.enter_context(listening(shells[node], argv, STAGE, marker.LIMIT_S + 5))

        listeners = {
            node: begun(node, marker.listen(word, [tap.interface for tap in there]))
            for node, there in every.items()
        }
        begun(testbed.server.name, in_pod(*marker.answer(word)))
        argv = in_pod(*marker.send(word, str(pod_address(testbed, testbed.server))))
        asked = Fact((Command(argv, timeout_s=marker.LIMIT_S),), lambda completed: completed[0])
        said = shells[testbed.client.name].gather(asked)
        sent = marker.sent(said.stdout or said.stderr)
        counts = {node: _counts(process) for node, process in listeners.items()}
    heard = {tap: counts[tap.node][tap.interface] for there in every.values() for tap in there}
    return Result(host=task.host, result=MarkerTrial(sent, heard))


def _names(testbed: Testbed) -> tuple[str, ...]:
    return (testbed.client.name, testbed.server.name, testbed.relay.name)


def _there(interfaces: tuple[str, ...]) -> Fact[Sequence[str]]:
    """Which of these a node has."""
    script = 'for i in "$@"; do [ ! -e "/sys/class/net/$i" ] || echo "$i"; done'
    return Fact((Command(("sh", "-c", script, "sh", *interfaces)),), lambda found: found[0].stdout.split())


def _by_node(testbed: Testbed, tunnels: Sequence[str]) -> dict[str, list[Tap]]:
    every = sorted(taps(testbed, VXLAN, tunnels), key=lambda tap: tap.node)
    return {node: list(found) for node, found in groupby(every, key=lambda tap: tap.node)}


def _counts(listener: Attached) -> dict[str, marker.Heard]:
    done = listener.stop()
    return marker.heard(done.stdout or done.stderr)
