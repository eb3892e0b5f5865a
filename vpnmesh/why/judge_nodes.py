"""Findings about the nodes themselves: daemons, clocks, processors, receive buffers, offloads."""

from collections.abc import Iterator

from vpnmesh.doctor.judge import MUCH_SKEW_S, TOO_MUCH_SKEW_S
from vpnmesh.model import Node, NodeKind
from vpnmesh.plan import Command
from vpnmesh.why.finding import INTERFACES, Cause, Change, Effect, Evidence, Finding, Fix, where_it_is
from vpnmesh.why.observed import CpuUse, Daemon, NodeState, Observed, UdpSocket
from vpnmesh.why.state_of_path import seen_state

STARVED = 0.6
"""A daemon that waits for a processor in so much of its time, while only 32 packets are on their way, is starved."""
SPENT = 0.7
"""A daemon that used so much of what its control group allows was held up by it."""
HUNG = ("T", "t", "D", "Z")
"""States of processes that answer nobody (proc(5))."""


def node_findings(seen: Observed) -> Iterator[Finding]:
    """What is wrong on either end, or on a node that both need."""
    for name, skew_s in seen.skews_s.items():
        yield from _clock(seen, name, skew_s)
    helpers = dict.fromkeys(one.node for one in seen.listeners)
    ends = [node for node, _ in seen.ends]
    for name in dict.fromkeys([node.name for node in ends] + list(helpers)):
        yield from _daemons(seen, name)
    for node in ends:
        yield from _cpu(seen, node)
        yield from _drops(seen, node)
        yield from _offloads(seen, node)


def _clock(seen: Observed, name: str, skew_s: float) -> Iterator[Finding]:
    if abs(skew_s) <= MUCH_SKEW_S:
        return
    way = "ahead of" if skew_s > 0 else "behind"
    far = abs(skew_s) > TOO_MUCH_SKEW_S
    said = f"its clock is {abs(skew_s):.0f} s {way} this machine's"
    said += ": certificates and keys made elsewhere count as expired, or as not yet valid" if far else ""
    do = "let NTP set both clocks (timedatectl set-ntp true, or chronyc makestep)"
    evidence = (Evidence(name, "date +%s.%N", f"{skew_s:+.0f} s"),)
    effect = seen_state(seen).effect if far else Effect.LATER
    yield Finding(Cause.CLOCK, effect, name, said, do, evidence)


def _daemons(seen: Observed, name: str) -> Iterator[Finding]:
    """Services without a process, processes that hang, and those whose program is another one by now."""
    state = seen.state(name)
    for service in state.lost_services:
        said = f"its service {service} has ended"
        evidence = Evidence(name, f"kill -0 $(cat /run/vpnmesh/{service}.pid)", "no such process")
        do = f"start it again; its last words are in /run/vpnmesh/{service}.log"
        yield Finding(Cause.DAEMON, seen_state(seen).effect, name, said, do, (evidence,), Fix(join=True))
    for one in state.daemons:
        if one.state in HUNG:
            yield _hung(seen, name, one)
        elif one.replaced:
            said = f"{one.name} runs a program that was exchanged or removed since it started: it is stale"
            evidence = Evidence(name, f"readlink /proc/{one.pid}/exe", "(deleted)")
            yield Finding(Cause.DAEMON, Effect.LATER, name, said, f"restart {one.name}", (evidence,))


def _hung(seen: Observed, name: str, one: Daemon) -> Finding:
    resume = Command(("kill", "-CONT", str(one.pid)), ok=(0, 1))
    stop = where_it_is(f"/proc/{one.pid}", "kill", "-STOP", str(one.pid))
    fix = (
        Fix((Change(name, (resume,), (stop,), f"kill -CONT {one.pid} ({one.name})"),))
        if one.state in "Tt"
        else None
    )
    said = f"{one.name} is there and does nothing: its process is in state {one.state}"
    evidence = Evidence(name, f"ps -o pid,stat,comm -p {one.pid}", f"{one.pid} {one.state} {one.name}")
    do = f"let it go on (kill -CONT {one.pid}), or restart it"
    return Finding(Cause.DAEMON, seen_state(seen).effect, name, said, do, (evidence,), fix)


def _cpu(seen: Observed, node: Node) -> Iterator[Finding]:
    """The data plane had packets to carry and no processor to do it on."""
    state = seen.state(node.name)
    for key, use in seen.answers(node.name).cpu.items():
        daemon = next((one for one in state.daemons if f"{one.name} {one.pid}" == key), None)
        name = key.partition(" ")[0]
        limits = _limits(daemon, state)
        # nodes of a lab share one machine: that it is busy with others is no illness of one of them
        own = limits or node.kind is not NodeKind.NETNS
        # a time of no length says nothing: it had no packets to carry
        if not own or not use.of_s or not (use.waited >= STARVED or _spent(daemon, use)):
            continue
        what = f"ran {use.run_s / use.of_s:.0%} and waited for a processor {use.waited:.0%} of the time"
        said = f"{name} {what} while it had packets to carry{f' ({limits})' if limits else ''}"
        do = "give the node another core, or take what competes with it away"
        do = f"take the limits off {name}, or {do}" if limits else do
        yield Finding(
            Cause.CPU,
            Effect.SLOW,
            node.name,
            said,
            do,
            _cpu_evidence(node, key, use, state),
            _freed(node, daemon, state),
        )


