"""The impairment engines on real packets, in private namespaces: two workers and the firewall between them."""

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.live.engines import Record, clear, impair, observe, tell
from tests.live.routed import PAIR, Routed, outside, routed, small_testbed
from vpnmesh.errors import CheckError
from vpnmesh.impairment import burst
from vpnmesh.impairment.engine import (
    Counters,
    Engine,
    Impairment,
    check_held,
    impairment_for,
)
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.impairment.targets import Target
from vpnmesh.model import PAPER_CONDITIONS, Condition, End, Place, Placement
from vpnmesh.plan import Command, Plan
from vpnmesh.tools import netem as tc
from vpnmesh.tools import ping

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("impairments_end")]

IMPAIRED = PAPER_CONDITIONS[1:]
PACKETS = 50_000


@pytest.fixture(scope="module")
def shared_net() -> Iterator[Routed]:
    """Workers whose underlay port is their management port too."""
    with routed(small_testbed(management_interface="eth0")) as namespaces:
        yield namespaces


def wanted(condition: Condition, limit: int | None = None, deadman_s: int = 900) -> Impairment:
    return impairment_for(condition, Placement(limit=limit), seed=7, deadman_s=deadman_s)


def may_overtake(engine: Engine, packets: int) -> int:
    """What docs/impairment.md promises: none with the nfqueue engine, at most one packet in 1,000 with netem."""
    return 0 if isinstance(engine, NfqueueEngine) else math.ceil(packets / 1000)


def rtt(net: Routed, node: str, address: IPv4Address | str) -> float:
    """The least round trip of ten pings over half a second, in ms: one pause of a busy machine decides nothing."""
    summary = ping.parse(net.check(node, *ping.argv(address, 10, interval_s=0.05)))
    assert summary.rtt is not None
    return summary.rtt.min_ms


def is_delayed(trip_ms: float, delay_ms: float) -> bool:
    """Never earlier than the delay; later by no more than a busy machine may make it."""
    return delay_ms <= trip_ms < delay_ms + 45


def traces(net: Routed, node: str) -> tuple[str, ...]:
    """All that an impairment could leave: rules, processes, files."""
    rules = [line for line in net.check(node, "iptables-save").splitlines() if line.startswith("-A")]
    # processes of all nodes show here, as they share the test's PID namespace; tini and its cat are the test's own
    processes = net.check(node, "ps", "-eo", "args=").splitlines()[2:]
    files = net.run(node, "find", "/run/vpnmesh").stdout.splitlines()
    return (*rules, *(text for text in processes if not text.startswith(("ps ", "nsenter "))), *files)


@pytest.mark.parametrize("condition", IMPAIRED, ids=lambda condition: condition.name)
def test_accuracy(net: Routed, engine: Engine, condition: Condition, record_property: Record) -> None:
    """50,000 packets lose what they should within a 1e-6 binomial bound; delays right to 1 ms, order as promised."""
    impair(net, engine, wanted(condition))
    seen = net.meter("worker1", "worker2", PACKETS)
    low, high = burst.loss_bounds(PACKETS, condition.loss_pct)
    lost_pct, asked = (
        100 - 100 * seen["received"] / PACKETS,
        f"{condition.loss_pct:g} % lost, {condition.delay_ms:g} ms",
    )
    found = f"{lost_pct:.2f} % of {PACKETS:,}, least {seen['min_ms']:.2f} ms, {seen['overtaken']} overtaken"
    tell(record_property, engine, condition.name, "one way", asked, found)
    assert low <= PACKETS - seen["received"] <= high
    assert seen["overtaken"] <= may_overtake(engine, PACKETS)
    assert condition.delay_ms <= seen["min_ms"] <= condition.delay_ms + 1


@pytest.mark.parametrize("delay_ms", [50, 250, 350])
def test_median_delay(net: Routed, engine: Engine, delay_ms: int) -> None:
    """Half of the packets of a light stream are at most 1 ms late; the best of a minute's runs, as load only adds."""
    impair(net, engine, wanted(Condition(delay_ms=delay_ms)))
    medians: list[float] = []
    deadline = time.monotonic() + 60
    while not medians or (medians[-1] > delay_ms + 1 and time.monotonic() < deadline):
        medians.append(net.meter("worker1", "worker2", 2000, per_second=4000)["median_ms"])
    assert delay_ms <= min(medians) <= delay_ms + 1


