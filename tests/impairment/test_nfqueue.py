"""The NFQUEUE engine's plans, and what it reads off a node; answers are written after real ones (see the live test)."""

import dataclasses
import json
import shlex
from ipaddress import IPv4Network

import pytest

from vpnmesh.errors import CheckError
from vpnmesh.impairment.engine import Impairment, InstalledImpairment, check_held
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.impairment.targets import Direction, Target
from vpnmesh.model import Condition
from vpnmesh.plan import Command, Completed, Plan, WriteFile

ENGINE = NfqueueEngine("/opt/vpnmesh-nfq")
TARGET = Target("firewall", "underlay-client", "vlan20", Direction.INGRESS)
FIVE_AT_50 = Impairment(Condition(loss_pct=5, delay_ms=50), 6098, seed=3)
FOLDER = "/run/vpnmesh/impairment"
DEADMAN = f"--pidfile {FOLDER}/underlay-client.deadman.pid --exec /bin/sh"
MARK = "-m comment --comment vpnmesh-underlay-client -j NFQUEUE --queue-num 2130"
RULE = f"-A PREROUTING -i vlan20 {MARK}"
QUEUE = " 2130  4711    12 1     0     0     0      345  1\n"
FILES = "".join(f"underlay-client.{suffix}\n" for suffix in ("deadman.pid", "deadman.sh", "pid", "stats"))


def stats(**changes: float) -> str:
    """The statistics as the process writes them."""
    fields = {
        "schema": 1, "pid": 4711, "portid": 4711, "queue": 2130, "delay_ms": 50, "loss_pct": 5, "gso": False,
        "limit": 6098, "seed": 6, "queued": 345, "passed": 300, "dropped_loss": 33, "dropped_limit": 0,
        "dropped_socket": 0, "enobufs": 0, "backlog": 12, "max_backlog": 40, "late_us_mean": 80.5, "late_us_max": 410.0,
    }  # fmt: skip
    return json.dumps(fields | changes)


def held(
    rules: str = "",
    queue: str = "",
    written: str = "",
    armed: int = 3,
    files: str = "",
    target: Target = TARGET,
    rules_ipv6: str | None = "",
) -> InstalledImpairment:
    """Have the engine read these answers."""
    saved = f"*mangle\n:PREROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n"
    ipv6 = (1, "") if rules_ipv6 is None else (0, f"*mangle\n{rules_ipv6}\nCOMMIT\n")
    answers = ((0, saved), ipv6, (0, queue), (0, written) if written else (1, ""), (armed, ""), (0, files))
    fact = ENGINE.observe(target)
    return fact.parse(
        [
            Completed(command.argv, code, text, "")
            for command, (code, text) in zip(fact.commands, answers, strict=True)
        ]
    )


def in_order() -> InstalledImpairment:
    return held(RULE, QUEUE, stats(), 0, FILES, rules_ipv6=RULE)


def argvs(plan: Plan) -> list[str]:
    """The plan's steps as text."""
    return [" ".join(step.argv) if isinstance(step, Command) else f"write {step.path}" for step in plan.steps]


def test_deadman_then_process_then_rule() -> None:
    """Nothing stands that nobody would lift, and no rule comes before the process that serves it."""
    plan = ENGINE.set(TARGET, FIVE_AT_50, held())
    files = f"--stats {FOLDER}/underlay-client.stats --pidfile {FOLDER}/underlay-client.pid"
    assert argvs(plan) == [
        f"mkdir -p -m 0700 {FOLDER}",
        f"write {FOLDER}/underlay-client.deadman.sh",
        f"start-stop-daemon --start --background --make-pidfile {DEADMAN} -- {FOLDER}/underlay-client.deadman.sh",
        f'timeout 20 sh -c until "$@"; do sleep 0.05; done sh start-stop-daemon --status {DEADMAN}',
        f"{ENGINE.binary} --queue 2130 --delay-ms 50 --loss-pct 5 --limit 6098 --seed 6 {files} --lifetime 960",
        f"iptables -w -t mangle -I PREROUTING -i vlan20 {MARK}",
        f"ip6tables -w -t mangle -I PREROUTING -i vlan20 {MARK}",
    ]
    assert plan.diff.splitlines()[-4:] == [
        f"+rule PREROUTING -i vlan20 {MARK}",
        f"+rule for IPv6 PREROUTING -i vlan20 {MARK}",
        "+nfqueue delay 50ms loss 5% limit 6098 seed 6",
        "+deadman armed",
    ]


def test_never_a_bypass() -> None:
    """A dead process must mean dropped packets, so no rule lets them by."""
    assert "bypass" not in " ".join(argvs(ENGINE.set(TARGET, FIVE_AT_50, held())))


def test_set_twice_is_nothing() -> None:
    """What is held as wanted needs no step and passes the check."""
    assert ENGINE.set(TARGET, FIVE_AT_50, in_order()) == Plan()
    check_held(in_order(), FIVE_AT_50)


