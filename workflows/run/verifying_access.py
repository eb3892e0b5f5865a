"""Live checks of rules between members: coarse, and by port and direction."""

from collections.abc import Sequence
from itertools import permutations

from vpnmesh.criteria.observation import Observation, Part
from vpnmesh.firewall.policy import CLOSED_PORT, Protocol
from vpnmesh.solutions.control import Access, AccessRule, Transport, everything_but
from workflows.run.verifying import HOLDS_WITHIN_S, Packet, Verifier, refuse_two, seen, wait_for
from workflows.run.verifying_members import lacks, processes_of, started_anew

OTHER_PORT = CLOSED_PORT + 1


def coarse(checks: Verifier) -> list[Observation]:
    """Two members that may not reach each other, while all others may."""
    begin(checks, "acl")
    one, other, third = checks.client, checks.server, checks.third
    forbidden = ((one, other), (other, one))
    everything = [tcp(*pair) for pair in permutations((one, other, third), 2)]
    closed = [tcp(*pair) for pair in forbidden]
    return [
        all_pass(checks, "before", everything),
        *changed(checks, everything_but(checks.site.k8s, *forbidden), everything, closed),
        back(checks, everything),
    ]


def granular(checks: Verifier) -> list[Observation]:
    """One TCP port open from one member to another, and nothing else between them."""
    begin(checks, "granular-acl")
    one, other = checks.client, checks.server
    opened = tcp(one, other)
    rest = [tcp(one, other, OTHER_PORT), tcp(other, one)]
    datagram: Packet = (one, other, Protocol.UDP, CLOSED_PORT)
    before = all_pass(checks, "before", [opened, *rest])
    untold = not checks.reach([datagram])[datagram]
    if not untold:
        rest.append(datagram)
    rules = (
        *everything_but(checks.site.k8s, (one, other), (other, one)),
        AccessRule(one, other, Transport.TCP, CLOSED_PORT),
    )
    found = [before, *changed(checks, rules, [opened, *rest], rest), back(checks, [opened, *rest])]
    if untold:
        why = "not judged: it was not answered before the rule either"
        found.append(seen(f"UDP to port {CLOSED_PORT}", "blocked", why, holds=True, part=Part.TOLD))
    return found


def begin(checks: Verifier, topic: str) -> None:
    """The direct scenario, where it has rules that can be changed while it runs."""
    deployed = checks.up(checks.direct)
    if not deployed.solution.access(deployed.mesh, None):
        raise lacks(checks, topic, "nothing here says how its rules are changed while it runs")
    refuse_two(checks.site)


def tcp(source: str, destination: str, port: int = CLOSED_PORT) -> Packet:
    """The opening of a TCP connection to that port."""
    return (source, destination, Protocol.TCP, port)


def changed(
    checks: Verifier,
    rules: Sequence[AccessRule],
    everything: Sequence[Packet],
    closed: Sequence[Packet],
    where: str = "",
) -> list[Observation]:
    """Tell the running mesh these rules: when they hold, what passes then, and whether a program was started anew."""
    before = processes_of(checks)
    wanted = {packet: packet not in closed for packet in everything}

    def look() -> dict[Packet, bool]:
        return checks.reach(everything)

    _tell(checks, Access(tuple(rules), {name: checks.address(name) for name in checks.site.k8s}))
    found, took = wait_for(look, lambda seen_now: seen_now == wanted)
    wrong = [packet for packet in everything if found[packet] is not wanted[packet]]
    anew = started_anew(checks, before, where)
    return [
        seen(
            f"{where}what passes under the rules, of {len(everything)} kinds of packets",
            f"{len(everything) - len(closed)} pass and {len(closed)} do not",
            f"as wanted after {took:.1f} s"
            if not wrong
            else f"wrong after {HOLDS_WITHIN_S:g} s: {_said(wrong)}",
            holds=not wrong,
            text="\n".join(
                f"{_said([packet])}: {'passes' if ok else 'blocked'}" for packet, ok in found.items()
            ),
        ),
        anew,
    ]


def back(checks: Verifier, everything: Sequence[Packet]) -> Observation:
    """The scenario's own rules again: what was blocked passes, so that it was the rules that blocked it."""
    _tell(checks, None)
    found, took = wait_for(lambda: checks.reach(everything), lambda now: all(now.values()))
    closed = [packet for packet, ok in found.items() if not ok]
    told = f"all pass after {took:.1f} s" if not closed else f"blocked: {_said(closed)}"
    return seen("once the rules are taken back", "all pass", told, holds=not closed, part=Part.CONTROL)


def _tell(checks: Verifier, access: Access | None) -> None:
    solution, mesh = checks.standing.solution, checks.standing.mesh
    # a stage may ask for what an earlier one made: each is planned when it is its turn
    checks.stages(solution.access(mesh, access))


def all_pass(checks: Verifier, when: str, packets: Sequence[Packet]) -> Observation:
    """That all of these pass, as a control."""
    found, _ = wait_for(lambda: checks.reach(packets), lambda now: all(now.values()))
    closed = [packet for packet, ok in found.items() if not ok]
    told = "all pass" if not closed else f"blocked: {_said(closed)}"
    return seen(
        f"{when}, {len(packets)} kinds of packets", "all pass", told, holds=not closed, part=Part.CONTROL
    )


def _said(packets: Sequence[Packet]) -> str:
    return ", ".join(f"{one} to {other} {protocol} {port}" for one, other, protocol, port in packets)
