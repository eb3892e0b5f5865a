"""Live checks of what is outside of the mesh: whether anything leaves, networks behind members, and processors."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import tasks
from vpnmesh.criteria.observation import Observation, Part
from vpnmesh.errors import CheckError, CommandError, UnavailableError
from vpnmesh.firewall.policy import SSH_PORT
from vpnmesh.host import provisional
from vpnmesh.plan import Command, Fact, Plan, at_most
from vpnmesh.solutions.control import Gateway
from vpnmesh.study.programs import program_of
from vpnmesh.tools import flows
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.provision import carried_out
from workflows.run.together import together
from workflows.run.undoing import promise
from workflows.run.verifying import Verifier, seen, wait_for
from workflows.run.verifying_members import lacks, processes_of

OUTSIDE = IPv4Address("203.0.113.77")
"""An address that nobody has (RFC 5737, TEST-NET-3)."""
NAME_OUTSIDE = "vpnmesh-asks.invalid"
"""A name that nobody has (RFC 6761)."""
LONGER = 2
"""How much longer than it took a start that went on after the listening is listened to the second time."""
_ELF = 'f=$(readlink -f "$(command -v "$1")"); od -An -t u2 -j 18 -N 2 "$f"'
# e_machine of the ELF header (elf.h: EM_X86_64, EM_AARCH64)
_MACHINES = {"62": "x86_64", "183": "aarch64", "243": "riscv64", "40": "arm"}


def self_hosted(checks: Verifier) -> list[Observation]:
    """Nothing leaves the testbed while all of the solution's programs start anew and could reach the outside."""
    deployed, site = checks.up(checks.direct), checks.site
    watcher = site.testbed.firewall
    if watcher.name not in site.all_nodes:
        raise UnavailableError(f"{watcher.name} is an appliance: nothing can be counted on it")
    places = {watcher.name: [leg.interface for leg in watcher.legs]}
    # who has no address for a name sends nothing to it, so that what is asked for counts as well
    places |= {name: [flows.ANY] for name in site.all_nodes if name != watcher.name}
    with _ways_out(checks) as routed:
        heard, listened_s = _while_restarting(checks, places)
        tried = checks.watch(places, [(checks.client, one) for one in _outward()])
    control = tried.heard[watcher.name]
    passed = heard[watcher.name]
    gone, found = _leaving(checks, passed), _leaving(checks, control)
    own = [flow for flow in gone if any(_is_in(flow, prefix) for prefix in deployed.solution.own_ranges)]
    left = [flow for flow in gone if flow not in own]
    inside = sum(flow.packets for flow in passed.flows)
    return [
        seen(
            f"packets to addresses outside of the testbed at {watcher.name}, in {listened_s:.0f} s in which all"
            " programs started anew",
            "0",
            f"{sum(flow.packets for flow in left)} of {inside}" + (f": {left[0]}" if left else ""),
            holds=not left and not passed.uncounted,
            text="\n".join([*(f"leaves: {flow}" for flow in left), "", passed.text()]),
        ),
        _names(checks, heard),
        *_to_itself(own),
        seen(
            f"three pings to {OUTSIDE} from {checks.client}, which has a default route"
            + (f" (made for this, on {routed} nodes)" if routed else ""),
            "counted as leaving",
            f"{sum(flow.packets for flow in found)} packets counted as leaving",
            holds=any(flow.destination == OUTSIDE for flow in found),
            part=Part.CONTROL,
            text=control.text(),
        ),
        seen(
            f"{checks.client} looks the name {NAME_OUTSIDE} up",
            "the question is heard",
            "it is heard" if NAME_OUTSIDE in tried.heard[checks.client].names else "it is not heard",
            holds=NAME_OUTSIDE in tried.heard[checks.client].names,
            part=Part.CONTROL,
        ),
    ]


def _outward() -> tuple[Command, Command]:
    """What goes out if anything does: packets to an address, and a question for a name."""
    pings = ("ping", "-n", "-q", "-c", "3", "-W", "1", str(OUTSIDE))
    lookup = ("timeout", "10", "getent", "hosts", NAME_OUTSIDE)
    return Command(pings, timeout_s=10, ok=(0, 1, 2)), Command(lookup, timeout_s=15, ok=(0, 1, 2, 124))


