"""Live checks of members: joining without a person, coming and going under traffic, and without a control plane."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import tasks
from vpnmesh.criteria.observation import Observation, Part
from vpnmesh.errors import CommandError, UnavailableError, VpnmeshError
from vpnmesh.solutions.protocol import Refusal
from vpnmesh.stages import stages_of
from vpnmesh.tools.ping import PingSummary
from workflows.run.deploying import run_stages
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.together import together
from workflows.run.verifying import Verifier, seen, words

PING_EVERY_S = 0.05
LOST_PCT = 1.0
"""What a machine that is busy may lose of pings by itself."""
PHASE_S = 12.0
"""How long two members ping each other while a third one changes; as often as it takes until it has."""
NO_ANSWER = (124, 137, -1)
"""Exit codes of a command that was ended, or whose own exit code nobody heard."""


def registration(checks: Verifier) -> list[Observation]:
    """A member that left is refused with a key that was taken back, and let in with the valid one."""
    deployed = checks.up(checks.direct)
    joined = sorted(deployed.statuses)
    refusal = deployed.solution.refusal(deployed.mesh, checks.server)
    if refusal is None:
        raise UnavailableError(
            _lacks(checks, "unattended-registration", "nothing here says how a key of it is taken back")
        )
    refused = _refused(checks, refusal)
    back = checks.rejoin()
    return [
        seen(
            "members that joined by commands alone, without a terminal",
            f"{len(checks.site.k8s)}",
            f"{len(joined)} ({', '.join(joined)})",
            holds=joined == sorted(checks.site.k8s),
            text="\n".join(f"{name}: {status.interface} {status.address}" for name, status in back.items()),
        ),
        refused,
        seen(
            f"{checks.server} joins with the valid key",
            "it is a member again",
            f"it is a member again at {back[checks.server].address}",
            holds=back[checks.server].address is not None,
            part=Part.CONTROL,
        ),
    ]


def _refused(checks: Verifier, refusal: Refusal) -> Observation:
    """What becomes of a member that joins with a key that was taken back; it is no member when this returns."""
    site, deployed, member = checks.site, checks.standing, checks.server
    _leave(checks, member)
    stages = stages_of(deployed.solution, deployed.mesh)
    names = [stage.name for stage in stages]
    uses_it = names.index(refusal.joins) if refusal.joins else -1
    mesh = run_stages(site, stages[:uses_it], deployed.mesh)
    taken_back = run_stages(site, refusal.stages, mesh)
    what, wanted = f"{member} tries a key that was taken back", "it is refused"
    try:
        run_on(site.nr, [member], tasks.join_stage, mesh=taken_back, stage=stages[uses_it])
    except HostsFailedError as error:
        if not _is_refusal(error):
            raise
        return seen(what, wanted, f"it is refused: {words(error)}", holds=True, text=str(error))
    finally:
        # a client may go on trying the key that it was given first
        _leave(checks, member)
    return seen(what, wanted, "it is let in", holds=False)


def _is_refusal(error: HostsFailedError) -> bool:
    """Whether the client itself ended with an error: not a node that is gone, a lost lease, or a time that is over."""
    failed = error.first
    return isinstance(failed, CommandError) and failed.exit_code not in NO_ANSWER


def _leave(checks: Verifier, member: str) -> None:
    deployed = checks.standing
    run_on(checks.site.nr, [member], tasks.leave_mesh, solution=deployed.solution, mesh=deployed.mesh)


def lifecycle(checks: Verifier) -> list[Observation]:
    """A third member goes, comes, and is started anew, while the measured pair pings."""
    deployed, third = checks.up(checks.direct), checks.third
    site = checks.site
    address = checks.address(third)

    def restart() -> None:
        processes = deployed.solution.processes
        if processes:
            run_on(site.nr, [third], tasks.kill_services, processes=processes)
        checks.rejoin()

    found = [_while_pinging(checks, f"{third} is removed", lambda: _leave(checks, third))]
    gone = checks.pings(checks.client, address, 5, PING_EVERY_S)
    found.append(
        seen(
            f"pings to {third} once it is removed",
            "none is answered",
            f"{gone.received} of {gone.sent} answered",
            holds=not gone.received,
            part=Part.CONTROL,
        )
    )
    found.append(_while_pinging(checks, f"{third} is added", lambda: checks.rejoin() and None))
    found.append(_answers(checks, third, "once it is added"))
    if processes := deployed.solution.processes:
        before = _running(checks, third, processes)
        found.append(
            _while_pinging(checks, f"{third}'s programs are killed and started, as an upgrade does", restart)
        )
        found += [
            _started_anew(before, _running(checks, third, processes)),
            _answers(checks, third, "after that"),
        ]
    told = "neither was tried: a name or a version of its own for one member is no part of a scenario"
    return [*found, seen("renaming, and another version", "tried", told, holds=True, part=Part.TOLD)]


def _started_anew(before: Sequence[str], after: Sequence[str]) -> Observation:
    """Whether all of these programs run again, and none is the process that it was."""
    same = set(before) & set(after)
    told = f"{len(after)} run, {len(same)} of them as the process from before"
    holds = bool(before) and len(after) == len(before) and not same
    wanted = f"{len(before)} run, none of them as the process from before"
    return seen("its programs after that", wanted, told, holds=holds, part=Part.CONTROL)


def _answers(checks: Verifier, member: str, when: str) -> Observation:
    back = checks.pings(checks.client, checks.address(member), 20, PING_EVERY_S)
    told = f"{back.received} of {back.sent} answered"
    return seen(f"pings to {member} {when}", "answered", told, holds=back.received >= back.sent / 2)


def _while_pinging(checks: Verifier, what: str, change: Callable[[], object]) -> Observation:
    """Packets that the measured pair loses meanwhile: it pings until the change is made."""
    took: list[float] = []
    ended = threading.Event()

    def changed() -> list[PingSummary]:
        started = time.monotonic()
        try:
            change()
        finally:
            ended.set()
        took.append(time.monotonic() - started)
        return []

    pinged, _ = together([lambda: _pinging_until(checks, ended), changed])
    sent, lost = sum(one.sent for one in pinged), sum(one.lost for one in pinged)
    return seen(
        f"{what}: what {checks.client} and {checks.server} lose of their pings",
        f"at most {LOST_PCT:g} %",
        f"{lost} of {sent} lost; it took {took[0]:.1f} s",
        holds=100 * lost / sent <= LOST_PCT,
        text="\n".join(one.text for one in pinged),
    )


def _pinging_until(checks: Verifier, ended: threading.Event) -> list[PingSummary]:
    count, address = round(PHASE_S / PING_EVERY_S), checks.address(checks.server)
    found: list[PingSummary] = []
    while not found or not ended.is_set():
        found.append(checks.pings(checks.client, address, count, PING_EVERY_S))
    return found


def control_plane_down(checks: Verifier) -> list[Observation]:
    """Members go on while the control plane is down, and are a mesh as before once it is back."""
    deployed, node = checks.up(checks.direct), checks.control_node.name
    if node in (*checks.site.k8s, checks.site.testbed.relay.name):
        raise UnavailableError(
            f"the control plane shares {node} with members or the relay: it cannot go alone"
        )
    before = _running(checks, node, deployed.solution.processes)
    if not before:
        raise UnavailableError(_lacks(checks, "control-plane-down", f"no program of it runs on {node}"))
    checks.control().kill("control")
    died = time.monotonic()
    during = _running(checks, node, deployed.solution.processes)
    pairs = [(checks.client, checks.server), (checks.third, checks.client)]
    pings = together([partial(_without, checks, one, other) for one, other in pairs])
    after = _running(checks, node, deployed.solution.processes)
    fresh = _restarted_without(checks)
    down_s = time.monotonic() - died
    started = time.monotonic()
    checks.rejoin()
    return [
        seen(
            f"the control plane's programs on {node}: before they were killed, after it, and once members had pinged",
            "some, then none, and none",
            f"{len(before)}, then {len(during)}, and {len(after)}",
            holds=bool(before) and not during and not after,
            part=Part.CONTROL,
            text="\n".join(before),
        ),
        *pings,
        fresh,
        seen(
            "the mesh once it is started again",
            "every pair has its path",
            f"every pair has its path after {time.monotonic() - started:.1f} s",
            holds=True,
        ),
        seen(
            "for how long it was away",
            "told",
            f"{down_s:.0f} s, which says nothing of longer (--hold)",
            holds=True,
            part=Part.TOLD,
        ),
    ]


def _restarted_without(checks: Verifier) -> Observation:
    """What becomes of a member whose programs are started anew meanwhile; told, for no criterion asks for it."""
    solution, third = checks.standing.solution, checks.third
    what = f"{third}'s programs started anew meanwhile"
    run_on(checks.site.nr, [third], tasks.kill_services, processes=solution.processes)
    stages = [one for one in stages_of(solution, checks.standing.mesh) if third in one.nodes]
    try:
        for stage in stages:
            run_on(checks.site.nr, [third], tasks.join_stage, mesh=checks.standing.mesh, stage=stage)
    except VpnmeshError as error:
        return seen(what, "they join", f"they do not join: {words(error)}", holds=True, part=Part.TOLD)
    back = checks.pings(checks.client, checks.address(third), 40, PING_EVERY_S)
    told = f"{back.received} of {back.sent} pings to it answered"
    return seen(what, "answers", told, holds=True, part=Part.TOLD)


def _without(checks: Verifier, one: str, other: str) -> Observation:
    count = round(checks.hold_s / 0.1)
    pinged = checks.pings(one, checks.address(other), count, 0.1)
    return seen(
        f"{one} to {other} without a control plane, for {checks.hold_s:g} s",
        f"at most {LOST_PCT:g} % lost",
        f"{pinged.lost} of {pinged.sent} lost",
        holds=100 * pinged.lost / pinged.sent <= LOST_PCT,
        text=pinged.text,
    )


def _running(checks: Verifier, node: str, processes: Sequence[str]) -> list[str]:
    """The solution's processes on a node that are ours: one per line, with pid and name."""
    script = (
        'd="$1"; shift; for f in "$d"/*.pid; do [ -s "$f" ] && pid=$(cat "$f") && '
        'name=$(cat "/proc/$pid/comm" 2> /dev/null) || continue; '
        'case " $* " in *" $name "*) kill -0 "$pid" 2> /dev/null && echo "$pid $name" ;; esac; done; true'
    )
    said = checks.run(node, "sh", "-c", script, "sh", "/run/vpnmesh", *processes)
    return said.splitlines()


def _lacks(checks: Verifier, topic: str, otherwise: str) -> str:
    """Why the solution has nothing of what a check needs."""
    reason = checks.standing.solution.lacks.get(topic)
    return (
        f"{checks.solution}: {reason}" if reason else f"{checks.solution} {otherwise} that a check could use"
    )


def processes_of(checks: Verifier) -> dict[str, list[str]]:
    """The solution's running processes on every node, to see whether any was started anew."""
    names = checks.standing.solution.processes
    return {node: _running(checks, node, names) for node in checks.site.all_nodes}


def started_anew(checks: Verifier, before: Mapping[str, list[str]], where: str) -> Observation:
    """Whether other processes run than `before`; told, for a change that needs it is a change all the same."""
    told = "some" if processes_of(checks) != before else "none"
    what = f"{where}programs that were started anew for it"
    return seen(what, "none", told, holds=True, part=Part.TOLD)


def lacks(checks: Verifier, topic: str, otherwise: str) -> UnavailableError:
    """What is raised where a solution has nothing of what a check needs."""
    return UnavailableError(_lacks(checks, topic, otherwise))
