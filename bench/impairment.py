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

from bench.place import private_place
from tests.live.routed import PAIR, Routed, routed, small_testbed
from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.impairment.burst import loss_bounds
from vpnmesh.impairment.engine import Engine, check_held, impairment_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.lab.nfqueue.build import binary_path, build
from vpnmesh.model import PAPER_CONDITIONS, Condition, Placement, Test
from vpnmesh.tools import iperf3

PACKETS, PER_SECOND = 50_000, 20_000
LIGHT_PACKETS, LIGHT_PER_SECOND = 2_000, 2_000
CONDITIONS = (Condition(), *PAPER_CONDITIONS[1:], Condition(delay_ms=1))
SHAPE = ("root", "tbf", "rate", "1gbit", "burst", "256k", "latency", "20ms")
TCP, UDP = iperf3.Iperf3(duration_s=4), iperf3.Iperf3(duration_s=3, udp_rate="100M")


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a condition: losses of PACKETS, median one-way delay in ms, receivers' rates in Mbit/s."""

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


def rate(net: Routed, tool: iperf3.Iperf3, test: Test, delay_ms: float) -> float:
    """Mbit/s at the receiver, worker to worker."""
    address, limit_s = net.address("worker2"), tool.seconds(delay_ms) + 5
    # killing nsenter would leave iperf3 behind: it ends with its one client, or by its own bound
    serve = net.argv("worker2", ("timeout", f"{limit_s:g}", *tool.server(address)))
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        while iperf3.LISTENING not in (line := server.stdout.readline()):
            if not line:
                raise ToolError("iperf3", "the server ended early")
        done = net.run("worker1", *tool.client(test, address), timeout_s=limit_s)
        server.communicate(timeout=limit_s)
    return iperf3.parse(done.stdout, test).get("rate_mbit_s") or 0.0


def look(net: Routed, engine: Engine, condition: Condition) -> Seen:
    """All figures of one condition."""
    with impaired(net, engine, condition):
        many = net.meter("worker1", "worker2", PACKETS, per_second=PER_SECOND)
        light = net.meter("worker1", "worker2", LIGHT_PACKETS, per_second=LIGHT_PER_SECOND)
        return Seen(
            PACKETS - many["received"],
            light["median_ms"],
            rate(net, TCP, Test.TCP, condition.delay_ms),
            rate(net, UDP, Test.UDP, condition.delay_ms),
        )


def run(console: Console) -> None:
    """Print one table an engine; UnavailableError where none can run."""
    with private_place(), routed(small_testbed()) as net:
        for leg in net.testbed.firewall.legs:
            net.check("firewall", "tc", "qdisc", "add", "dev", leg.interface, *SHAPE)
        try:
            found = list(engines(net))
        except UnavailableError as error:
            raise UnavailableError(f"an engine: {error}") from error
        for engine in found:
            seen = {}
            for condition in CONDITIONS:
                console.print(f"impairment: {engine.name} {condition.name}", style="dim", highlight=False)
                seen[condition] = look(net, engine, condition)
            console.print(_table(engine.name, seen))
        if not any(engine.name == "netem" for engine in found):
            console.print("impairment: no netem in this kernel, so nfqueue alone", highlight=False)


def _table(engine: str, seen: dict[Condition, Seen]) -> Table:
    clean = seen[Condition()]
    table = Table(
        title=f"{engine}: loss over {PACKETS:,} packets, median delay over {LIGHT_PACKETS:,}",
        title_justify="left",
    )
    columns = (
        *("condition", "lost, %", "error, %", "within 1e-6", "delay, ms", "error, ms"),
        *("tcp, Mbit/s", "to none", "udp at 100", "to none"),
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "condition" else "right")
    for condition, one in seen.items():
        lost_pct = 100 * one.lost / PACKETS
        low, high = loss_bounds(PACKETS, condition.loss_pct)
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