def test_the_deadman_undoes_what_clear_undoes() -> None:
    """Rules, process and files: the script holds the same commands as clear, but for stopping itself."""
    plan = ENGINE.set(TARGET, FIVE_AT_50, held())
    script = next(str(step.content) for step in plan.steps if isinstance(step, WriteFile))
    steps = ENGINE.clear(TARGET, in_order()).steps
    clear = [shlex.join(step.argv) for step in steps if isinstance(step, Command)]
    assert len(steps) == len(clear) == 7
    assert [text for text in clear if text not in script.splitlines()] == [
        f"start-stop-daemon --stop --oknodo --retry TERM/5/KILL/2 {DEADMAN}"
    ]
    assert "sleep 900 &" in script.splitlines()


def test_clear_on_clean_is_nothing() -> None:
    """A clean node, other people's rules and queues included, needs no step."""
    theirs = held("-A PREROUTING -i eth0 -j NFQUEUE --queue-num 21", " 21 99 0 1 0 0 0 0 1\n")
    assert theirs == InstalledImpairment(Condition())
    assert ENGINE.clear(TARGET, theirs) == Plan()


def test_a_dead_process_is_a_fault() -> None:
    """With rules and nobody on the queue all packets are dropped; set makes all anew, clear removes all."""
    dead = held(RULE, "", stats(), 0, FILES)
    assert not dead.condition
    with pytest.raises(CheckError, match="vpnmesh-nfq is dead, so all its packets are dropped"):
        check_held(dead, FIVE_AT_50)
    assert (
        argvs(ENGINE.set(TARGET, FIVE_AT_50, dead))[0]
        == f"iptables -w -t mangle -D PREROUTING -i vlan20 {MARK}"
    )
    assert "-left-over file underlay-client.stats" in ENGINE.clear(TARGET, dead).diff


def test_statistics_of_another_process_do_not_count() -> None:
    """A queue held by a process other than the one that wrote the statistics is no impairment that we know."""
    other = held(RULE, QUEUE.replace("4711", "9999"), stats(), 0, FILES)
    assert not other.condition
    with pytest.raises(CheckError, match="held by a process that left no statistics"):
        check_held(other, FIVE_AT_50)


def test_a_process_without_its_pidfile_is_found_by_the_kernel() -> None:
    """Clear stops whoever holds our queue, by the port number that the kernel shows."""
    lost = held(RULE, QUEUE, stats(), 0, FILES.replace("underlay-client.pid\n", ""))
    stop = "start-stop-daemon --stop --oknodo --retry TERM/3/KILL/2 --pid 4711 --name vpnmesh-nfq"
    assert stop in argvs(ENGINE.clear(TARGET, lost))


@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"pid": 1}'])
def test_unreadable_statistics_are_a_fault(rubbish: str) -> None:
    """A truncated or empty file is said, never read as zero."""
    unread = held(RULE, QUEUE, rubbish, 0, FILES)
    with pytest.raises(CheckError, match="left no statistics"):
        check_held(unread, FIVE_AT_50)


def test_a_process_without_rules_is_a_fault() -> None:
    """Somebody flushed the rules: the process runs and impairs nothing."""
    idle = held("", QUEUE, stats(), 0, FILES)
    with pytest.raises(CheckError, match="no rule sends it packets"):
        check_held(idle, FIVE_AT_50)


def test_left_over_files_are_cleared() -> None:
    """After a reboot or a crash only files may be left; they show and go."""
    plan = ENGINE.clear(TARGET, held(files="underlay-client.stats\nvxlan-client.stats\n"))
    assert plan.diff.splitlines()[-1] == "-left-over file underlay-client.stats"


def test_counters() -> None:
    """What the process counted is at hand, in milliseconds."""
    counters = in_order().counters
    assert counters is not None
    assert (counters.passed, counters.dropped_loss, counters.late_ms_mean) == (300, 33, 0.0805)


def test_prefixes_become_rules() -> None:
    """One rule for each pair of prefixes, in the words that iptables-save uses, so that they read back."""
    between = dataclasses.replace(
        TARGET,
        sources=(IPv4Network("192.88.99.8/29"),),
        destinations=(IPv4Network("192.88.99.16/29"), IPv4Network("192.88.99.24/29")),
    )
    rules = [
        text for text in argvs(ENGINE.set(between, FIVE_AT_50, held(target=between))) if "iptables" in text
    ]
    assert rules == [
        f"iptables -w -t mangle -I PREROUTING -s 192.88.99.8/29 -d 192.88.99.{host}/29 -i vlan20 {MARK}"
        for host in (16, 24)
    ]


def test_the_second_end_has_its_own_queue_and_seed() -> None:
    """Two ends on one node never share a queue, nor their random numbers."""
    other = dataclasses.replace(TARGET, name="underlay-server", slot=1)
    start = next(
        text for text in argvs(ENGINE.set(other, FIVE_AT_50, held(target=other))) if "--delay-ms" in text
    )
    assert "--queue 2131" in start
    assert "--seed 7" in start


def test_loss_alone_never_drops_for_want_of_room() -> None:
    """A limit of 1000 is netem's queue for delay; without delay the engine keeps room for its own stalls."""
    lossy = Impairment(Condition(loss_pct=1), 1000)
    start = next(text for text in argvs(ENGINE.set(TARGET, lossy, held())) if "--loss-pct" in text)
    assert "--limit 10000" in start
