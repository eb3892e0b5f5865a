"""Impairment by the lab's own delay line `vpnmesh-nfq`: iptables sends packets to it, without any bypass.

IPv6 packets take the same queue by rules of their own, where a whole device is impaired; a target of IPv4 prefixes has
none. A kernel without IPv6 has no such packets, and gets no such rules.

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
_TABLES = {"rule": "iptables", "rule for IPv6": "ip6tables"}
"""What adds and takes away a rule, by the first words of its line."""
# constant script: iptables-nft makes the table on first use and leaves it there, empty, for ever; only when the process
# has let its packets go, since the kernel drops what waits in any queue of the namespace when a chain's hook goes
_TIDY = Command(
    (
        "sh",
        "-c",
        (
            "iptables-save -t mangle | grep -q '^-A' || nft delete table ip mangle 2>/dev/null; "
            "ip6tables-save -t mangle 2>/dev/null | grep -q '^-A' || nft delete table ip6 mangle 2>/dev/null; true"
        ),
    )
)
# constant script: without IPv6 in the kernel there is nothing to save
_SAVE_IPV6 = Command(("sh", "-c", "test -e /proc/net/if_inet6 && exec ip6tables-save -t mangle"))


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
    jitter_ms: float = 0.0
    burst_packets: float = 0.0
    reorder_pct: float = 0.0
    rate_mbit: float = 0.0

    @property
    def condition(self) -> Condition:
        """What it does to packets; the process tells 0 of what it was not asked for."""
        return Condition(
            loss_pct=self.loss_pct,
            delay_ms=self.delay_ms,
            jitter_ms=self.jitter_ms,
            burst_packets=self.burst_packets or None,
            reorder_pct=self.reorder_pct,
            rate_mbit_s=self.rate_mbit or None,
        )

    @property
    def line(self) -> str:
        """What it does, as a line of a diff."""
        return _engine_line(self.condition, self.limit, self.seed)

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
        """Rules, queue, process, statistics, deadman and files: six commands."""
        commands = (
            Command(("iptables-save", "-t", "mangle")),
            _SAVE_IPV6,
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
        rules = _rules(target, ipv6=held.has_ipv6)
        undo = _undo(target, rules, stop=_stop_by_pidfile(target))
        steps: tuple[Step, ...] = (
            deadman.make_folder(),
            *deadman.arm(target.name, undo, impairment.deadman_s),
            self._start(target, impairment),
            *(_change("-I", rule) for rule in rules),
        )
        return plan_change(target, held, _wanted(target, impairment, rules), steps)

    def clear(self, target: Target, held: InstalledImpairment) -> Plan:
        """Rules, then process (it lets waiting packets go), then deadman and files."""
        return plan_change(target, held, (), ())

    def renew(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Restart the deadman; SIGHUP starts the process's own lifetime anew."""
        if not held.condition:
            return Plan()
        undo = _undo(target, _rules(target, ipv6=held.has_ipv6), stop=_stop_by_pidfile(target))
        hang_up = ("start-stop-daemon", "--stop", "--signal", "HUP", *_process(target))
        armed = deadman.arm(target.name, undo, impairment.deadman_s)
        return Plan((deadman.disarm(target.name), *armed, Command(hang_up)))

    def _start(self, target: Target, impairment: Impairment) -> Command:
        """The process returns once it holds the queue, so that no rule comes before it."""
        condition = impairment.condition
        argv = (
            *(self.binary, "--queue", str(_queue(target))),
            *("--delay-ms", f"{condition.delay_ms:g}", "--loss-pct", f"{condition.loss_pct:g}"),
            *(word for option, figure in _further(condition) for word in (f"--{option}", f"{figure:g}")),
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


def _further(condition: Condition) -> tuple[tuple[str, float], ...]:
    """The options beside delay and loss, those that are asked for."""
    asked = (
        ("jitter-ms", condition.jitter_ms),
        ("burst-packets", condition.burst_packets),
        ("reorder-pct", condition.reorder_pct),
        ("rate-mbit", condition.rate_mbit_s),
    )
    return tuple((option, figure) for option, figure in asked if figure)


def _engine_line(condition: Condition, limit: int, seed: int) -> str:
    more = "".join(f" {option} {figure:g}" for option, figure in _further(condition))
    return (
        f"nfqueue delay {condition.delay_ms:g}ms loss {condition.loss_pct:g}%{more} limit {limit} seed {seed}"
    )


def _wanted(target: Target, impairment: Impairment, rules: Sequence[str]) -> tuple[str, ...]:
    engine = _engine_line(impairment.condition, _limit(impairment), _seed(target, impairment))
    return (*rules, engine, deadman.ARMED)


def _change(how: str, rule: str) -> Command:
    """Insert or delete the rule of a line."""
    words = next(words for words in reversed(_TABLES) if rule.startswith(f"{words} "))
    return Command((_TABLES[words], "-w", "-t", "mangle", how, *shlex.split(rule.removeprefix(f"{words} "))))


def _rules(target: Target, *, ipv6: bool) -> tuple[str, ...]:
    """The rules as lines: in the words and order of iptables-save, one for each pair of prefixes, and IPv6's."""
    ingress = target.direction is Direction.INGRESS
    chain, flag = ("PREROUTING", "-i") if ingress else ("POSTROUTING", "-o")
    tail = (
        f"{flag} {target.device} -m comment --comment {_mark(target)} -j NFQUEUE --queue-num {_queue(target)}"
    )
    by_prefix = tuple(
        " ".join(
            part for part in ("rule", chain, _match("-s", source), _match("-d", destination), tail) if part
        )
        for source in target.sources or (None,)
        for destination in target.destinations or (None,)
    )
    whole = not target.sources and not target.destinations
    return (*by_prefix, *((f"rule for IPv6 {chain} {tail}",) if ipv6 and whole else ()))


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
    deletions = tuple(_change("-D", rule) for rule in rules)
    return (*deletions, stop, _TIDY, *deadman.remove_files(target.name, _SUFFIXES))


def _held(target: Target, completed: Sequence[Completed]) -> InstalledImpairment:
    saved, saved_ipv6, queues, stats_file, armed, listing = completed
    rules = (
        *_held_rules(target, saved.stdout, "rule"),
        *_held_rules(target, saved_ipv6.stdout, "rule for IPv6"),
    )
    has_ipv6 = saved_ipv6.exit_code == 0
    holder = _holder(target, queues.stdout)
    stats = _stats(stats_file)
    serving = stats if stats and holder == stats.portid else None
    files = deadman.files_of(target.name, listing)
    is_armed = armed.exit_code == 0
    condition = serving.condition if serving and rules else Condition()
    return InstalledImpairment(
        condition=condition,
        limit_packets=serving.limit if serving else None,
        lines=_lines(rules, serving, holder, files, is_armed=is_armed),
        undo=_held_undo(target, rules, holder, files) if rules or holder or files or is_armed else (),
        faults=_faults(target, rules, serving, holder, is_armed=is_armed, has_ipv6=has_ipv6),
        counters=serving.counters if serving else None,
        has_ipv6=has_ipv6,
    )


def _held_rules(target: Target, saved: str, words: str) -> tuple[str, ...]:
    """Our rules as lines, and any other rule that feeds our queue."""
    feeding = f"--queue-num {_queue(target)}"
    appended = [shlex.split(line) for line in saved.splitlines() if line.startswith("-A ")]
    rules = [" ".join(words[1:]) for words in appended]
    return tuple(
        f"{words} {rule}"
        for rule in rules
        if f"--comment {_mark(target)} " in rule or f"{rule} ".endswith(f"{feeding} ")
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
    lines = [*rules]
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
    target: Target,
    rules: Sequence[str],
    serving: Stats | None,
    holder: int | None,
    *,
    is_armed: bool,
    has_ipv6: bool,
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
    lacking = [rule for rule in _rules(target, ipv6=has_ipv6) if rule not in rules]
    if rules and lacking:
        faults.append(f"{where}: packets pass by it, for want of {lacking[0]}")
    if rules and not is_armed:
        faults.append(f"{where}: no deadman would lift it")
    return tuple(faults)
