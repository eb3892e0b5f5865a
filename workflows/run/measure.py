"""One repetition: check, measure, check again, and leave one record, whatever happened."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import tasks
from tasks.observation import Look
from tasks.throughput import RawThroughput, Throughput
from vpnmesh.errors import ToolError, VpnmeshError
from vpnmesh.host.pods import pod_address
from vpnmesh.impairment.engine import late_ms_between
from vpnmesh.model import Cell, Condition, Test
from vpnmesh.solutions import all_interfaces
from vpnmesh.stats.caps import cap_mbit_s, near_cap
from vpnmesh.study.checks import check_endpoints, check_foreign, check_path, check_pod_mtu, check_share
from vpnmesh.study.matrix import Profile
from vpnmesh.study.outcome import Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record
from vpnmesh.tools import iperf3, load
from vpnmesh.tools.ping import PingSummary
from workflows.run.converge import measure_convergence
from workflows.run.hosts import run_on, stage_of
from workflows.run.impair import Impaired
from workflows.run.provision import Provisioned, Site
from workflows.run.store import Store, StoreError

PINGS = 5


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that repetitions of one visit share."""

    site: Site
    standing: Provisioned
    profile: Profile
    store: Store


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which repetition of which cell, in which visit, as the how-manieth of the run."""

    cell: Cell
    repetition: int
    visit: int
    sequence: int


@dataclass(slots=True)
class _Findings:
    """What one attempt gathers on its way; kept even when it fails half-way."""

    before: PingSummary | None = None
    after: PingSummary | None = None
    relay_share: float | None = None
    late_ms: float | None = None
    loads: Mapping[str, load.Load] = field(default_factory=dict)
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """All checks held a moment ago, and what the pods' pings said then."""

    ping: PingSummary


def measure(
    bench: Bench, attempt: Attempt, impaired: Impaired, checked: Checked | None = None
) -> tuple[Record, Checked | None]:
    """Make one attempt and return its record; only a full disk (StoreError) stops the run.

    The check after a repetition is the check before the next: it is handed on as `checked`, and made anew after
    a failure.
    """
    started_at, started = datetime.now(UTC), time.monotonic()
    findings = _Findings()
    outcome: Outcome
    try:
        outcome = _attempt(bench, attempt, impaired, findings, checked)
    except StoreError:
        raise
    except ToolError as error:
        outcome = Failed("tool", str(error))
    except VpnmeshError as error:
        outcome = Failed(stage_of(error, "task"), str(error))
    record = Record(
        cell=attempt.cell,
        repetition=attempt.repetition,
        outcome=outcome,
        started_at=started_at,
        elapsed_s=round(time.monotonic() - started, 3),
        visit=attempt.visit,
        sequence=attempt.sequence,
        data_plane=bench.standing.data_plane,
        rtt_ms_before=findings.before.rtt_avg_ms if findings.before else None,
        rtt_ms_after=findings.after.rtt_avg_ms if findings.after else None,
        relay_share=findings.relay_share,
        near_cap=_near_cap(bench, outcome, impaired),
        impairment_late_ms=findings.late_ms,
        placement=str(bench.profile.placement),
        engine=impaired.engine.name,
        loads=findings.loads,
        raw=findings.raw,
    )
    held = findings.after if isinstance(outcome, Measured) else None
    return record, Checked(held) if held else None


def _near_cap(bench: Bench, outcome: Outcome, impaired: Impaired) -> bool | None:
    """Whether the figure is the queue's and not the VPN's; None where there is no rate."""
    rate = outcome.get("rate_mbit_s") if isinstance(outcome, Measured) else None
    if rate is None:
        return None
    wanted = impaired.impairment
    pod_mtu = bench.standing.scenario.pod_mtu
    return near_cap(rate, cap_mbit_s(wanted.condition.delay_ms, pod_mtu, wanted.limit_packets))


def check(bench: Bench, impaired: Impaired) -> PingSummary:
    """Raise CheckError unless everything is as the cell says; returns what pings between the pods said."""
    site, standing = bench.site, bench.standing
    pair = (site.testbed.client.name, site.testbed.server.name)
    looks = run_on(
        site.nr,
        pair,
        tasks.look_at_node,
        solution=standing.solution,
        mesh=standing.mesh,
        overlays=all_interfaces(),
    )
    for name, other in (pair, pair[::-1]):
        _check_look(bench, name, other, looks[name].result)
    impaired.check()
    return ping_pods(bench)


def ping_pods(bench: Bench, count: int = PINGS) -> PingSummary:
    """Ping the server's pod from the client's."""
    bed = bench.site.testbed
    address = str(pod_address(bed, bed.server))
    results = run_on(
        bench.site.nr, [bed.client.name], tasks.ping_address, address=address, count=count, from_pod=True
    )
    summary = results[bed.client.name].result
    if not isinstance(summary, PingSummary):
        raise ToolError("ping", "no summary")
    return summary


