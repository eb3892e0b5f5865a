"""How exactly each engine loses and delays, and what it costs in throughput.

Real packets between two workers behind a firewall, in private namespaces, ports shaped to 1 Gbit/s as the lab's.
Loss is counted over 50,000 numbered datagrams, delay is the median one-way delay of a light stream; what the path
itself takes without impairment is shown, not taken off. UDP is paced at 100 Mbit/s: without a pace it tells more of the
machine's other load than of the engine. The row `delay-1ms` is the engine's own price.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Size
from bench.sandbox import private_place
from tests.live.routed import PAIR, Routed, routed, small_testbed
from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.impairment.burst import loss_bounds
from vpnmesh.impairment.engine import Engine, check_held, impairment_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.lab.nfqueue.build import binary_path, build
from vpnmesh.model import PAPER_CONDITIONS, Condition, Placement
from vpnmesh.tools import iperf3

PER_SECOND, LIGHT_PER_SECOND = 20_000, 2_000
CONDITIONS = (Condition(), *PAPER_CONDITIONS[1:], Condition(delay_ms=1))
OPENINGS = 2 * iperf3.OPENINGS
"""At 10 % one UDP flow in a million loses the datagram that opens it so often."""
TIMED_OUT = 124
"""What `timeout` ends with when it had to end its command."""
_GIVEN_UP = "unable to read from stream socket"
"""What iperf3's client says 30 s after a UDP stream's opening that nothing answered."""
SHAPE = ("root", "tbf", "rate", "1gbit", "burst", "256k", "latency", "20ms")


@dataclass(frozen=True, slots=True)
class Asked:
    """How much is sent: numbered datagrams for loss, a light stream for delay, and two streams for rates."""

    packets: int
    light_packets: int
    tcp: iperf3.Iperf3
    udp: iperf3.Iperf3

    @classmethod
    def of(cls, size: Size) -> "Asked":
        """The amounts for that size."""
        return cls(
            size.of(50_000, 2_000),
            size.of(2_000, 200),
            iperf3.Iperf3(duration_s=size.of(4, 1)),
            iperf3.Iperf3(duration_s=size.of(3, 1), udp_rate="100M"),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a condition: losses of the numbered packets, median one-way delay in ms, rates in Mbit/s."""

    lost: int
    median_ms: float
    tcp: float
    udp: float


def engines(net: Routed) -> Iterator[Engine]:
    """Every engine that this kernel can carry."""
    has_netem = net.run("worker1", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "limit", "9")
    net.run("worker1", "tc", "qdisc", "del", "dev", "lo", "root")
    if has_netem.exit_code == 0:
        yield NetemEngine()
    yield NfqueueEngine(str(build(binary_path())))


@contextmanager
def impaired(net: Routed, engine: Engine, condition: Condition) -> Iterator[None]:
    """The condition at the client's underlay egress, as the matrix sets it, read back."""
    wanted = impairment_for(condition, Placement(), seed=100 + CONDITIONS.index(condition))
    targets = engine.targets(net.testbed, PAIR, Placement()) if condition else ()
    try:
        for target in targets:
            net.apply(
                target.node, engine.set(target, wanted, net.gather(target.node, engine.observe(target)))
            )
            check_held(net.gather(target.node, engine.observe(target)), wanted)
        yield
    finally:
        for target in targets:
            net.apply(target.node, engine.clear(target, net.gather(target.node, engine.observe(target))))


def rate(net: Routed, tool: iperf3.Iperf3, test: iperf3.Transport, condition: Condition) -> float:
    """Mbit/s at the receiver, worker to worker; ToolError when no flow came about.

    Under loss the opening of a UDP flow may be lost, and is tried again (`vpnmesh.tools.iperf3.OPENINGS`).
    """
    tries = OPENINGS if test == "udp" else 1
    for _ in range(tries):
        if (found := _flow(net, tool, test, condition)) is not None:
            return found
    raise ToolError(
        "iperf3",
        f"no {test} flow under {condition.name} within {tool.limit_s(condition) + 5:g} s, {tries} times",
    )


