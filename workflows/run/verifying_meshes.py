"""The live check of isolated meshes: members in two meshes of one control plane, or in groups of a single one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from vpnmesh.criteria.observation import Observation, Part
from vpnmesh.errors import ToolError
from vpnmesh.solutions.control import SecondMesh, everything_but
from vpnmesh.solutions.protocol import Status
from vpnmesh.tools import ping
from workflows.run import verifying_access as access
from workflows.run.verifying import HOLDS_WITHIN_S, Verifier, refuse_two, seen, wait_for
from workflows.run.verifying_members import processes_of, started_anew

PINGS, LONG_PINGS, PING_EVERY_S = 3, 20, 0.1
# by the interface of the mesh, so that a route of its own or none decides nothing; no answer is an answer
_PING = 'ping -n -q -c "$1" -i "$2" -W 1 -I "$3" "$4" 2>&1; true'


@dataclass(frozen=True, slots=True)
class Try:
    """Pings from a member, by its interface of one mesh, to an address of another member."""

    source: str
    destination: str
    interface: str
    address: str

    def __str__(self) -> str:
        """In short, for evidence."""
        return f"{self.source} by {self.interface} to {self.destination} at {self.address}"


Footholds = Mapping[str, Mapping[str, tuple[str, str]]]
"""Of each member, by the mesh that it is in: its interface and its address there."""


def isolated(checks: Verifier) -> list[Observation]:
    """Members of two meshes cannot reach each other, and each reaches those of its own; one may be in both."""
    deployed = checks.up(checks.direct)
    refuse_two(checks.site)
    if not deployed.solution.second_mesh(deployed.mesh, None):
        return _by_rules(checks)
    try:
        return _by_meshes(checks)
    finally:
        # other addresses, and pods whose way is gone: what comes next begins with a new one
        checks.down()


def _by_meshes(checks: Verifier) -> list[Observation]:
    other, third = checks.server, checks.third
    solution = checks.standing.solution
    if solution.member_of_two:
        rounds = [SecondMesh((other, third), both=(third,))]
    else:
        # who can be in one alone is beside one, and then beside the other
        rounds = [SecondMesh((other, third)), SecondMesh((other,))]
    first = [Try(*pair, *_first(checks, *pair)) for pair in permutations(checks.site.k8s, 2)]
    found = [_all_answer(checks, "before, all in one mesh", first)]
    for second in rounds:
        found += _parted(checks, second)
    checks.stages(solution.second_mesh(checks.standing.mesh, None))
    return [*found, _all_answer(checks, "once all are in one mesh again", first), _told(checks)]


def _first(checks: Verifier, source: str, destination: str) -> tuple[str, str]:
    return checks.standing.statuses[source].interface, str(checks.address(destination))


def _by_rules(checks: Verifier) -> list[Observation]:
    """Two groups of one mesh, parted one way and the other."""
    access.begin(checks, "isolated-meshes")
    every = list(permutations(checks.site.k8s, 2))
    everything = [access.tcp(*pair) for pair in every]
    found = [access.all_pass(checks, "before", everything)]
    for alone in (checks.server, checks.third):
        crossing = [pair for pair in every if alone in pair]
        rules = everything_but(checks.site.k8s, *crossing)
        closed = [access.tcp(*pair) for pair in crossing]
        where = f"{alone} in a group of its own: "
        found += access.changed(checks, rules, everything, closed, where)
        found.append(_still_known(checks, crossing, where))
    return [*found, access.back(checks, everything), _told(checks)]


def _still_known(checks: Verifier, crossing: Sequence[tuple[str, str]], where: str) -> Observation:
    """Whether members still have a path to those of the other group; told, for one that is not reached is isolated."""
    statuses = checks.statuses()
    known = [f"{one} of {other}" for one, other in crossing if _knows(statuses, one, other)]
    what = f"{where}members whose program still has a path to one of the other group"
    return seen(what, "none", ", ".join(known) or "none", holds=True, part=Part.TOLD)


def _knows(statuses: Mapping[str, Status], one: str, other: str) -> bool:
    peer = statuses[one].peer(other)
    return peer is not None and peer.path is not None


def _told(checks: Verifier) -> Observation:
    told = checks.standing.solution.parted_by
    return seen("how they are parted", "told", told, holds=True, part=Part.TOLD)


def _parted(checks: Verifier, second: SecondMesh) -> list[Observation]:
    """Put members into the second mesh, and try every pair by every interface and address that its ends have."""
    standing = checks.standing
    where = _where(checks, second)
    at = _footholds(checks, second)
    allowed = _within(at)
    forbidden = [one for one in _across(checks, at) if one not in allowed]
    before = processes_of(checks)
    checks.stages(standing.solution.second_mesh(standing.mesh, second))

    def look() -> dict[Try, ping.PingSummary]:
        return {one: _tried(checks, one) for one in (*allowed, *forbidden)}

    found, took = wait_for(look, lambda now: all((now[one].received > 0) is (one in allowed) for one in now))
    through = [one for one in forbidden if found[one].received]
    # each has been tried with few until now
    again = {one: _pinged(checks, one, LONG_PINGS) for one in forbidden if not through}
    answered = sum(one.received for one in again.values()) + sum(found[one].received for one in through)
    anew = started_anew(checks, before, where)
    return [
        seen(
            f"{where}members of one mesh that reach each other, of {len(allowed)} ways",
            "all",
            f"{sum(found[one].received > 0 for one in allowed)} after {took:.1f} s",
            holds=all(found[one].received for one in allowed),
            text=_lines(found, allowed) + f"\n\n{_interfaces(checks)}",
        ),
        seen(
            f"{where}pings between members that share no mesh, by {len(forbidden)} ways, that are answered",
            "none",
            f"{answered} of {sum(one.sent for one in again.values()) or sum(found[one].sent for one in forbidden)}"
            + (f" within {HOLDS_WITHIN_S:g} s: {through[0]}" if through else ""),
            holds=not answered,
            text=_lines(again or found, forbidden),
        ),
        anew,
    ]


def _where(checks: Verifier, second: SecondMesh) -> str:
    first = [name for name in checks.site.k8s if name not in second.members or name in second.both]
    return f"{' and '.join(first)} in one mesh, {' and '.join(second.members)} in another: "


def _footholds(checks: Verifier, second: SecondMesh) -> Footholds:
    standing, bed = checks.standing, checks.site.testbed
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for name in checks.site.k8s:
        own: dict[str, tuple[str, str]] = {}
        if name not in second.members or name in second.both:
            own["first"] = (standing.statuses[name].interface, str(checks.address(name)))
        if name in second.members:
            interface, address = standing.solution.in_second(standing.mesh, bed.node(name))
            own["second"] = (interface, str(address))
        found[name] = own
    return found


def _within(at: Footholds) -> list[Try]:
    """Every pair of members of one mesh, in that mesh."""
    return [
        Try(one, other, at[one][mesh][0], at[other][mesh][1])
        for one, other in permutations(at, 2)
        for mesh in at[one]
        if mesh in at[other]
    ]


def _across(checks: Verifier, at: Footholds) -> list[Try]:
    """Every pair that shares no mesh: by each interface to each address of the other, its former one among them."""
    found: dict[Try, None] = {}
    for one, other in permutations(at, 2):
        if at[one].keys() & at[other].keys():
            continue
        addresses = [str(checks.address(other)), *(address for _, address in at[other].values())]
        for interface, _ in at[one].values():
            found |= {Try(one, other, interface, address): None for address in addresses}
    return list(found)


def _tried(checks: Verifier, one: Try) -> ping.PingSummary:
    """A few pings; none sent where the interface is not there yet."""
    try:
        return _pinged(checks, one, PINGS)
    except ToolError as error:
        return ping.PingSummary(0, 0, None, str(error))


def _pinged(checks: Verifier, one: Try, count: int) -> ping.PingSummary:
    argv = ("sh", "-c", _PING, "sh", str(count), str(PING_EVERY_S), one.interface, one.address)
    return ping.parse(checks.run(one.source, *argv))


def _all_answer(checks: Verifier, when: str, tries: Sequence[Try]) -> Observation:
    found, _ = wait_for(
        lambda: {one: _tried(checks, one) for one in tries},
        lambda now: all(one.received for one in now.values()),
    )
    silent = [str(one) for one, said in found.items() if not said.received]
    told = f"all {len(tries)} ways" if not silent else f"not {', '.join(silent)}"
    return seen(
        f"{when}, members reach each other",
        "all",
        told,
        holds=not silent,
        part=Part.CONTROL,
        text=_lines(found, tries),
    )


def _lines(found: Mapping[Try, ping.PingSummary], tries: Sequence[Try]) -> str:
    return "\n".join(f"{one}: {found[one].received} of {found[one].sent} answered" for one in tries)


def _interfaces(checks: Verifier) -> str:
    """The interfaces and addresses of every member, as it says itself."""
    said = ((name, checks.run(name, "ip", "-4", "-brief", "address")) for name in checks.site.k8s)
    return "\n".join(f"{name}:\n{text}" for name, text in said)