def _check_look(bench: Bench, name: str, other: str, look: Look) -> None:
    standing = bench.standing
    check_path(standing.scenario, name, look.status, other)
    check_pod_mtu(standing.scenario, name, look.pod_mtu)
    check_foreign(name, look.foreign)
    check_endpoints(standing.mesh, name, look.status)


def _attempt(
    bench: Bench, attempt: Attempt, impaired: Impaired, findings: _Findings, checked: Checked | None
) -> Outcome:
    findings.before = checked.ping if checked else check(bench, impaired)
    findings.raw = _keep(bench, attempt, {"rtt-before.txt": findings.before.text})
    measured = _TESTS[attempt.cell.test](bench, attempt, findings)
    before = impaired.counters
    findings.after = check(bench, impaired)
    _keep(bench, attempt, {"rtt-after.txt": findings.after.text})
    if before is not None and impaired.counters is not None:
        findings.late_ms = late_ms_between(before, impaired.counters)
    return measured


def _throughput(bench: Bench, attempt: Attempt, findings: _Findings) -> Measured:
    bed, profile, test = bench.site.testbed, bench.profile, attempt.cell.test
    tool = iperf3.Iperf3(
        profile.duration_s, profile.omit_s, profile.congestion, profile.udp_rate, profile.udp_window
    )
    ask = Throughput(bed, test, tool, attempt.cell.pair.server, Condition.parse(attempt.cell.condition))
    client = attempt.cell.pair.client
    results = run_on(
        bench.site.nr, [client], tasks.measure_throughput, ask=ask, others=bench.site.nr.inventory.hosts
    )
    raw: RawThroughput = results[client].result
    findings.raw = _keep(
        bench, attempt, {"client.json": raw.client, "server.txt": raw.server, **_named(raw.loads)}
    )
    if raw.error and not raw.client.strip():
        raise ToolError("iperf3", raw.error)
    findings.loads = _loads(bench, raw.loads, iperf3.PROGRAM)
    measured = iperf3.parse(raw.client, test)
    findings.relay_share = raw.relay_sent_bytes / (measured.get("received_bytes") or 1)
    check_share(bench.standing.scenario, bed.relay.name, findings.relay_share)
    return measured


def _ping(bench: Bench, attempt: Attempt, findings: _Findings) -> Measured:
    summary = ping_pods(bench, count=5 * bench.profile.duration_s)
    findings.raw = _keep(bench, attempt, {"ping.txt": summary.text})
    if summary.rtt is None:
        raise ToolError("ping", f"none of {summary.sent} came back")
    lost_pct = 100 * (1 - summary.received / summary.sent)
    return Measured((Sample("rtt_ms", summary.rtt.avg_ms), Sample("lost_pct", lost_pct)))


def _idle(bench: Bench, attempt: Attempt, findings: _Findings) -> Measured:
    raw = _sample_idle(bench)
    findings.raw = _keep(bench, attempt, _named(raw))
    findings.loads = _loads(bench, raw)
    return Measured((Sample("cpu_pct", findings.loads["client"].cpu_pct),))


def _sample_idle(bench: Bench) -> dict[str, str]:
    """What the nodes spend while nothing is asked of them, as sampled, by end."""
    bed = bench.site.testbed
    ends = {"client": bed.client.name, "server": bed.server.name, "relay": bed.relay.name}
    results = run_on(
        bench.site.nr, ends.values(), tasks.sample_load, testbed=bed, seconds=float(bench.profile.duration_s)
    )
    return {end: str(results[name].result) for end, name in ends.items()}


def _convergence(bench: Bench, attempt: Attempt, findings: _Findings) -> Measured:
    raw: dict[str, str] = {}
    try:
        idle = _sample_idle(bench)
        raw |= _named(idle)
        findings.loads = _loads(bench, idle)
        return measure_convergence(bench.site, bench.standing, raw)
    finally:
        findings.raw = _keep(bench, attempt, raw)


_TESTS = {
    Test.TCP: _throughput,
    Test.UDP: _throughput,
    Test.PING: _ping,
    Test.IDLE: _idle,
    Test.CONVERGENCE: _convergence,
}


def _loads(bench: Bench, raw: Mapping[str, str], tool: str = "") -> dict[str, load.Load]:
    bed = bench.site.testbed
    kinds = {"client": bed.client.kind, "server": bed.server.kind, "relay": bed.relay.kind}
    names = bench.standing.solution.processes
    seconds = bench.profile.duration_s
    return {end: load.parse(text, kinds[end], names, seconds, tool) for end, text in raw.items()}


def _named(loads: Mapping[str, str]) -> dict[str, str]:
    return {f"load-{end}.txt": text for end, text in loads.items()}


def _keep(bench: Bench, attempt: Attempt, files: Mapping[str, str]) -> str:
    """Keep the raw output below raw/CELL/REPETITION/; returns that folder."""
    folder = f"{attempt.cell.key.replace('>', '-to-')}/{attempt.repetition}"
    for name, text in files.items():
        bench.store.keep_raw(f"{folder}/{name}", text)
    return f"raw/{folder}"