def _flow(net: Routed, tool: iperf3.Iperf3, test: iperf3.Transport, condition: Condition) -> float | None:
    """One try: the rate in Mbit/s, None where nothing answered its opening and the client was ended, or gave up."""
    address, limit_s = net.address("worker2"), tool.limit_s(condition) + 5
    # killing nsenter would leave iperf3 behind: it ends with its one client, or by its own bound
    bound = ("timeout", f"{limit_s:g}")
    with subprocess.Popen(
        net.argv("worker2", (*bound, *tool.server(address))), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        while iperf3.LISTENING not in (line := server.stdout.readline()):
            if not line:
                raise ToolError("iperf3", "the server ended early")
        done = net.run("worker1", *bound, *tool.client(test, address), timeout_s=limit_s + 5)
        server.communicate(timeout=limit_s + 5)
    if done.exit_code == TIMED_OUT:
        return None
    try:
        return iperf3.parse(done.stdout, test).get("rate_mbit_s") or 0.0
    except ToolError as error:
        if _GIVEN_UP in error.reason:
            return None
        raise


def look(net: Routed, engine: Engine, condition: Condition, asked: Asked) -> Seen:
    """All figures of one condition."""
    with impaired(net, engine, condition):
        many = net.meter("worker1", "worker2", asked.packets, per_second=PER_SECOND)
        light = net.meter("worker1", "worker2", asked.light_packets, per_second=LIGHT_PER_SECOND)
        return Seen(
            asked.packets - many["received"],
            light["median_ms"],
            rate(net, asked.tcp, "tcp", condition),
            rate(net, asked.udp, "udp", condition),
        )


def run(console: Console, size: Size) -> list[Figure]:
    """Print one table an engine; UnavailableError where none can run."""
    asked, figures = Asked.of(size), list[Figure]()
    conditions = CONDITIONS[: size.of(len(CONDITIONS), 2)]
    with private_place(), routed(small_testbed()) as net:
        for leg in net.testbed.firewall.legs:
            net.check("firewall", "tc", "qdisc", "add", "dev", leg.interface, *SHAPE)
        try:
            found = list(engines(net))
        except UnavailableError as error:
            raise UnavailableError(f"an engine: {error}") from error
        for engine in found:
            seen = {}
            for condition in conditions:
                console.print(f"impairment: {engine.name} {condition.name}", style="dim", highlight=False)
                seen[condition] = look(net, engine, condition, asked)
            console.print(_table(engine.name, seen, asked))
            figures += _figures(engine.name, seen, asked)
        if not any(engine.name == "netem" for engine in found):
            console.print("impairment: no netem in this kernel, so nfqueue alone", highlight=False)
    return figures


def _figures(engine: str, seen: dict[Condition, Seen], asked: Asked) -> list[Figure]:
    """The largest error of loss and of delay over all conditions."""
    losses = {one.name: 100 * it.lost / asked.packets - one.loss_pct for one, it in seen.items()}
    delays = {one.name: it.median_ms - one.delay_ms for one, it in seen.items()}
    where = {
        kind: max(found, key=lambda name: abs(found[name]))
        for kind, found in (("loss", losses), ("delay", delays))
    }
    return [
        Figure(f"{engine}: largest error of loss", f"{losses[where['loss']]:+.3f} points", where["loss"]),
        Figure(f"{engine}: largest error of delay", f"{delays[where['delay']]:+.3f} ms", where["delay"]),
    ]


def _table(engine: str, seen: dict[Condition, Seen], asked: Asked) -> Table:
    clean = seen[Condition()]
    table = Table(
        title=f"{engine}: loss over {asked.packets:,} packets, median delay over {asked.light_packets:,}",
        title_justify="left",
    )
    columns = (
        *("condition", "lost, %", "error, %", "within 1e-6", "delay, ms", "error, ms"),
        *("tcp, Mbit/s", "to none", "udp at 100", "to none"),
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "condition" else "right")
    for condition, one in seen.items():
        lost_pct = 100 * one.lost / asked.packets
        low, high = loss_bounds(asked.packets, condition.loss_pct)
        table.add_row(
            condition.name,
            f"{lost_pct:.3f}",
            f"{lost_pct - condition.loss_pct:+.3f}",
            "yes" if low <= one.lost <= high else "no",
            f"{one.median_ms:.3f}",
            f"{one.median_ms - condition.delay_ms:+.3f}",
            f"{one.tcp:.1f}",
            f"{one.tcp / clean.tcp:.3f}",
            f"{one.udp:.1f}",
            f"{one.udp / clean.udp:.3f}",
        )
    return table
