"""What the firewall node lets pass between VLANs: the one way in which a packet is blocked, whatever the session."""

import logging
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from nornir.core.task import Result, Task

from inventory.marks import refuse_unmarked
from inventory.repeating import on_controller, repeatable
from tasks.connection import shell
from tasks.firewall.journal import Journal, default_directory
from tasks.firewall.registry import origin_of, session_of
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import ManagementPath, Policy, Protocol, Ruleset, can_cut, cut_paths, resolve
from vpnmesh.firewall.session import ChangeOrigin, FirewallSession, JournalledChange
from vpnmesh.model import Testbed

_LOG = logging.getLogger("vpnmesh.firewall")
RUN = "vpnmesh"
"""The run that changes are marked with when the caller names none."""

WAIT_S, PATIENT_S = 1.0, 10.0
"""How long a TCP probe waits, and how long where a machine may be too slow for that; UDP waits a third of it."""
# a connected UDP socket learns by ICMP that nobody listens: a later write is refused if an earlier one got through; ten
# pauses of "$3" seconds without a refusal are silence, and a node that has no route there has sent nothing
_PROBE = """
export LC_ALL=C
exec 3<>"/dev/udp/$0/$1" && echo a >&3 || exit 7
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sleep "$3"
  said=$({ echo b >&3; } 2>&1) || { [[ "$said" = *refused* ]] && exit 0; exit 7; }
done 2> /dev/null
exit 7
"""
# a TCP port that refuses was reached as much as one that accepts; silence means blocked, no route that nothing was sent
_PROBE_TCP = """
said=$(LC_ALL=C timeout "$2" bash -c "exec 3<>/dev/tcp/$0/$1" 2>&1) && exit 0
[[ "$said" = *"Connection refused"* ]]
"""
_UDP_PAUSES = 10
_PROBES = {Protocol.UDP: _PROBE, Protocol.TCP: _PROBE_TCP}
_ALL_AT_ONCE = """
tcp="$1"; udp="$2"; shift 2; pids=
while [ $# -gt 0 ]; do bash -c "$1" "$2" "$3" "$tcp" "$udp" 2> /dev/null & pids="$pids $!"; shift 3; done
for pid in $pids; do wait "$pid"; echo $?; done
"""
SILENT, REFUSED = 7, 0


@on_controller("the firewall's journal is on its disk")
def set_firewall_policy(
    task: Task,
    policy: Policy,
    testbed: Testbed,
    dry_run: bool | None = None,
    run: str = RUN,
    journal: Journal | None = None,
) -> Result:
    """Set exactly this policy on the firewall; run it on the host with role firewall.

    The driver is the inventory's. `run` marks what is made; a policy that already holds is renewed when half of
    its time has gone. What a person must know is logged before the first write, and in `result`. Raises
    CheckError before anything is written where the change would cut the controller's own path, where another run
    holds the firewall, or where a foreign rule is above ours.
    """
    said: list[str] = []

    def say(text: str) -> None:
        _LOG.warning("%s: %s", task.host.name, text)
        said.append(text)

    wanted = resolve(policy, testbed)
    if not task.is_dry_run(dry_run):
        refuse_unmarked([task.host])
    refuse_to_cut(wanted, testbed)
    journal = journal or Journal(default_directory())
    session = session_of(task, testbed, Mark(run), say, journal)
    diff = change(session, wanted, origin_of(task.host, run), journal, dry_run=task.is_dry_run(dry_run))
    return Result(host=task.host, changed=bool(diff), diff=diff, result=tuple(said))


@on_controller("the firewall's journal is on its disk")
def roll_back_firewall(
    task: Task, testbed: Testbed, run: str = RUN, journal: Journal | None = None
) -> Result:
    """Take away all that a run made on this firewall, also after a crash; `result`: whether there was anything."""
    refuse_unmarked([task.host])
    journal = journal or Journal(default_directory())
    session = session_of(task, testbed, Mark(run), lambda _text: None, journal)
    found = take_back(session, origin_of(task.host, run), journal)
    return Result(host=task.host, changed=found, result=found)


def take_back(session: FirewallSession[Any, Any], origin: ChangeOrigin, journal: Journal) -> bool:
    """Roll back what the journal says was begun, or what the marks show; returns whether there was anything."""
    with journal.writer(origin):
        begun = journal.read(origin)
        found = session.roll_back(begun.snapshot if begun else None)
        journal.end(origin)
    return found


