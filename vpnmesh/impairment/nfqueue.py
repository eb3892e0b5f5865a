"""Impairment by the lab's own delay line `vpnmesh-nfq`: iptables sends packets to it, without any bypass.

If the process is dead the kernel drops what the rules send: an impairment can fail closed, never open in silence.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from pydantic import TypeAdapter, ValidationError

from vpnmesh.impairment import deadman
from vpnmesh.impairment.engine import Counters, Impairment, InstalledImpairment, plan_change
from vpnmesh.impairment.targets import Direction, Target, hook_targets
from vpnmesh.model import Condition, Pair, Placement, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Step

FIRST_QUEUE = 2130
ROOM_FOR_STALLS_PACKETS = 10_000
"""The least queue where nothing is delayed: packets only wait there while the process does not get the CPU."""
LIFETIME_MARGIN_S = 60
PROCESS = "vpnmesh-nfq"
_SUFFIXES = ("pid", "stats", "stats.new")
_IPTABLES = ("iptables", "-w", "-t", "mangle")
# constant script: iptables-nft makes the table on first use and leaves it there, empty, for ever; only when the process
# has let its packets go, since the kernel drops what waits in any queue of the namespace when a chain's hook goes
_TIDY = Command(
    ("sh", "-c", "iptables-save -t mangle | grep -q '^-A' || nft delete table ip mangle 2>/dev/null; true")
)


@dataclass(frozen=True, slots=True)
class Stats:
    """What the process writes ten times a second; microseconds, packets."""

    pid: int
    portid: int
    queue: int
    delay_ms: float
    loss_pct: float
    limit: int
    seed: int
    passed: int
    dropped_loss: int
    dropped_limit: int
    dropped_socket: int
    max_backlog: int
    late_us_mean: float
    late_us_max: float

    @property
    def line(self) -> str:
        """What it does, as a line of a diff."""
        return _engine_line(Condition(self.loss_pct, self.delay_ms), self.limit, self.seed)

    @property
    def counters(self) -> Counters:
        """What it has done."""
        return Counters(
            self.passed,
            self.dropped_loss,
            self.dropped_limit,
            self.dropped_socket,
            self.max_backlog,
            self.late_us_mean / 1000,
            self.late_us_max / 1000,
        )


_STATS = TypeAdapter(Stats)


@dataclass(frozen=True, slots=True)
class NfqueueEngine:
    """The engine of a lab whose kernel has no netem; `binary` is the program's path on the nodes."""

    binary: str
    name: str = "nfqueue"

    def targets(self, testbed: Testbed, pair: Pair, placement: Placement) -> tuple[Target, ...]:
        """In the IP layer, behind the sender's own stack."""
        return hook_targets(testbed, pair, placement)

    def observe(self, target: Target) -> Fact[InstalledImpairment]:
        """Rules, queue, process, statistics, deadman and files: five commands."""
        commands = (
            Command(("iptables-save", "-t", "mangle")),
            Command(("cat", "/proc/net/netfilter/nfnetlink_queue")),
            Command(("cat", deadman.path(target.name, "stats"))),
            deadman.ask_armed(target.name),
            deadman.ask_files(),
        )
        return Fact(commands, lambda completed: _held(target, completed))

    def set(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Deadman first, then the process, then the rules: nothing is ever there that nobody would lift."""
        if not impairment.condition:
            return self.clear(target, held)
        undo = _undo(target, _rules(target), stop=_stop_by_pidfile(target))
        steps: tuple[Step, ...] = (
            deadman.make_folder(),
            *deadman.arm(target.name, undo, impairment.deadman_s),
            self._start(target, impairment),
            *(Command((*_IPTABLES, "-I", *shlex.split(rule))) for rule in _rules(target)),
        )
        return plan_change(target, held, _wanted(target, impairment), steps)

    def clear(self, target: Target, held: InstalledImpairment) -> Plan:
        """Rules, then process (it lets waiting packets go), then deadman and files."""
        return plan_change(target, held, (), ())

    def renew(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Restart the deadman; SIGHUP starts the process's own lifetime anew."""
        if not held.condition:
            return Plan()
        undo = _undo(target, _rules(target), stop=_stop_by_pidfile(target))
        hang_up = ("start-stop-daemon", "--stop", "--signal", "HUP", *_process(target))
        armed = deadman.arm(target.name, undo, impairment.deadman_s)
        return Plan((deadman.disarm(target.name), *armed, Command(hang_up)))

    def _start(self, target: Target, impairment: Impairment) -> Command:
        """The process returns once it holds the queue, so that no rule comes before it."""
        condition = impairment.condition
        argv = (
            *(self.binary, "--queue", str(_queue(target))),
            *("--delay-ms", f"{condition.delay_ms:g}", "--loss-pct", f"{condition.loss_pct:g}"),
            *("--limit", str(_limit(impairment)), "--seed", str(_seed(target, impairment))),
            *("--stats", deadman.path(target.name, "stats"), "--pidfile", deadman.path(target.name, "pid")),
            *("--lifetime", str(impairment.deadman_s + LIFETIME_MARGIN_S)),
        )
        return Command(argv)


def _queue(target: Target) -> int:
    return FIRST_QUEUE + target.slot


def _limit(impairment: Impairment) -> int:
    if impairment.condition.delay_ms:
        return impairment.limit_packets
    return max(impairment.limit_packets, ROOM_FOR_STALLS_PACKETS)


def _seed(target: Target, impairment: Impairment) -> int:
    """Both directions of a pair draw their own random numbers."""
    return impairment.seed * 2 + target.slot


def _engine_line(condition: Condition, limit: int, seed: int) -> str:
    return f"nfqueue delay {condition.delay_ms:g}ms loss {condition.loss_pct:g}% limit {limit} seed {seed}"


def _wanted(target: Target, impairment: Impairment) -> tuple[str, ...]:
    engine = _engine_line(impairment.condition, _limit(impairment), _seed(target, impairment))
    return (*(f"rule {rule}" for rule in _rules(target)), engine, deadman.ARMED)


def _rules(target: Target) -> tuple[str, ...]:
    """The rules in the words and order of iptables-save, one for each pair of prefixes."""
    ingress = target.direction is Direction.INGRESS
    chain, flag = ("PREROUTING", "-i") if ingress else ("POSTROUTING", "-o")
    tail = (
        f"{flag} {target.device} -m comment --comment {_mark(target)} -j NFQUEUE --queue-num {_queue(target)}"
    )
    return tuple(
        " ".join(part for part in (chain, _match("-s", source), _match("-d", destination), tail) if part)
        for source in target.sources or (None,)
        for destination in target.destinations or (None,)
    )


def _match(flag: str, prefix: IPv4Network | None) -> str:
    return f"{flag} {prefix}" if prefix else ""


def _mark(target: Target) -> str:
    return f"vpnmesh-{target.name}"


def _process(target: Target) -> tuple[str, ...]:
    return ("--pidfile", deadman.path(target.name, "pid"), "--name", PROCESS)


def _stop_by_pidfile(target: Target) -> Command:
    return _stop(_process(target))


def _stop(process: tuple[str, ...]) -> Command:
    return Command(("start-stop-daemon", "--stop", "--oknodo", "--retry", "TERM/3/KILL/2", *process))


def _undo(target: Target, rules: Sequence[str], stop: Command) -> tuple[Command, ...]:
    deletions = tuple(Command((*_IPTABLES, "-D", *shlex.split(rule))) for rule in rules)
    return (*deletions, stop, _TIDY, *deadman.remove_files(target.name, _SUFFIXES))


def _held(target: Target, completed: Sequence[Completed]) -> InstalledImpairment:
    saved, queues, stats_file, armed, listing = completed
    rules = _held_rules(target, saved.stdout)
    holder = _holder(target, queues.stdout)
    stats = _stats(stats_file)
    serving = stats if stats and holder == stats.portid else None
    files = deadman.files_of(target.name, listing)
    is_armed = armed.exit_code == 0
    condition = Condition(serving.loss_pct, serving.delay_ms) if serving and rules else Condition()
    return InstalledImpairment(
        condition=condition,
        limit_packets=serving.limit if serving else None,
        lines=_lines(rules, serving, holder, files, is_armed=is_armed),
        undo=_held_undo(target, rules, holder, files) if rules or holder or files or is_armed else (),
        faults=_faults(target, rules, serving, holder, is_armed=is_armed),
        counters=serving.counters if serving else None,
    )


def _held_rules(target: Target, saved: str) -> tuple[str, ...]:
    """Our rules, and any other rule that feeds our queue."""
    feeding = f"--queue-num {_queue(target)}"
    appended = [shlex.split(line) for line in saved.splitlines() if line.startswith("-A ")]
    rules = [" ".join(words[1:]) for words in appended]
    return tuple(
        rule for rule in rules if f"--comment {_mark(target)} " in rule or f"{rule} ".endswith(f"{feeding} ")
    )


def _holder(target: Target, queues: str) -> int | None:
    """The netlink port that holds our queue; the second column of the kernel's list."""
    for line in queues.splitlines():
        fields = line.split()
        if fields and fields[0] == str(_queue(target)):
            return int(fields[1])
    return None


def _stats(file: Completed) -> Stats | None:
    try:
        return _STATS.validate_json(file.stdout) if file.exit_code == 0 else None
    except ValidationError:
        return None


def _lines(
    rules: Sequence[str], serving: Stats | None, holder: int | None, files: Sequence[str], *, is_armed: bool
) -> tuple[str, ...]:
    lines = [f"rule {rule}" for rule in rules]
    if serving:
        lines.append(serving.line)
    elif holder is not None:
        lines.append(f"unknown process on the queue, netlink port {holder}")
    if is_armed:
        lines.append(deadman.ARMED)
    stale = [file for file in files if _is_stale(file, alive=serving is not None, is_armed=is_armed)]
    return (*lines, *(f"left-over file {file}" for file in stale))


def _is_stale(file: str, *, alive: bool, is_armed: bool) -> bool:
    return not is_armed if ".deadman." in file else not alive


def _held_undo(
    target: Target, rules: Sequence[str], holder: int | None, files: Sequence[str]
) -> tuple[Command, ...]:
    has_pidfile = f"{target.name}.pid" in files
    process = _process(target) if has_pidfile or holder is None else ("--pid", str(holder), "--name", PROCESS)
    deletions_and_stop = _undo(target, rules, _stop(process))
    return (*deletions_and_stop[:-2], deadman.disarm(target.name), *deletions_and_stop[-2:])


def _faults(
    target: Target, rules: Sequence[str], serving: Stats | None, holder: int | None, *, is_armed: bool
) -> tuple[str, ...]:
    """What is there and does not work; nothing for a clean node."""
    where = f"{target.node}: impairment {target.name}"
    faults = []
    if rules and holder is None:
        faults.append(f"{where}: {PROCESS} is dead, so all its packets are dropped")
    if holder is not None and serving is None:
        faults.append(f"{where}: queue {_queue(target)} is held by a process that left no statistics")
    if serving and not rules:
        faults.append(f"{where}: {PROCESS} runs, but no rule sends it packets")
    if rules and not is_armed:
        faults.append(f"{where}: no deadman would lift it")
    return tuple(faults)
