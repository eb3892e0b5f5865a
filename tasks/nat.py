"""Nodes behind NAT: routers set on the firewall and taken away, kinds probed, packets listed, a tunnel's rate."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.repeating import on_controller, repeatable
from tasks.apply import converge
from tasks.connection import Attached, shell, shell_of
from tasks.listening import await_listening, end_quietly, listening
from tasks.path import sent_bytes
from vpnmesh.firewall import nat_routers
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.firewall.nat_proof import parse
from vpnmesh.host import dual_stack
from vpnmesh.host.dual_stack import BOTH, IPV4_ALONE, Families, addresses
from vpnmesh.model import Testbed
from vpnmesh.plan import Command
from vpnmesh.tools import nat_probe, programs
from vpnmesh.tools.iperf3 import LISTENING, Iperf3

STAGE = "nat"
NO_FAMILIES: Mapping[str, Families] = MappingProxyType({})
"""Of an underlay of IPv4 alone."""


def set_nat_kinds(task: Task, testbed: Testbed, kinds: Mapping[str, NatKind]) -> Result:
    """Put these nodes behind fresh routers on this firewall, and all others behind none.

    UnavailableError for a kind that no router makes. That it is that kind only `probe_nat` shows.
    """
    shell(task).change(nat_routers.set_kinds(testbed, kinds))
    return Result(host=task.host, changed=True)


@repeatable
def clear_nat_kinds(task: Task, dry_run: bool | None = None) -> Result:
    """Take all routers away from this firewall."""
    return converge(task, nat_routers.removed(), dry_run)


@repeatable
def count_passed(task: Task) -> Result:
    """How many packets this firewall let through to or from nodes of IPv6 alone; `result` maps families to packets."""
    return Result(host=task.host, result=shell(task).gather(nat_routers.ask_passed()))


@repeatable
def set_families(
    task: Task, testbed: Testbed, families: Mapping[str, Families], dry_run: bool | None = None
) -> Result:
    """Have this node's underlay addresses be of these families, until `restore_families`."""
    node = testbed.node(task.host.name)
    return converge(task, dual_stack.given(testbed, node, families[node.name]), dry_run)


@repeatable
def restore_families(task: Task, dry_run: bool | None = None) -> Result:
    """Give this node the IPv4 addresses of the inventory alone, as before; changes nothing where it is so."""
    return converge(task, dual_stack.at_home(), dry_run)


@on_controller("it waits for several nodes together")
def probe_nat(
    task: Task,
    testbed: Testbed,
    ends: Sequence[str],
    others: Mapping[str, Host],
    wait_s: float,
    *,
    punch: bool,
    families: Mapping[str, Families] = NO_FAMILIES,
) -> Result:
    """Probe from both ends what they are behind; run it on one of them. `result` maps each end to its NatSeen.

    Relay and control plane answer; neither may be an end. With `punch` the ends try to reach each other, too. A packet
    that does not come within `wait_s` counts as stopped. `families` are those of the ends' addresses where the rest of
    the underlay has both.
    """
    token = secrets.token_hex(8)
    answering = (testbed.relay, testbed.control_plane)
    with ExitStack() as stack:
        for node in answering:
            here = shell_of(task, others[node.name])
            stack.enter_context(listening(here, nat_probe.answer(token), STAGE, nat_probe.LIMIT_S))
        asking = {}
        for me, other in (tuple(ends), tuple(reversed(ends))):
            mine = families.get(me, IPV4_ALONE)
            first, second = (addresses(testbed, node, mine)[0] for node in answering)
            unused = (one for one in addresses(testbed, answering[0], BOTH) if one != first)
            beside = next(unused) if families else None
            argv = nat_probe.ask(token, (first, second), me, other if punch else "", wait_s, beside)
            asking[me] = shell_of(task, others[me]).start(argv, timeout_s=nat_probe.LIMIT_S)
            stack.callback(end_quietly, asking[me])
        found = {name: parse(_all_of(process)) for name, process in asking.items()}
    return Result(host=task.host, result=found)


@dataclass(slots=True)
class HeaderCapture:
    """Lists packets from when it is made until `lines` is called."""

    process: Attached

    def lines(self) -> str:
        """The packets so far; nothing is listed after this."""
        return self.process.stop().stdout.replace(f"{programs.READY}\n", "", 1)


@on_controller("what is listed is read later")
def start_header_capture(task: Task, interfaces: Sequence[str], limit_s: float) -> Result:
    """Begin to list the headers of these interfaces' packets on this node; `result` is a HeaderCapture."""
    process = shell(task).start(nat_probe.list_headers(tuple(interfaces), limit_s), timeout_s=limit_s + 5)
    await_listening(task.host.name, process, STAGE)
    return Result(host=task.host, result=HeaderCapture(process))


@on_controller("it asks three nodes")
def measure_tunnel(
    task: Task, testbed: Testbed, server: str, address: IPv4Address, others: Mapping[str, Host], tool: Iperf3
) -> Result:
    """Send TCP from this node to the server's address in the tunnel.

    `result` is what iperf3 printed, and the bytes that the relay node sent meanwhile.
    """
    relay, interface = shell_of(task, others[testbed.relay.name]), testbed.relay.leg.interface
    answering = shell_of(task, others[server]).start(tool.server(address), timeout_s=nat_probe.LIMIT_S)
    try:
        answering.read_until(lambda text: LISTENING in text, within_s=programs.START_S)
        before = sent_bytes(relay, interface)
        argv = tool.client("tcp", address)
        said = shell(task).run_all([Command(argv, timeout_s=tool.streams_s + 30, ok=(0, 1))])[0]
        return Result(host=task.host, result=(said.stdout, sent_bytes(relay, interface) - before))
    finally:
        end_quietly(answering)


def _all_of(process: Attached) -> str:
    return process.read_until(lambda text: text.endswith("\n"), within_s=nat_probe.LIMIT_S)