def _names(checks: Verifier, heard: Mapping[str, flows.Heard]) -> Observation:
    """The names that nodes asked a name server for meanwhile, but for the testbed's own."""
    own = {node.name for node in checks.site.testbed.nodes}
    asked = {name: [one for one in at.names if one not in own] for name, at in heard.items()}
    said = [f"{', '.join(names)} ({node})" for node, names in asked.items() if names]
    return seen(
        "names of others that nodes looked up meanwhile",
        "none",
        "; ".join(said) or "none",
        holds=not said,
        text="\n".join(f"{node}: {name}" for node, names in asked.items() for name in names),
    )


def _while_restarting(
    checks: Verifier, places: Mapping[str, Sequence[str]]
) -> tuple[Mapping[str, flows.Heard], float]:
    """What passes there while all programs start anew, and for how long was listened: not less than that takes.

    A start that goes on after it is made once more, and listened to for longer; CheckError where that goes on, too.
    """
    first, took_s = _restarted(checks, places, checks.hold_s)
    if took_s <= checks.hold_s:
        return first, checks.hold_s
    longer_s = LONGER * took_s
    again, took_s = _restarted(checks, places, longer_s)
    if took_s > longer_s:
        words = f"starting all programs anew took {took_s:.0f} s, and {longer_s:.0f} s were listened to"
        raise CheckError("verify", f"{words}: give --hold more")
    return {name: one + again[name] for name, one in first.items()}, checks.hold_s + longer_s


def _restarted(
    checks: Verifier, places: Mapping[str, Sequence[str]], listened_s: float
) -> tuple[Mapping[str, flows.Heard], float]:
    """What passes there in so many seconds, and how many of them all programs took to start anew.

    CheckError where a program that ran before is still the same one afterwards.
    """
    site, took_s = checks.site, list[float]()
    watcher = next(iter(places))
    before = processes_of(checks)

    def restart() -> None:
        started = time.monotonic()
        for node in site.all_nodes:
            run_on(site.nr, [node], tasks.kill_services, processes=checks.standing.solution.processes)
        checks.rejoin()
        checks.pings(checks.client, checks.address(checks.server), 20, 0.05)
        took_s.append(time.monotonic() - started)

    wait = Command(("sleep", f"{listened_s:g}"), timeout_s=listened_s + 10)
    watched, _ = together([lambda: checks.watch(places, [(watcher, wait)]), restart])
    assert watched is not None
    after = processes_of(checks)
    if same := [f"{node}: {one}" for node, held in before.items() for one in held if one in after[node]]:
        raise CheckError("verify", f"these programs were not started anew: {', '.join(same)}")
    return watched.heard, took_s[0]


def _to_itself(own: Sequence[flows.Flow]) -> list[Observation]:
    """Packets to the VPN's own addresses that came by without a tunnel, which was not there for a moment; told."""
    if not own:
        return []
    told = f"{sum(flow.packets for flow in own)}: {own[0]}"
    text = "\n".join(map(str, own))
    what = "packets to its own addresses that came by outside of any tunnel"
    return [seen(what, "0", told, holds=True, part=Part.TOLD, text=text)]


def _is_in(flow: flows.Flow, prefix: IPv4Network) -> bool:
    return isinstance(flow.destination, IPv4Address) and flow.destination in prefix


def _leaving(checks: Verifier, heard: flows.Heard) -> list[flows.Flow]:
    """Flows to addresses that are neither of the testbed nor of one link alone."""
    bed = checks.site.testbed
    ours = [*(vlan.prefix for vlan in bed.vlans), bed.overlay, bed.pods]
    managed = {name for node in bed.nodes for name in (str(node.underlay), node.management)}

    def leaves(flow: flows.Flow) -> bool:
        to = flow.destination
        if to.is_multicast or to.is_link_local or to.is_loopback or str(to) == "255.255.255.255":
            return False
        if flow.source_port == SSH_PORT and str(flow.source) in managed:
            # our own words with the node
            return False
        return not (isinstance(to, IPv4Address) and any(to in prefix for prefix in ours))

    return [flow for flow in heard.flows if leaves(flow)]


@contextmanager
def _ways_out(checks: Verifier) -> Iterator[int]:
    """A default route through the firewall on every node that has none, so that what wants to leave comes by."""
    bed = checks.site.testbed
    nodes = [name for name in checks.site.all_nodes if name != bed.firewall.name]
    gateways = {name: bed.vlan(bed.node(name).leg.vid).gateway for name in nodes}
    without = [name for name in nodes if not checks.run(name, "ip", "route", "show", "default").strip()]
    add = {name: provisional.default_route(gateways[name]) for name in without}
    remove = {name: provisional.no_default_route(gateways[name]) for name in without}
    with _put(checks, add, remove):
        yield len(without)