def change(
    session: FirewallSession[Any, Any],
    wanted: Ruleset,
    origin: ChangeOrigin,
    journal: Journal,
    *,
    dry_run: bool,
) -> str:
    """Observe, plan, journal, apply, verify; returns the diff, empty when the firewall was as wanted.

    The journal is on disk before the first write. A change that fails is rolled back at once; if that fails too,
    both are said, and the journal stays for `workflows.teardown`.
    """
    held = session.observe()
    plan = session.plan(held, wanted)
    if dry_run:
        return str(plan.diff)
    if plan:
        with journal.writer(origin):
            anew = not session.holds(held)
            begun = journal.begin(origin, session.revision(held), session.snapshot(held), anew=anew)
            try:
                session.apply(plan, wanted)
                session.verify(wanted)
            except VpnmeshError as error:
                _undo(session, begun, journal, error)
                raise
    if not wanted:
        journal.end(origin)
    return str(plan.diff)


def _undo(
    session: FirewallSession[Any, Any], begun: JournalledChange, journal: Journal, error: VpnmeshError
) -> None:
    try:
        session.roll_back(begun.snapshot)
    except VpnmeshError as second:
        way = f"run python -m workflows.teardown --run {begun.origin.run}"
        raise CheckError("firewall", f"{error}; and the roll back failed: {second}; {way}") from second
    journal.end(begun.origin)


def refuse_to_cut(wanted: Ruleset, testbed: Testbed) -> None:
    """CheckError names the nodes that the controller would lose, or those of which that cannot be told."""
    if can_cut(wanted) and (lost := cut_paths(wanted, testbed, controller_ways(testbed, wanted.name))):
        raise CheckError(
            "firewall",
            f"policy {wanted.name} would cut the controller off from {', '.join(lost)}; give it a management network"
            " outside the testbed's VLANs",
        )


def controller_ways(testbed: Testbed, policy: str) -> Mapping[str, tuple[ManagementPath, ...]]:
    """Between which addresses inside the VLANs each node is managed from here, names resolved; nothing is sent to it.

    One outside the VLANs is on no way that a rule could cut. Raises CheckError where a name does not resolve, has no
    IPv4 address, or no route leads to it: then nobody can say whether the policy would cut the node off.
    """
    ways = {}
    for node in testbed.nodes:
        try:
            found = _addresses(node.management)
            inside = (one for one in found if any(one in vlan.prefix for vlan in testbed.vlans))
            ways[node.name] = tuple(_way_to(address) for address in inside)
        except OSError as error:
            raise CheckError(
                "firewall",
                f"{node.name}: its management address '{node.management}' cannot be used to tell whether policy"
                f" {policy} would cut the controller off ({error.strerror or error}); write an IPv4 address as its"
                " hostname, or a name that resolves to one here",
            ) from error
    return ways


def _addresses(management: str) -> list[IPv4Address]:
    """All IPv4 addresses of a name or an address; OSError when there are none."""
    found = socket.getaddrinfo(management, None, socket.AF_INET, socket.SOCK_DGRAM)
    return list(dict.fromkeys(IPv4Address(answer[4][0]) for answer in found))


def _way_to(address: IPv4Address) -> ManagementPath:
    """The way that the kernel would choose; OSError when there is none. A UDP socket that connects sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return ManagementPath(IPv4Address(probe.getsockname()[0]), address)


@repeatable
def probe_reach(
    task: Task, targets: Mapping[str, tuple[tuple[str, Protocol, int], ...]], wait_s: float = WAIT_S
) -> Result:
    """What this node's packets get to, all tried at once: `result` maps (address, protocol, port) to True or False.

    `targets` holds every node's own. A TCP port that refuses was reached as much as one that accepts. What does not
    answer within `wait_s` counts as not reached, which on a slow machine need not be the firewall's doing.
    """
    mine = targets[task.host.name]
    words = [word for address, protocol, port in mine for word in (_PROBES[protocol], address, str(port))]
    argv = ("bash", "-c", _ALL_AT_ONCE, "probes", f"{wait_s:g}", f"{wait_s / 3 / _UDP_PAUSES:g}", *words)
    done = shell(task).run(*argv, timeout_s=15 + 3 * wait_s)
    codes = [int(line) for line in done.stdout.split()]
    return Result(host=task.host, result=dict(zip(mine, (code == REFUSED for code in codes), strict=True)))