def _spent(daemon: Daemon | None, use: CpuUse) -> bool:
    """Whether it used up what its control group allows."""
    return bool(daemon and daemon.quota_pct and use.run_s >= SPENT * use.of_s * daemon.quota_pct / 100)


def _limits(daemon: Daemon | None, state: NodeState) -> str:
    if daemon is None:
        return ""
    said = [f"nice {daemon.nice}"] if daemon.nice > 0 else []
    said += [f"bound to {daemon.cores} of {state.cores} cores"] if daemon.cores < state.cores else []
    said += [f"its control group allows {daemon.quota_pct:g} % of a core"] if daemon.quota_pct else []
    return ", ".join(said)


def _cpu_evidence(node: Node, key: str, use: CpuUse, state: NodeState) -> tuple[Evidence, ...]:
    pid = key.partition(" ")[2]
    said = f"ran {use.run_s:.2f} s, waited {use.wait_s:.2f} s of {use.of_s:.2f} s"
    return (
        Evidence(node.name, f"cat /proc/{pid}/task/*/schedstat", said),
        Evidence(node.name, f"ps -o ni,comm -p {pid}; taskset -cp {pid}; uptime", f"load {state.load:g}"),
    )


def _freed(node: Node, daemon: Daemon | None, state: NodeState) -> Fix | None:
    """Lift niceness, affinity and quota, and the way back; None where nothing of that can be lifted by itself."""
    if daemon is None or not _limits(daemon, state):
        return None
    pid = str(daemon.pid)
    every = f"0-{state.cores - 1}"
    bound = daemon.cores < state.cores
    do = [Command(("renice", "-n", "0", "-p", pid))] if daemon.nice > 0 else []
    do += [Command(("taskset", "-acp", every, pid))] if bound else []
    there = f"/proc/{pid}"
    undo = [where_it_is(there, "renice", "-n", str(daemon.nice), "-p", pid)] if daemon.nice > 0 else []
    undo += [where_it_is(there, "taskset", "-acp", daemon.allowed, pid)] if bound else []
    diff = f"{daemon.name}: nice {daemon.nice} to 0, cores {daemon.allowed} to {every}"
    if daemon.quota_pct is not None and daemon.group:
        do.append(_quota(daemon, "-1"))
        undo.append(_quota(daemon, '$(( $(cat "$1/cpu.cfs_period_us") * $2 / 100000 ))'))
        diff += f", no limit of {daemon.quota_pct:g} % by its control group"
    return Fix((Change(node.name, tuple(do), tuple(undo), diff),)) if do else None


def _quota(daemon: Daemon, value: str) -> Command:
    """Set what its control group allows, in version 1 of control groups; nothing where the group is gone by then."""
    millis = str(round(1000 * (daemon.quota_pct or 0)))
    script = f'[ ! -e "$1/cpu.cfs_quota_us" ] || echo "{value}" > "$1/cpu.cfs_quota_us"'
    return Command(("sh", "-c", script, "sh", daemon.group, millis))


def _drops(seen: Observed, node: Node) -> Iterator[Finding]:
    """The daemon's socket lost packets while no more than 32 were on their way."""
    before = {(one.owner, one.port): one for one in seen.before.get(node.name, NodeState()).sockets}
    for one in seen.state(node.name).sockets:
        held = before.get((one.owner, one.port))
        lost = one.drops - held.drops if held else 0
        if lost > 0:
            yield _dropped(node, one, lost)


def _dropped(node: Node, one: UdpSocket, lost: int) -> Finding:
    said = f"the UDP socket of {one.owner} dropped {lost} packets; its receive buffer is {one.buffer_bytes} bytes"
    do = f"give {one.owner} a larger receive buffer (its own setting, or net.core.rmem_default), and restart it"
    evidence = Evidence(node.name, f"ss -uanmp sport = :{one.port}", f"rb{one.buffer_bytes}, d{one.drops}")
    return Finding(Cause.BUFFER, Effect.SLOW, node.name, said, do, (evidence,))


def _offloads(seen: Observed, node: Node) -> Iterator[Finding]:
    """Segmentation that is off, and receive coalescing that is off where other nodes have it on."""
    interface = node.leg.interface
    held = seen.state(node.name).offloads.get(interface, {})
    others = [state.offloads.get(seen.bed.node(name).leg.interface, {}) for name, state in seen.after.items()]
    off = [
        name
        for name, on in held.items()
        if not on and (not name.endswith("receive-offload") or any(other.get(name) for other in others))
    ]
    if not off:
        return
    said = f"{', '.join(off)} of {interface} off: every packet of a flow passes the stack alone"
    short = [_SHORT[name] for name in off]
    words = tuple(word for name in short for word in (name, "on"))
    back = tuple(word for name in reversed(short) for word in (name, "off"))
    change = Change(
        node.name,
        (Command(("ethtool", "-K", interface, *words)),),
        (where_it_is(f"{INTERFACES}/{interface}", "ethtool", "-K", interface, *back),),
        f"{interface}: {', '.join(short)} on",
    )
    evidence = Evidence(node.name, f"ethtool -k {interface}", ", ".join(f"{name}: off" for name in off))
    do = f"ethtool -K {interface} {' '.join(words)}"
    yield Finding(Cause.OFFLOAD, Effect.SLOW, node.name, said, do, (evidence,), Fix((change,)))


_SHORT = {
    "tcp-segmentation-offload": "tso",
    "generic-segmentation-offload": "gso",
    "generic-receive-offload": "gro",
}