def test_delay_and_loss_together(net: Routed, engine: Engine) -> None:
    """Both act at once, and the burst that cells are checked with believes it."""
    both = Condition(loss_pct=10, delay_ms=50)
    address = net.address("worker2")
    clean = ping.parse(net.check("worker1", *ping.argv(address, 10, interval_s=0.02)))
    impair(net, engine, wanted(both))
    seen = net.gather("worker1", burst.burst(address))
    burst.check_burst(seen, both, Placement(), clean)
    with pytest.raises(CheckError):
        burst.check_burst(seen, Condition(loss_pct=1, delay_ms=50), Placement(), clean)


def test_both_ends(net: Routed, engine: Engine, record_property: Record) -> None:
    """Both ends' egress is delayed: a round trip takes twice the delay, from either side."""
    impair(net, engine, wanted(Condition(delay_ms=50)), Placement(end=End.BOTH))
    trips = [rtt(net, "worker1", net.address("worker2")), rtt(net, "worker2", net.address("worker1"))]
    found = ", ".join(f"{trip:.2f} ms" for trip in trips)
    tell(
        record_property, engine, "delay-50ms", "underlay, both, from either side", "round trip 100 ms", found
    )
    assert all(is_delayed(trip, 100) for trip in trips)


def test_set_twice_then_clear_twice(net: Routed, engine: Engine) -> None:
    """The second plan is empty each time, and clearing leaves no rule, process or file."""
    before = traces(net, "firewall")
    asked = wanted(Condition(loss_pct=5, delay_ms=50))
    (target,) = impair(net, engine, asked)
    held = observe(net, engine, target)
    check_held(held, asked)
    assert engine.set(target, asked, held) == Plan()
    clear(net, engine, (target,))
    assert engine.clear(target, observe(net, engine, target)) == Plan()
    assert traces(net, "firewall") == before == ()


def test_another_condition_replaces_the_first(net: Routed, engine: Engine) -> None:
    """Setting 250 ms over 50 ms leaves 250 ms and one of everything."""
    impair(net, engine, wanted(Condition(delay_ms=50)))
    (target,) = impair(net, engine, wanted(Condition(delay_ms=250)))
    check_held(observe(net, engine, target), wanted(Condition(delay_ms=250)))
    assert is_delayed(rtt(net, "worker1", net.address("worker2")), 250)


def test_the_deadman_lifts(net: Routed, engine: Engine) -> None:
    """Nobody clears it: after its second is over nothing is left, and packets pass at once."""
    impair(net, engine, wanted(Condition(delay_ms=250), deadman_s=1))
    deadline = time.monotonic() + 120
    while traces(net, "firewall") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert traces(net, "firewall") == ()
    assert rtt(net, "worker1", net.address("worker2")) < 50


def test_renewing_puts_the_deadman_off(net: Routed, engine: Engine) -> None:
    """A renewed impairment still stands, as it was, when its first time is over."""
    asked = wanted(Condition(delay_ms=50), deadman_s=20)
    set_at = time.monotonic()
    (target,) = impair(net, engine, asked)
    longer = wanted(Condition(delay_ms=50), deadman_s=600)
    net.apply(target.node, engine.renew(target, longer, observe(net, engine, target)))
    assert time.monotonic() - set_at < 20, (
        "too slow a machine to tell: the first time was over before it was renewed"
    )
    time.sleep(20.5)
    check_held(observe(net, engine, target), asked)


def test_between_two_vlans_only(net: Routed, engine: Engine) -> None:
    """Worker to worker is delayed one way; what else the client sends over the same port is not."""
    impair(net, engine, wanted(Condition(delay_ms=250)), Placement(Place.VLAN_PAIR))
    assert is_delayed(rtt(net, "worker1", net.address("worker2")), 250)
    assert rtt(net, "worker1", outside(1)) < 50
    assert rtt(net, "worker1", "192.88.99.9") < 50