@contextmanager
def _put(
    checks: Verifier, wanted: Mapping[str, Fact[Plan]], removed: Mapping[str, Fact[Plan]]
) -> Iterator[None]:
    """Put something on nodes for a while; they take it away themselves where this falls silent."""
    site, standing = checks.site, checks.standing
    undo = {name: at_most(fact) for name, fact in removed.items()}
    promise(site, standing.solution, standing.mesh, undo)
    try:
        run_on(site.nr, wanted, tasks.put_for_a_while, wanted=wanted)
        yield
    finally:
        cut = carried_out(site, lambda: run_on(site.nr, removed, tasks.put_for_a_while, wanted=removed))
        if cut is not None:
            raise cut
        promise(site, standing.solution, standing.mesh)


def subnet_router(checks: Verifier) -> list[Observation]:
    """A host behind one member, which is no member, is reached from another one through the VPN."""
    deployed, member = checks.up(checks.direct), checks.server
    gateway = Gateway(member, provisional.BEHIND, provisional.LINK)
    stages = deployed.solution.gateway(deployed.mesh, gateway)
    if not stages:
        raise lacks(checks, "subnet-routers", "nothing here says how a member of it is made a gateway")
    with _put(checks, {member: provisional.network_behind()}, {member: provisional.no_network_behind()}):
        own = checks.pings(member, provisional.HOST, 5, 0.1).received
        before = _reaches(checks)
        checks.stages(stages)
        after, took = wait_for(lambda: _reaches(checks), lambda answered: answered > 0)
        tunnel = deployed.statuses[checks.client].interface
        # that there is no way is an answer
        route = checks.run(checks.client, "sh", "-c", 'ip route get "$0" 2>&1; true', str(provisional.HOST))
    checks.down()
    return [
        seen(
            f"pings from {checks.client} to {provisional.HOST}, a host behind {member} that is no member",
            "answered",
            f"{after} of 5 answered after {took:.1f} s",
            holds=after > 0,
            text=route,
        ),
        seen("the way there", f"through {tunnel}", route.split(" uid")[0].strip(), holds=tunnel in route),
        seen(
            f"before {member} was the gateway",
            "0 of 5",
            f"{before} of 5",
            holds=not before,
            part=Part.CONTROL,
        ),
        seen(
            f"{member} itself reaches that host",
            "it is answered",
            f"{own} of 5 answered",
            holds=own > 0,
            part=Part.CONTROL,
        ),
    ]


def _reaches(checks: Verifier) -> int:
    """How many of five pings to the host behind are answered."""
    try:
        return checks.pings(checks.client, provisional.HOST, 5, 0.1).received
    except HostsFailedError:
        # no route there: ping sends nothing
        return 0


def architectures(checks: Verifier) -> list[Observation]:
    """Which processors members have, and for which their program was built; both must be in one mesh."""
    deployed = checks.up(checks.direct)
    program = program_of(deployed.solution)
    if program is None:
        raise UnavailableError("the kernel carries it: there is no program to look at")
    members: Sequence[str] = checks.site.k8s
    built = {name: _built_for(checks, name, program.name) for name in members}
    kinds = sorted(set(built.values()))
    if len(kinds) < 2:  # noqa: PLR2004 - both are to be seen
        text = ", ".join(f"{name} {kind}" for name, kind in built.items())
        reason = (
            f"all members are of one kind here ({text}): a client of the other was not run;"
            " an --inventory with members of both decides it"
        )
        raise UnavailableError(reason)
    machines = {name: checks.run(name, "uname", "-m").strip() for name in members}
    return [
        seen(
            "processors of the members of this mesh",
            "x86_64 and aarch64",
            " and ".join(kinds),
            holds={"x86_64", "aarch64"} <= set(kinds),
        ),
        seen(
            "what the programs were built for, beside what the members say they are",
            "the same",
            str(machines),
            holds=machines == built,
            part=Part.CONTROL,
        ),
    ]


def _built_for(checks: Verifier, node: str, program: str) -> str:
    try:
        found = checks.run(node, "sh", "-c", _ELF, "sh", program).strip()
    except (HostsFailedError, CommandError):
        return "not known"
    return _MACHINES.get(found, f"machine {found}")
