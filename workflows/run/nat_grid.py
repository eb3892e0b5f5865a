"""The NAT grid on a site: each solution deployed once, its two ends started anew behind every pair of kinds."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import tasks
from tasks.nat import HeaderCapture
from vpnmesh.errors import CheckError, UnavailableError, VpnmeshError
from vpnmesh.firewall.nat_kinds import NatKind, families_of, hidden_nodes, shown_addresses
from vpnmesh.host.dual_stack import BOTH, Family
from vpnmesh.host.lease import STAGE
from vpnmesh.model import Pair, Scenario
from vpnmesh.solutions.protocol import Mesh, Solution, Status
from vpnmesh.stages import stages_of
from vpnmesh.study.convergence import PathProbe
from vpnmesh.study.nat_grid import (
    DID_NOT_START,
    LONG_UPGRADE_S,
    TRIES,
    Found,
    NatPair,
    NatRecord,
    direct_s,
    first_packet_s,
    path_found,
    watched_enough,
)
from vpnmesh.tools import iperf3
from vpnmesh.tools.iperf3 import Iperf3
from workflows.run.deploying import run_stages
from workflows.run.disk import DiskError
from workflows.run.hosts import HostsFailedError, run_on, stage_of
from workflows.run.lease import keep_lease, lease_over
from workflows.run.nat import (
    NatProof,
    go_home,
    ipv4_again,
    prove_kinds,
    refuse_taken,
    require_proof,
    routers_removed,
    set_families,
    set_kinds,
)
from workflows.run.provision import carried_out, firewall_policy, mesh_statuses, save_logs, take_off
from workflows.run.requirements import require
from workflows.run.site import Site
from workflows.run.undoing import promise

ALLOW_ALL = "allow-all"
TOOL = Iperf3(duration_s=2, omit_s=0)
"""Long enough to see which path carries it; its rate tells a path from a relay, no more."""
CAPTURE_S = LONG_UPGRADE_S + 120
"""Seconds beside those that a first packet is waited for."""

KeepCapture = Callable[[NatPair, str], str]
"""Keeps a cell's list of packets and returns the file's name."""


@dataclass(slots=True)
class GridMesh:
    """A solution that is deployed on the site, whose two ends are moved from NAT to NAT."""

    site: Site
    solution: Solution
    mesh: Mesh
    name: str

    @property
    def has_ipv6(self) -> bool:
        """Whether the underlay has IPv6 beside IPv4."""
        return bool(self.mesh.families)

    @property
    def ends(self) -> Pair:
        """Client and server."""
        return self.site.testbed.pairs[0]


@contextlib.contextmanager
def deployed(site: Site, name: str, scenario: Scenario, *, ipv6: bool = False) -> Iterator[GridMesh]:
    """Deploy the scenario with nobody behind NAT, and remove it again whatever happens; no path is asked for yet.

    With `ipv6` every node has IPv6 in the underlay beside IPv4, which cells may take one of from the ends.
    """
    solution = require(site, scenario)
    mesh = Mesh(site.testbed, scenario, families=dict.fromkeys(site.all_nodes, BOTH) if ipv6 else {})
    with ipv4_again(site) if ipv6 else contextlib.nullcontext(), routers_removed(site):
        try:
            promise(site, solution, mesh, go_home(site) if ipv6 else {})
            set_kinds(site, {})
            set_families(site, mesh.families)
            refuse_taken(site, (site.testbed.pairs[0].client, site.testbed.pairs[0].server))
            firewall_policy(site, ALLOW_ALL)
            mesh = run_stages(site, stages_of(solution, mesh), mesh)
            yield GridMesh(site, solution, mesh, name)
        except VpnmeshError:
            save_logs(site)
            raise
        finally:
            _removed(site, solution, Mesh(site.testbed, scenario))


def _removed(site: Site, solution: Solution, mesh: Mesh) -> None:
    """Take all off, though a signal comes meanwhile."""
    interrupt = None
    try:
        # behind a router a node would not reach what it has to sign off from
        interrupt = carried_out(site, lambda: set_kinds(site, {}))
    finally:
        take_off(site, solution, mesh)
    if interrupt:
        raise interrupt


def measure_cell(grid: GridMesh, pair: NatPair, keep: KeepCapture) -> NatRecord:
    """One cell, tried again where its outcome may be chance; the record is the last try's, and says how all ended."""
    tries: list[Found] = []
    while True:
        record = _tried(grid, pair, keep)
        tries.append(record.found)
        if not record.may_be_chance or len(tries) == TRIES:
            return replace(record, tries=tuple(tries) if len(tries) > 1 else ())


