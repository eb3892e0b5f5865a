"""The convergence test: how long a mesh takes to join, to fall back to its relay, to return, and to restart."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address

import tasks
from tasks.convergence import PING_INTERVAL_S
from vpnmesh.errors import CheckError
from vpnmesh.model import Path
from vpnmesh.study.convergence import (
    DEFAULT_LIMITS,
    Limits,
    Probe,
    Verdict,
    judge,
    longest_outage_s,
    settled_s,
)
from vpnmesh.study.outcome import Measured, Sample
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, Site, firewall_policy, join

HOLD_S = 2.0
"""How long a path must hold until it counts as settled; not part of the measured time."""
RESTART_S = 90.0
BLOCKED = "block-udp"
"""What makes a direct mesh fall back."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What one change cost: seconds until the wanted path held on both ends, and the longest silence meanwhile."""

    seconds: float
    outage_s: float


def measure_convergence(site: Site, standing: Provisioned, raw: dict[str, str]) -> Measured:
    """Measure all that this scenario can show; the mesh stands as before. `raw` gathers what was seen, by file name.

    CheckError: "stability" when the path is not steady to begin with, "path" with the change after which the
    wanted path did not come.
    """
    watch = _Watch(site, standing, raw)
    steady = prove_stability(site, standing, standing.scenario.path, raw=raw)
    if not steady.included:
        raise CheckError("stability", steady.reason)
    samples = [Sample("steady_outage_s", steady.longest_outage_s), Sample("join_s", standing.join_s)]
    fallback_s = standing.solution.fallback_s
    if fallback_s is not None and standing.scenario.path is Path.DIRECT:
        samples += _fall_back(watch, fallback_s)
    samples += _restart(watch)
    return Measured(tuple(samples))


def prove_stability(
    site: Site,
    standing: Provisioned,
    wanted: Path,
    limits: Limits = DEFAULT_LIMITS,
    raw: dict[str, str] | None = None,
) -> Verdict:
    """Include or exclude what stands by evidence from both ends of the measured pair; the worse end speaks.

    The probes go into `raw`, by file name.
    """
    results = run_on(
        site.nr,
        _pair(site),
        tasks.probe_path,
        solution=standing.solution,
        mesh=standing.mesh,
        peers=_peers(site, standing),
        limits=limits,
    )
    if raw is not None:
        raw |= {f"steady-{host}.json": _probes_text(result.result) for host, result in results.items()}
    verdicts = [judge(result.result, wanted, limits) for result in results.values()]
    return min(verdicts, key=lambda verdict: (verdict.included, -verdict.off_path))


@dataclass(frozen=True, slots=True)
class _Watch:
    """The measured pair of a standing scenario; `raw` gathers what was seen, by file name."""

    site: Site
    standing: Provisioned
    raw: dict[str, str]

    def until(self, wanted: Path, deadline_s: float, name: str, after: str) -> Settled:
        """Wait until both ends are on that path; CheckError when the deadline passes before."""
        with _pinging(self.site, self.standing, deadline_s) as said:
            results = run_on(
                self.site.nr,
                _pair(self.site),
                tasks.watch_path,
                solution=self.standing.solution,
                mesh=self.standing.mesh,
                peers=_peers(self.site, self.standing),
                wanted=wanted,
                hold_s=HOLD_S,
                deadline_s=deadline_s,
            )
        self.raw[f"{name}-ping.txt"] = said[0]
        slowest = 0.0
        for host, result in results.items():
            self.raw[f"{name}-{host}.json"] = _probes_text(result.result)
            seconds = settled_s(result.result, wanted, HOLD_S)
            if seconds is None:
                found = _last(result.result)
                raise CheckError(
                    "path", f"{deadline_s:.0f} s after {after}, {host} is not {wanted} but {found}"
                )
            slowest = max(slowest, seconds)
        return Settled(slowest, longest_outage_s(said[0], PING_INTERVAL_S))


def _fall_back(watch: _Watch, deadline_s: float) -> list[Sample]:
    policy = watch.standing.scenario.policy
    try:
        firewall_policy(watch.site, BLOCKED)
        relayed = watch.until(Path.RELAY, deadline_s, "to-relay", "UDP was blocked")
    finally:
        firewall_policy(watch.site, policy)
    direct = watch.until(Path.DIRECT, deadline_s, "to-direct", "UDP was allowed again")
    return [
        Sample("to_relay_s", relayed.seconds),
        Sample("to_relay_outage_s", relayed.outage_s),
        Sample("to_direct_s", direct.seconds),
        Sample("to_direct_outage_s", direct.outage_s),
    ]


def _restart(watch: _Watch) -> list[Sample]:
    """Kill the client node's daemons and start them again at once; none to kill means nothing to measure."""
    site, standing = watch.site, watch.standing
    client = site.testbed.client.name
    started = time.monotonic()
    if not run_on(site.nr, [client], tasks.kill_services)[client].result:
        return []
    join(site, standing.solution, standing.mesh)
    again_s = time.monotonic() - started
    settled = watch.until(standing.scenario.path, RESTART_S, "restart", f"{client}'s daemons were killed")
    return [Sample("restart_s", round(again_s + settled.seconds, 3))]


def _probes_text(probes: tuple[Probe, ...]) -> str:
    return json.dumps([asdict(probe) for probe in probes])


def _last(probes: tuple[Probe, ...]) -> str:
    last = probes[-1]
    return f"{last.path or 'without a path'}, pings {'answered' if last.answered else 'lost'}"


@contextmanager
def _pinging(site: Site, standing: Provisioned, deadline_s: float) -> Iterator[list[str]]:
    """One ping running from client to server through the tunnel; its lines are in the list afterwards."""
    said: list[str] = []
    client = site.testbed.client.name
    address = _peers(site, standing)[client][1]
    attached = run_on(
        site.nr,
        [client],
        tasks.start_ping,
        address=address,
        interval_s=PING_INTERVAL_S,
        seconds=deadline_s + 30,
    )[client].result
    try:
        yield said
    finally:
        said.append(attached.stop().stdout)


def _pair(site: Site) -> tuple[str, str]:
    return site.testbed.client.name, site.testbed.server.name


def _peers(site: Site, standing: Provisioned) -> Mapping[str, tuple[str, IPv4Address]]:
    client, server = _pair(site)
    addresses: dict[str, IPv4Address] = {}
    for name in (client, server):
        address = standing.statuses[name].address
        if address is None:
            raise CheckError("path", f"{name} has no address in the tunnel")
        addresses[name] = address
    return {client: (server, addresses[server]), server: (client, addresses[client])}