def test_beside_management(shared_net: Routed, engine: Engine, record_property: Record) -> None:
    """On a NIC shared with management the testbed's prefixes get 350 ms, and what is outside stays as it was."""
    before = rtt(shared_net, "worker1", outside(1))
    impair(shared_net, engine, wanted(Condition(delay_ms=350)))
    after = rtt(shared_net, "worker1", outside(1))
    trip = rtt(shared_net, "worker1", shared_net.address("worker2"))
    found = f"{trip:.2f} ms; {before:.2f} before, {after:.2f} after"
    asked = "round trip 350 ms; outside the testbed as before"
    tell(record_property, engine, "delay-350ms", "NIC shared with management", asked, found)
    assert is_delayed(trip, 350)
    assert after - before < 50


def test_the_limit_drops_the_newest(net: Routed, engine: Engine, record_property: Record) -> None:
    """Of 500 packets within the delay the 100 that the queue holds arrive, in order: the limit is exact."""
    (target,) = impair(net, engine, wanted(Condition(delay_ms=350), limit=100))
    seen = net.meter("worker1", "worker2", 500, per_second=10_000)
    found = f"{seen['received']} arrive, {seen['overtaken']} overtaken"
    tell(record_property, engine, "delay-350ms", "one way, limit 100", "100 of 500 arrive", found)
    assert seen["received"] == 100
    assert seen["overtaken"] <= may_overtake(engine, 100)
    counters = observe(net, engine, target).counters
    if counters:
        assert (counters.dropped_limit, counters.max_backlog_packets) == (400, 100)
        # the kernel's own IPv6 packets (neighbours, multicast) pass the engine, too
        assert 100 <= counters.passed <= 105


def test_a_killed_process_lets_nothing_pass(net: Routed, nfqueue: NfqueueEngine) -> None:
    """kill -9 in mid-traffic: no packet passes from then on, the read-back says so, and setting anew repairs it."""
    asked = wanted(Condition(delay_ms=50))
    (target,) = impair(net, nfqueue, asked)
    net.check("firewall", "sh", "-c", "sleep 0.5; kill -9 $(cat /run/vpnmesh/impairment/underlay-client.pid)")
    seen = ping.parse(net.run("worker1", *ping.argv(net.address("worker2"), 20, interval_s=0.01)).stdout)
    assert (seen.sent, seen.received) == (20, 0)
    with pytest.raises(CheckError, match="vpnmesh-nfq is dead, so all its packets are dropped"):
        check_held(observe(net, nfqueue, target), asked)
    impair(net, nfqueue, asked)
    check_held(observe(net, nfqueue, target), asked)
    assert is_delayed(rtt(net, "worker1", net.address("worker2")), 50)


def test_clearing_after_a_kill_leaves_nothing(net: Routed, nfqueue: NfqueueEngine) -> None:
    """Also a dead engine's rules, files and deadman go."""
    (target,) = impair(net, nfqueue, wanted(Condition(loss_pct=5)))
    net.check("firewall", "sh", "-c", "kill -9 $(cat /run/vpnmesh/impairment/underlay-client.pid)")
    clear(net, nfqueue, (target,))
    assert traces(net, "firewall") == ()


def test_clearing_lets_waiting_packets_go(net: Routed, nfqueue: NfqueueEngine) -> None:
    """Ten pings that wait in the line when it is cleared arrive, instead of being lost with it."""
    targets = impair(net, nfqueue, wanted(Condition(delay_ms=10_000), limit=100))
    listing = net.argv("worker1", ping.argv(net.address("worker2"), 10, interval_s=0.01, wait_s=50))

    with subprocess.Popen(listing, stdout=subprocess.PIPE, text=True) as pinging:
        await_counters(net, nfqueue, targets[0], lambda seen: seen.max_backlog_packets >= 10)
        clear(net, nfqueue, targets)
        text, _ = pinging.communicate(timeout=60)
    assert ping.parse(text).received == 10


def test_the_lifetime_ends_the_process(net: Routed, nfqueue: NfqueueEngine, tmp_path: Path) -> None:
    """A process that nobody stops ends by itself, and the rules that still stand drop what they match."""
    stats = tmp_path / "stats"
    net.check(
        "firewall", nfqueue.binary, "--queue", "9", "--lifetime", "0.2", "--stats", str(stats), "--foreground"
    )
    assert stats.exists()
    assert traces(net, "firewall") == ()


def test_a_second_process_on_the_queue_is_refused(net: Routed, nfqueue: NfqueueEngine) -> None:
    """Two processes never share a queue: the second says why, and ends with 1 before any rule is made."""
    impair(net, nfqueue, wanted(Condition(delay_ms=50)))
    done = net.run("firewall", nfqueue.binary, "--queue", "2130")
    assert done.exit_code == 1
    assert "bind: queue 2130 is held by another process" in done.stderr


