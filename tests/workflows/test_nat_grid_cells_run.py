"""What the NAT grid makes of errors, without a testbed: what is no fault of a solution never counts against it."""

import signal
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.errors import CheckError, CommandError, NodeUnreachableError, VpnmeshError
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.model import Testbed
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.nat_grid import Found, NatPair, NatRecord
from vpnmesh.study.scenarios import scenario_named
from workflows.run import nat, nat_grid
from workflows.run.hosts import HostsFailedError
from workflows.run.interrupts import InterruptedRunError
from workflows.run.nat import refuse_taken, routers_removed
from workflows.run.nat_grid import GridMesh

PAIR = NatPair(NatKind.NONE, NatKind.SYMMETRIC)
SCENARIO = scenario_named("wireguard-direct")
DIED = CommandError("worker1", ("wireguard-go",), 1, "it died")
GONE = HostsFailedError("join", {"worker1": DIED, "worker2": NodeUnreachableError("worker2", "gone")})
OVER = CheckError("lease", "worker1: it has undone by itself what the run made")


def failing(error: Exception) -> Callable[..., Any]:
    """What raises it, whatever it is called with."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.fixture
def grid(bed: Testbed) -> GridMesh:
    """A solution that is deployed on a testbed without a connection."""
    site: Any = SimpleNamespace(nr=None, testbed=bed, complaints=[], lease=None, k8s=[], all_nodes=[])
    return GridMesh(site, solution_named("wireguard"), Mesh(bed, SCENARIO), "wireguard")


def tried(grid: GridMesh, monkeypatch: pytest.MonkeyPatch) -> NatRecord:
    """One try, of which only the watching is made."""
    monkeypatch.setattr(
        nat_grid, "_measured", lambda grid, _pair, record, _keep: nat_grid._watched(grid, record)
    )
    return nat_grid._tried(grid, PAIR, lambda _pair, _text: "")


@pytest.mark.parametrize(
    ("error", "found"), [(DIED, Found.NOTHING), (GONE, Found.BROKEN), (OVER, Found.BROKEN)]
)
def test_only_a_program_that_does_not_start_is_no_path(
    error: VpnmeshError, found: Found, grid: GridMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that cannot be reached, on whichever of them, or a lease that is over leaves the cell unmeasured."""
    monkeypatch.setattr(nat_grid, "run_stages", failing(error))
    record = tried(grid, monkeypatch)
    assert (record.found, str(error) in record.reason) == (found, True)


def test_a_cell_that_ended_after_its_lease_is_not_measured(
    grid: GridMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was found: a node may have taken its router or its tunnel away meanwhile."""
    grid.site.lease = SimpleNamespace(keep=lambda: None, prove=failing(OVER))  # type: ignore[assignment]
    monkeypatch.setattr(
        nat_grid, "_measured", lambda _grid, _pair, record, _keep: replace(record, found=Found.DIRECT)
    )
    record = nat_grid._tried(grid, PAIR, lambda _pair, _text: "")
    assert (record.found, record.reason) == (Found.BROKEN, str(OVER))


def test_a_signal_while_routers_are_taken_away_leaves_nothing_there(
    grid: GridMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The routers go all the same, and so does the solution; then the signal counts."""
    done: list[str] = []

    def set_kinds(_site: object, _kinds: object) -> None:
        done.append("routers")
        if len(done) == 1:
            raise InterruptedRunError(signal.SIGINT)

    monkeypatch.setattr(nat_grid, "set_kinds", set_kinds)
    monkeypatch.setattr(nat_grid, "take_off", lambda *_: done.append("solution"))
    with pytest.raises(InterruptedRunError):
        nat_grid._removed(grid.site, grid.solution, grid.mesh)
    assert done == ["routers", "routers", "solution"]


def test_a_firewall_whose_routers_stay_keeps_what_it_was_to_undo(
    grid: GridMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never given back, so that it takes them away by itself; each try to do so is told."""
    lost = HostsFailedError("set_nat_kinds", {"firewall": NodeUnreachableError("firewall", "gone")})
    grid.site.lease = SimpleNamespace(unclean=set[str]())  # type: ignore[assignment]
    monkeypatch.setattr(nat_grid, "take_off", lambda *_: None)
    monkeypatch.setattr(nat, "run_on", failing(lost))
    nat_grid._removed(grid.site, grid.solution, grid.mesh)
    assert (grid.site.lease.unclean, grid.site.complaints) == ({"firewall"}, [str(lost)])  # type: ignore[union-attr]
    grid.site.lease.unclean.clear()  # type: ignore[union-attr]
    with routers_removed(grid.site):
        pass
    assert grid.site.lease.unclean == {"firewall"}  # type: ignore[union-attr]


def test_an_address_that_somebody_has_is_shown_by_no_router(
    grid: GridMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real hosts the firewall asks there first; the nodes of a lab are alone."""
    asked: list[str] = []

    def run_on(_nr: object, names: list[str], _task: object, *, address: str, count: int) -> Any:
        asked.append(address)
        received = count if address == "192.88.99.22" else 0
        return dict.fromkeys(names, SimpleNamespace(result=SimpleNamespace(received=received)))

    monkeypatch.setattr(nat, "run_on", run_on)
    refuse_taken(grid.site, ("worker1", "worker2"))
    assert asked == []
    monkeypatch.setattr(nat, "emulated", lambda _: False)
    with pytest.raises(CheckError, match=r"somebody has 192.88.99.22 already, which worker2's router"):
        refuse_taken(grid.site, ("worker1", "worker2"))
    assert asked == ["192.88.99.14", "192.88.99.22"]
    refuse_taken(grid.site, ("worker1",))