def unavailable(name: str, scenario: Scenario, pair: NatPair, reason: str) -> NatRecord:
    """A cell that cannot be attempted here."""
    return replace(_begun(name, scenario, pair), found=Found.UNAVAILABLE, reason=reason)


def _begun(name: str, scenario: Scenario, pair: NatPair) -> NatRecord:
    return NatRecord(
        solution=name,
        scenario=scenario.name,
        client=pair.client,
        server=pair.server,
        found=Found.BROKEN,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _tried(grid: GridMesh, pair: NatPair, keep: KeepCapture) -> NatRecord:
    """One try, whatever becomes of it: an error of ours is a cell that was not measured."""
    began = time.monotonic()
    keep_lease(grid.site)
    record = _begun(grid.name, grid.mesh.scenario, pair)
    try:
        record = _measured(grid, pair, record, keep)
    except DiskError:
        # nothing of it could be kept: no cell, and the command ends
        raise
    except UnavailableError as error:
        record = replace(record, found=Found.UNAVAILABLE, reason=str(error))
    except CheckError as error:
        unproven = error.stage == "nat"
        record = replace(record, found=Found.UNPROVEN if unproven else Found.BROKEN, reason=str(error))
    except VpnmeshError as error:
        record = replace(record, reason=str(error))
    if over := lease_over(grid.site):
        record = replace(record, found=Found.BROKEN, reason=str(over))
    return replace(record, seconds=round(time.monotonic() - began, 1))


def _measured(grid: GridMesh, pair: NatPair, record: NatRecord, keep: KeepCapture) -> NatRecord:
    kinds = {grid.ends.client: pair.client, grid.ends.server: pair.server}
    shown_addresses(grid.site.testbed, kinds)
    families = families_of(kinds) if grid.has_ipv6 else {}
    mesh = replace(grid.mesh, families={**grid.mesh.families, **families})
    if reason := grid.solution.unbuildable_reason(mesh):
        raise UnavailableError(reason)
    _stop(grid)
    set_families(grid.site, families)
    shown = set_kinds(grid.site, kinds)
    proof = prove_kinds(grid.site, kinds, families)
    record = _with_proof(record, proof)
    require_proof(proof)
    grid.mesh = replace(mesh, shown=shown)
    with _listed(grid, kinds, CAPTURE_S + _within_s(grid, pair)) as capture:
        record = _watched(grid, record)
    if pair.needs_ipv6:
        record = _of_ipv6_alone(grid, record)
    # what is direct needs no explanation; of the rest the packets tell who tried what
    if record.found is not Found.DIRECT:
        record = replace(record, capture=keep(pair, capture.lines()))
    return record


def _of_ipv6_alone(grid: GridMesh, record: NatRecord) -> NatRecord:
    """The record with what the firewall let through to and from the ends of IPv6 alone; IPv4 disproves their kind."""
    firewall = grid.site.testbed.firewall.name
    passed = run_on(grid.site.nr, [firewall], tasks.count_passed)[firewall].result
    told = ", ".join(f"{family} {packets}" for family, packets in passed.items())
    record = replace(record, proof={**record.proof, "packets that passed their networks' edge": told})
    if passed[Family.IPV4] or (record.first_packet_s is not None and not passed[Family.IPV6]):
        raise CheckError("nat", f"packets that passed the edge of a network of IPv6 alone: {told}")
    return record


def _with_proof(record: NatRecord, proof: NatProof) -> NatRecord:
    return replace(
        record,
        proof={name: seen.words for name, seen in proof.seen.items()},
        punched=proof.punched,
    )


def _stop(grid: GridMesh) -> None:
    """End the programs of both ends as a crash would; one that has none of ours leaves the mesh."""
    names = [grid.ends.client, grid.ends.server]
    processes = grid.solution.processes
    done = run_on(grid.site.nr, names, tasks.kill_services, processes=processes)
    running = [name for name in names if not done[name].result]
    run_on(grid.site.nr, running, tasks.leave_mesh, solution=grid.solution, mesh=grid.mesh)


@contextlib.contextmanager
def _listed(grid: GridMesh, kinds: Mapping[str, NatKind], limit_s: float) -> Iterator[HeaderCapture]:
    """List packets outside of both ends' routers while what is inside goes on."""
    bed = grid.site.testbed
    outer = {one.node.name: one.outer for one in hidden_nodes(bed, kinds)}
    ports = {
        name: next(leg.interface for leg in bed.firewall.legs if leg.vid == bed.node(name).leg.vid)
        for name in kinds
    }
    interfaces = tuple(outer.get(name, ports[name]) for name in kinds)
    done = run_on(
        grid.site.nr,
        [bed.firewall.name],
        tasks.start_header_capture,
        interfaces=interfaces,
        limit_s=limit_s,
    )
    capture: HeaderCapture = done[bed.firewall.name].result
    try:
        yield capture
    finally:
        with contextlib.suppress(VpnmeshError):
            capture.process.end()


def _watched(grid: GridMesh, record: NatRecord) -> NatRecord:
    """Start both ends, watch their paths, and measure what carries packets."""
    started = time.monotonic()
    try:
        grid.mesh = run_stages(grid.site, stages_of(grid.solution, grid.mesh), grid.mesh)
        statuses = _addressed(grid, started + _within_s(grid, record.pair))
    except UnavailableError:
        raise
    except VpnmeshError as error:
        if _of_ours(error):
            raise
        return replace(record, found=Found.NOTHING, reason=f"{DID_NOT_START}{error}")
    lacking = [name for name in (grid.ends.client, grid.ends.server) if statuses[name].address is None]
    if lacking:
        return replace(
            record,
            found=Found.NOTHING,
            reason=f"{lacking[0]} has no address in the tunnel after {time.monotonic() - started:.0f} s",
        )
    before_s = time.monotonic() - started
    within_s = _within_s(grid, record.pair)
    probes = _probed(grid, statuses, record.pair.upgrade_s, within_s)
    record = replace(
        record,
        first_packet_s=_later(before_s, [first_packet_s(one) for one in probes]),
        direct_s=_later(before_s, [direct_s(one) for one in probes]),
    )
    if record.first_packet_s is None:
        found, reason = path_found(probes, None, within_s)
        return replace(record, found=found, reason=reason)
    return _carried(grid, record, probes, statuses)


def _addressed(grid: GridMesh, until: float) -> Mapping[str, Status]:
    """What members say once both ends have an address in the tunnel, or that time is over: some wait for a server."""
    while True:
        statuses = mesh_statuses(grid.site, grid.solution, grid.mesh)
        ends = (grid.ends.client, grid.ends.server)
        if all(statuses[name].address is not None for name in ends) or time.monotonic() >= until:
            return statuses
        time.sleep(0.5)


def _of_ours(error: VpnmeshError) -> bool:
    """Whether it says nothing of the solution: a node that cannot be reached, or a lease that is over."""
    causes = error.errors.values() if isinstance(error, HostsFailedError) else (error,)
    return any(isinstance(one, VpnmeshError) and stage_of(one, "") in ("node", STAGE) for one in causes)


def _later(before_s: float, ends: Sequence[float | None]) -> float | None:
    """The later of both ends' moments, counted from the start; None where one never came."""
    known = [one for one in ends if one is not None]
    return round(before_s + max(known), 1) if len(known) == len(ends) else None


def _within_s(grid: GridMesh, pair: NatPair) -> float:
    return pair.first_packet_within_s(grid.solution.late_relay_s)


def _probed(
    grid: GridMesh, statuses: Mapping[str, Status], upgrade_s: float, within_s: float
) -> list[Sequence[PathProbe]]:
    client, server = grid.ends.client, grid.ends.server
    peers = {client: (server, statuses[server].address), server: (client, statuses[client].address)}
    done = run_on(
        grid.site.nr,
        (client, server),
        tasks.probe_path,
        solution=grid.solution,
        mesh=grid.mesh,
        peers=peers,
        until=partial(watched_enough, upgrade_s, first_packet_within_s=within_s),
        deadline_s=within_s + upgrade_s + 5,
    )
    return [done[client].result, done[server].result]


def _carried(
    grid: GridMesh, record: NatRecord, probes: Sequence[Sequence[PathProbe]], statuses: Mapping[str, Status]
) -> NatRecord:
    client, server = grid.ends.client, grid.ends.server
    done = run_on(
        grid.site.nr,
        [client],
        tasks.measure_tunnel,
        testbed=grid.site.testbed,
        server=server,
        address=statuses[server].address,
        others=grid.site.nr.inventory.hosts,
        tool=TOOL,
    )
    text, relay_bytes = done[client].result
    measured = iperf3.parse(text, "tcp")
    rate = measured.get("rate_mbit_s")
    share = relay_bytes / measured.carried_bytes if measured.carried_bytes else None
    found, reason = path_found(probes, share)
    return replace(
        record,
        found=found,
        reason=reason,
        rate_mbit_s=round(rate, 2) if rate else None,
        relay_share=round(share, 3) if share is not None else None,
    )