def test_loss_strikes_wire_packets(net: Routed, nfqueue: NfqueueEngine) -> None:
    """TCP's super-packets are cut before loss is drawn, and stay whole where there is only delay."""
    sent_bytes = 4_000_000
    units = {}
    for condition in (Condition(loss_pct=0.1), Condition(delay_ms=1)):
        (target,) = impair(net, nfqueue, wanted(condition))
        stream(net, sent_bytes)
        counters = settled(net, nfqueue, target)
        units[condition.name] = counters.passed + counters.dropped_loss
    assert units["loss-0.1pct"] >= sent_bytes / 1460
    assert units["delay-1ms"] < sent_bytes / 1460 / 2


def await_counters(
    net: Routed, engine: Engine, target: Target, ready: Callable[[Counters], bool]
) -> Counters:
    """The engine's counters once they are as awaited; it writes them out from time to time."""
    deadline = time.monotonic() + 45
    while True:
        counters = observe(net, engine, target).counters
        if counters is not None and ready(counters):
            return counters
        assert time.monotonic() < deadline, counters
        time.sleep(0.1)


def settled(net: Routed, engine: Engine, target: Target) -> Counters:
    """The counters after a stream, once they have not moved for a second."""
    last: list[Counters] = []

    def unmoved(seen: Counters) -> bool:
        last.append(seen)
        return len(last) > 10 and seen.passed > 0 and len({one.passed for one in last[-10:]}) == 1

    return await_counters(net, engine, target, unmoved)


def stream(net: Routed, count: int) -> None:
    """Send bytes from worker1 to worker2 over TCP."""

    listen = net.argv("worker2", ("python3", "-c", _LISTEN))
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        net.check("worker1", "python3", "-c", _SEND, str(net.address("worker2")), str(count))
        assert listener.stdout.read() == f"{count}\n"


_LISTEN = """
import socket
server = socket.create_server(("0.0.0.0", 5001))
print("ready", flush=True)
connection = server.accept()[0]
print(sum(len(part) for part in iter(lambda: connection.recv(1 << 16), b"")))
"""
_SEND = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 5001))
connection.sendall(bytes(int(sys.argv[2])))
"""


def test_every_netem_command_is_good_tc(net: Routed) -> None:
    """Without netem in the kernel tc still reads our words: it gets as far as the kernel's own refusal."""
    engine = NetemEngine()
    refusals = []
    for place in (Place.UNDERLAY, Place.VLAN_PAIR):
        (target,) = engine.targets(net.testbed, PAIR, Placement(place))
        plan = engine.set(target, wanted(Condition(loss_pct=5, delay_ms=50)), observe(net, engine, target))
        calls = [step.argv for step in plan.steps if isinstance(step, Command) and step.argv[0] == "tc"]
        refusals += [net.run(target.node, *argv) for argv in calls]
        net.run(target.node, *tc.delete_root(target.device))
    known = (
        "",
        "Specified qdisc kind is unknown",
        "Parent Qdisc doesn't exists",
        "Failed to find specified qdisc",
    )
    for done in refusals:
        complaint = done.stderr.removeprefix("Error: ").partition(".")[0].partition("\n")[0]
        assert complaint in known, done


@pytest.mark.parametrize(
    "words",
    ["tbf rate 1gbit burst 256k latency 20ms", "tbf rate 100mbit burst 32k latency 50ms", "pfifo limit 77"],
)
def test_a_former_root_comes_back_as_it_was(net: Routed, words: str) -> None:
    """What is noted of a root qdisc makes one that tc shows alike."""
    net.check("firewall", "tc", "qdisc", "add", "dev", "vlan20", "root", *words.split())
    (before,) = tc.parse_qdiscs(net.check("firewall", *tc.show_qdiscs("vlan20")))
    assert before.words is not None
    net.check("firewall", *tc.delete_root("vlan20"))
    net.check("firewall", *tc.add_qdisc("vlan20", "root", before.handle, before.words))
    (after,) = tc.parse_qdiscs(net.check("firewall", *tc.show_qdiscs("vlan20")))
    net.check("firewall", *tc.delete_root("vlan20"))
    assert after == before
